//! Bundles that somebody made up: each is refused, with the reason, and nothing is allocated for
//! what it claims.

use onhand_plugin_bundle::{Bundle, BundleBuilder, BundleLimits, SigningKey};
use proptest::prelude::*;

const MANIFEST: &str = r#"id = "acme/tiers"
version = "1.0.0"
kind = "pricing"
wit = "onhand:pricing@1.0.0"
license = "Apache-2.0"
"#;
const FIXTURE: &str = r#"{"kind":"pricing","input":{"headers":[{"currency":978}],
"lines":[{"sku":1,"quantity":1,"unit":100}]}}"#;

fn limits() -> BundleLimits {
    BundleLimits::default()
}

fn bundle() -> Bundle {
    let builder = BundleBuilder::new(MANIFEST, b"\0asm\x0d\0\x01\0".to_vec());
    let builder = builder.fixture("one", FIXTURE).fixture("two", FIXTURE);
    let mut bundle = builder.build(&limits()).expect("a bundle");
    bundle.sign(&SigningKey::from_seed([1; 32]), &limits()).expect("a signature");
    bundle
}

fn refusal(bytes: &[u8]) -> String {
    Bundle::read(bytes, &limits()).expect_err("a hostile bundle").to_string()
}

/// A header as any tool may write it, with its right checksum.
fn header(name: &str, size: &str, kind: u8) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    for (at, text) in [(100, "0000644"), (108, "0000000"), (116, "0000000")] {
        put(at, text.as_bytes());
    }
    put(124, size.as_bytes());
    put(136, b"00000000000\0        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut all = header(name, &format!("{:011o}\0", bytes.len()), b'0');
    all.extend_from_slice(bytes);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

/// Puts files into an archive, whatever their names.
fn archive(files: &[Vec<u8>]) -> Vec<u8> {
    let mut all = files.concat();
    all.resize(all.len() + 1_024, 0);
    all
}

fn good_files() -> Vec<(&'static str, Vec<u8>)> {
    let bundle = bundle();
    vec![
        ("plugin.toml", MANIFEST.as_bytes().to_vec()),
        ("plugin.wasm", bundle.wasm().to_vec()),
        ("wit/pricing.wit", bundle.wit().as_bytes().to_vec()),
        ("fixtures/one.json", FIXTURE.as_bytes().to_vec()),
        ("sbom.json", bundle.sbom().as_bytes().to_vec()),
    ]
}

fn with(change: impl FnOnce(&mut Vec<(&'static str, Vec<u8>)>)) -> Vec<u8> {
    let mut files = good_files();
    change(&mut files);
    archive(&files.iter().map(|(name, bytes)| file(name, bytes)).collect::<Vec<_>>())
}

/// The writer of these tests makes what the library takes, so that only the change is refused.
#[test]
fn unchanged_files_are_a_bundle() {
    let read = Bundle::read(&with(|_| ()), &limits()).expect("a bundle");
    assert_eq!(read.fixtures().len(), 1);
    assert_eq!(read.signatures(), []);
}

/// Names that lead elsewhere, or that no bundle has, are refused by name.
#[test]
fn foreign_names_are_refused() {
    for name in [
        "../plugin.toml",
        "/etc/passwd",
        "fixtures/../../x.json",
        "fixtures/a/b.json",
        "fixtures/.hidden.json",
        "fixtures/UPPER.json",
        "fixtures/one.json.exe",
        "wit/deps/other.wit",
        "wit/fraud.wit",
        "plugin.toml.bak",
        "./plugin.toml",
        "README.md",
    ] {
        for at in 0..=5 {
            let text = refusal(&with(|files| files.insert(at, (name, b"x".to_vec()))));
            assert!(text.contains(name) || text.contains("lacks"), "{name} at {at}: {text}");
        }
    }
}

/// An entry that is there twice, or out of order, is refused.
#[test]
fn duplicates_and_other_orders_are_refused() {
    for at in 0..5 {
        let twice = with(|files| files.insert(at, files[at].clone()));
        let text = refusal(&twice);
        assert!(
            text.contains("twice") || text.contains("place") || text.contains("lacks"),
            "{text}"
        );
    }
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
        refusal(&with(|files| files.swap(a, b)));
    }
    let late = with(|files| files.insert(3, ("fixtures/two.json", FIXTURE.into())));
    assert_eq!(refusal(&late), "entry \"fixtures/one.json\" is there twice, or not in order");
}

/// Each entry that must be there is missed by name.
#[test]
fn missing_entries_are_named() {
    for (at, name) in [(0, "plugin.toml"), (1, "plugin.wasm"), (2, "wit/"), (4, "sbom.json")] {
        let text = refusal(&with(|files| drop(files.remove(at))));
        assert!(text.starts_with("the bundle lacks ") && text.contains(name), "{text}");
    }
    assert!(refusal(b"").starts_with("no bundle: "));
    assert_eq!(refusal(&archive(&[])), "the bundle lacks plugin.toml");
}

/// Links, devices, folders and extensions are no plain files.
#[test]
fn other_types_of_entry_are_refused() {
    for kind in *b"1234567xgLKSDVN\0" {
        let text = refusal(&archive(&[header("plugin.toml", "00000000000\0", kind)]));
        let said = "no bundle: the entry is no plain file of the canonical form, at byte 0";
        assert_eq!(text, said, "{kind}");
    }
}

/// A size that the file does not have is refused before anything is allocated for it.
#[test]
fn lying_sizes_are_refused() {
    // 8 GiB less one, the most that the field holds.
    let huge = archive(&[header("plugin.wasm", "77777777777\0", b'0')]);
    assert_eq!(
        refusal(&huge),
        "no bundle: plugin.wasm claims 8589934591 bytes, and 1024 are left, at byte 0"
    );
    for size in
        ["99999999999\0", "-0000000001\0", "+0000000001\0", "0x000000010\0", "           \0"]
    {
        let text = refusal(&archive(&[header("plugin.wasm", size, b'0')]));
        assert!(text.contains("octal") || text.contains("canonical"), "{size}: {text}");
    }
    // The binary form of 10 GB, as other tools write it.
    let mut block = header("plugin.wasm", "00000000000\0", b'0');
    block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x02\x54\x0b\xe4\0");
    assert!(refusal(&archive(&[block])).contains("octal"));
}

/// Parts larger than their limits are refused by name, and one byte less is taken.
#[test]
fn parts_have_their_limits() {
    let bytes = bundle().bytes().to_vec();
    let fits = BundleLimits { bundle_bytes: bytes.len(), ..limits() };
    Bundle::read(&bytes, &fits).expect("at its limit");
    let small = BundleLimits { bundle_bytes: bytes.len() - 1, ..limits() };
    let text = Bundle::read(&bytes, &small).expect_err("one byte too large").to_string();
    assert_eq!(text, format!("the bundle has {} bytes, at most {}", bytes.len(), bytes.len() - 1));
    let small = BundleLimits { wasm_bytes: 7, ..limits() };
    let text = Bundle::read(&bytes, &small).expect_err("one byte too large").to_string();
    assert_eq!(text, "plugin.wasm has 8 bytes, at most 7");
    let small = BundleLimits { text_bytes: MANIFEST.len() - 1, ..limits() };
    let text = Bundle::read(&bytes, &small).expect_err("one byte too large").to_string();
    assert!(text.starts_with("plugin.toml has "), "{text}");
}

/// More fixtures than the limit are refused, as many as it are taken.
#[test]
fn fixtures_have_their_count() {
    let build = |count: usize| {
        let empty = BundleBuilder::new(MANIFEST, Vec::new());
        let all = (0..count).fold(empty, |all, at| all.fixture(&format!("f{at:04}"), FIXTURE));
        all.build(&limits())
    };
    assert_eq!(build(256).expect("a bundle").fixtures().len(), 256);
    build(300).expect_err("too many");
}

/// What the parts say of each other must agree.
#[test]
fn parts_that_disagree_are_refused() {
    let other_wasm = with(|files| files[1].1.push(0));
    assert_eq!(refusal(&other_wasm), "sbom.json: it does not have the BLAKE3 of plugin.wasm");
    let other_wit = with(|files| files[2].1 = b"package onhand:pricing@2.0.0;\n".to_vec());
    assert!(refusal(&other_wit).starts_with("wit/pricing.wit: it has no line"));
    let fraud = FIXTURE.replace("pricing", "fraud");
    let text = refusal(&with(|files| files[3].1 = fraud.into_bytes()));
    assert_eq!(text, "fixtures/one.json: it is for fraud, and the plugin is pricing");
    let not_utf8 = with(|files| files[0].1.push(0xff));
    assert_eq!(refusal(&not_utf8), "plugin.toml: it is no text in UTF-8");
    let sbom = with(|files| files[4].1 = b"[]".to_vec());
    assert_eq!(refusal(&sbom), "sbom.json: it is no CycloneDX document");
}

/// Signatures have one form; what follows them, or stands twice, is refused.
#[test]
fn signatures_have_one_form() {
    let line = format!("{} {}\n", "0".repeat(16), "0".repeat(128));
    for (text, word) in [
        (String::new(), "first line"),
        ("onhand-signatures 1\n".to_owned(), "canonical"),
        (format!("onhand-signatures 1\r\n{line}"), "canonical"),
        (format!("onhand-signatures 1\n{line}{line}"), "twice"),
        (format!("onhand-signatures 1\n{}", line.to_uppercase()), "canonical"),
        (format!("onhand-signatures 1\n{line}\n"), "a line is not"),
        ("onhand-signatures 1\nzz zz\n".to_owned(), "a line is not"),
    ] {
        let made = with(|files| files.push(("signature", text.clone().into_bytes())));
        // Digits have no case, so that one of the texts is a good one.
        if text.contains(&line) && text.lines().count() == 2 && !text.contains('\r') {
            Bundle::read(&made, &limits()).expect("zeros in capitals are zeros");
            continue;
        }
        assert!(refusal(&made).contains(word), "{text:?}: {}", refusal(&made));
    }
}

proptest! {
    /// Whatever bytes come, reading ends with a bundle or an error.
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..4_096)) {
        prop_assert!(Bundle::read(&bytes, &limits()).is_err());
    }

    /// One changed byte is refused, or changes what the signature was made over, or the signature.
    #[test]
    fn a_changed_byte_is_seen(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let good = bundle();
        let mut bytes = good.bytes().to_vec();
        bytes[at.index(good.bytes().len())] ^= 1 << bit;
        if let Ok(read) = Bundle::read(&bytes, &limits()) {
            let same = read.hash() == good.hash() && read.signatures() == good.signatures();
            prop_assert!(!same);
        }
    }

    /// A bundle that was cut off is refused.
    #[test]
    fn a_cut_bundle_is_refused(at in any::<prop::sample::Index>()) {
        let good = bundle();
        let end = at.index(good.bytes().len());
        prop_assert!(Bundle::read(&good.bytes()[..end], &limits()).is_err());
    }
}
