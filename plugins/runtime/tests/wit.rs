//! The WIT packages: a released text never changes, and it says what this crate expects.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onhand_plugin_runtime::{ABI, Kind, Limits, inspect};

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every released text has the hash that was written down on its release.
///
/// A text that must change gets a new version in a folder of its own.
#[test]
fn released_texts_never_change() {
    let folders: Vec<PathBuf> = fs::read_dir(wit())
        .expect("the WIT packages")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    assert!(!folders.is_empty());
    for folder in folders {
        let frozen: BTreeMap<String, String> = read(&folder.join("frozen.txt"))
            .lines()
            .map(|line| {
                let (hash, name) = line.split_once("  ").expect("hash, two spaces, name");
                (name.to_owned(), hash.to_owned())
            })
            .collect();
        let files = fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").path());
        let found: BTreeMap<String, String> = files
            .filter(|path| path.extension().is_some_and(|end| end == "wit"))
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                (name, blake3::hash(read(&path).as_bytes()).to_hex().to_string())
            })
            .collect();
        assert_eq!(found, frozen, "{}: a released text was edited", folder.display());
    }
}

/// Takes a WIT text down to words, without comments.
fn words(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    lines.collect::<Vec<_>>().join(" ")
}

/// Returns what stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} after {from}")).0
}

/// The records and functions of a text are those of the plugins in these tests, which the runtime
/// takes, field by field.
#[test]
fn the_texts_are_what_the_runtime_takes() {
    let folder = wit().join(format!("since_v{}_{}_{}", ABI.major, ABI.minor, ABI.patch));
    for kind in Kind::ALL {
        let text = words(&read(&folder.join(format!("{kind}.wit"))));
        assert!(text.contains(&format!("package onhand:{kind}@{ABI};")), "{kind}");
        assert!(text.contains(&format!("world {kind} {{ import log; export policy; }}")), "{kind}");
        let plugin = common::text(kind);
        inspect(&plugin.bytes(), &Limits::default()).expect("a plugin");
        let wat = plugin.wat();
        let mut records = 0;
        for part in text.split("record ").skip(1) {
            let (name, rest) = part.split_once(" {").expect("a record");
            let fields: Vec<String> = between(rest, "", "}")
                .split(',')
                .map(str::trim)
                .filter(|field| !field.is_empty())
                .map(|field| {
                    let (name, ty) = field.split_once(": ").expect("a field");
                    format!(" (field \"{name}\" {ty})")
                })
                .collect();
            assert!(
                wat.contains(&format!("(type ${name} (record{}))", fields.concat())),
                "{kind} {name}"
            );
            records += 1;
        }
        assert_eq!(records, 3);
        let function = between(&text, &format!("{}: func(", kind.function()), ";");
        let (parameters, result) = function.split_once(") -> list<").expect("a result");
        let list = |ty: &str| match ty {
            "u64" => "(list u64)".to_owned(),
            record => format!("(list ${record})"),
        };
        let parameters: Vec<String> = parameters
            .split(", ")
            .map(|parameter| {
                let (name, ty) = parameter.split_once(": list<").expect("a list");
                format!(" (param \"{name}\" {})", list(ty.trim_end_matches('>')))
            })
            .collect();
        let result = format!(" (result {})", list(result.trim_end_matches('>')));
        let wanted = format!("(func $decide {}{result}\n", parameters.concat());
        assert!(wat.contains(&wanted), "{kind}: {wanted}");
        assert!(text.contains("init: func(config: string) -> result<_, string>;"), "{kind}");
        assert!(text.contains("log: func(level: u32, message: string);"), "{kind}");
    }
}
