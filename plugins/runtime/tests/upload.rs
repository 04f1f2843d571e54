//! What is taken as a plugin and what is not: every refusal before anything runs, and the cache of
//! compiled code.

mod common;

use std::fs;
use std::path::Path;

use common::{bad, options, patient, pricing, runtime, text};
use onhand_plugin_runtime::{
    AbiVersion, CacheUse, CompilerProcess, Failure, FailureKind, Fraud, Kind, Limits, LoadError,
    Plugin, PluginOptions, Pricing, Recommend, Runtime, RuntimeConfig, RuntimeError, inspect,
};
use onhand_policy::fact::PricingBatch;

fn refused(bytes: &[u8]) -> LoadError {
    inspect(bytes, &Limits::default()).expect_err("not to be taken")
}

/// The shape of a good plugin is what it was made of.
#[test]
fn the_shape_of_each_kind_is_seen() {
    for kind in Kind::ALL {
        let shape = inspect(&text(kind).bytes(), &Limits::default()).expect("a plugin");
        assert_eq!((shape.kind, shape.version.to_string()), (kind, "1.0.0".to_owned()));
        assert_eq!(shape.interface, format!("onhand:{kind}/policy@1.0.0"));
        assert!(shape.logs);
        assert_eq!((shape.modules, shape.functions), (2, 4));
        assert_eq!(shape.memory_bytes, 3 * 65_536);
        assert!((100..1_000).contains(&shape.code_bytes), "{}", shape.code_bytes);
    }
}

/// No start of a component is one, and no byte of it changed makes anything panic.
#[test]
fn cut_and_changed_bytes_are_refused_or_harmless() {
    let good = text(Kind::Pricing).bytes();
    let whole = inspect(&good, &Limits::default());
    let mut cut_short = 0;
    for end in 0..good.len() {
        match inspect(&good[..end], &Limits::default()) {
            Err(LoadError::Malformed { .. } | LoadError::NoInterface { .. }) => cut_short += 1,
            // Only names for people are behind the last section that means something.
            taken => assert_eq!(taken, whole, "cut at {end}"),
        }
    }
    assert!(cut_short > good.len() - 10, "{cut_short} of {}", good.len());
    let mut taken = 0;
    for at in 0..good.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut changed = good.clone();
            changed[at] ^= change;
            taken += u32::from(inspect(&changed, &Limits::default()).is_ok());
        }
    }
    // What is taken has another constant, or another name inside.
    assert!(taken < good.len() as u32 * 2, "{taken} of {}", good.len() * 3);
    assert!(matches!(refused(b""), LoadError::Malformed { .. }));
    assert!(matches!(refused(b"hello, world"), LoadError::Malformed { .. }));
    assert_eq!(refused(&wat::parse_str("(module)").expect("text")), LoadError::CoreModule);
}

/// Each limit on size is taken at its value, and refused one below.
#[test]
fn sizes_have_limits() {
    let bytes = text(Kind::Pricing).bytes();
    let shape = inspect(&bytes, &Limits::default()).expect("a plugin");
    let largest = (1..5_000)
        .find(|&function_bytes| {
            inspect(&bytes, &Limits { function_bytes, ..Limits::default() }).is_ok()
        })
        .expect("a size");
    let at = Limits {
        module_bytes: bytes.len() as u64,
        functions: shape.functions,
        function_bytes: largest,
        memory_bytes: shape.memory_bytes,
        ..Limits::default()
    };
    assert_eq!(inspect(&bytes, &at), Ok(shape));
    for (limits, said) in [
        (Limits { module_bytes: at.module_bytes - 1, ..at }, "size of the component in bytes is"),
        (Limits { functions: at.functions - 1, ..at }, "number of functions is 4, at most 3"),
        (Limits { function_bytes: largest - 1, ..at }, "size of a function in bytes is"),
        (Limits { memory_bytes: 131_072, ..at }, "memory at the start in bytes is 196608"),
    ] {
        let error = inspect(&bytes, &limits).expect_err("too large").to_string();
        assert!(error.starts_with(said), "{error}");
    }
    let second = text(Kind::Pricing).with("(memory $more 1)");
    let error = inspect(&second.bytes(), &Limits::default()).expect_err("two memories");
    let what = "number of memories";
    assert_eq!(error, LoadError::TooLarge { what, value: 2, max: 1 });
}

/// Instances of instances of instances: a few hundred bytes that stand for 2^40 of them are
/// refused before the compiler unfolds them, and so is a very deep nest.
#[test]
fn what_unfolds_without_end_is_refused() {
    let nest = |levels: u32| {
        let level = |at: u32| {
            let start = "(instance (instantiate $inner))";
            format!(
                "(component $c{at} (alias outer 1 $c{} (component $inner)) {start} {start})",
                at - 1
            )
        };
        let levels_text: String = (1..=levels).map(level).collect();
        let imports = format!("(component $c0) {levels_text} (instance (instantiate $c{levels}))");
        common::Text { imports, ..text(Kind::Pricing) }.bytes()
    };
    let what = "number of component instances";
    // Two a level, the outermost one, and that of the plugin itself.
    assert!(inspect(&nest(7), &Limits::default()).is_ok());
    for (levels, value) in [(8, 17), (40, 18)] {
        assert_eq!(refused(&nest(levels)), LoadError::TooLarge { what, value, max: 16 });
    }

    // Each component is the only section (number 4) of the one around it.
    let mut deep = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..1_000 {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut left = deep.len();
        while left > 0x7F {
            outer.push((left & 0x7F) as u8 | 0x80);
            left >>= 7;
        }
        outer.push(left as u8);
        outer.append(&mut deep);
        deep = outer;
    }
    let what = "number of components and modules";
    assert_eq!(refused(&deep), LoadError::TooLarge { what, value: 1_001, max: 1_000 });
}

/// WebAssembly that may differ from machine to machine, or that nobody needs, is no valid plugin.
#[test]
fn other_features_are_refused() {
    for more in [
        "(func (param v128) (result v128)
            (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
        "(func (param i32) (drop (i32.atomic.rmw.add (local.get 0) (i32.const 1))))",
        "(type (struct (field i32)))",
        "(func $f (return_call $f))",
        "(func (try_table))",
    ] {
        let error = refused(&text(Kind::Fraud).with(more).bytes());
        assert!(matches!(error, LoadError::Malformed { .. }), "{more}: {error}");
    }
}

/// A plugin that wants anything but its own log is refused by the name of what it wants.
#[test]
fn other_imports_are_refused() {
    for import in [
        r#"(import "wasi:cli/environment@0.2.0" (instance))"#,
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64)))))"#,
        r#"(import "onhand:pricing/policy@1.0.0" (instance))"#,
        r#"(import "onhand:fraud/log@1.0.0" (instance))"#,
        r#"(import "random" (func (result u64)))"#,
    ] {
        let text = common::Text { imports: import.to_owned(), ..text(Kind::Pricing) };
        let error = refused(&text.bytes());
        let name = import.split('"').nth(1).unwrap_or_default();
        assert_eq!(error, LoadError::Import(name.to_owned()));
    }
    let wat = text(Kind::Pricing)
        .wat()
        .replace(r#"(export "log" (func (param "level" u32) (param "message" string)))"#, "LOG");
    let two = r#"(export "log" (func (param "level" u32) (param "message" string)))
        (export "now" (func (result u64)))"#;
    let bytes = wat::parse_str(wat.replace("LOG", two)).expect("text");
    let wanted = "now of onhand:pricing/log@1.0.0".to_owned();
    assert_eq!(refused(&bytes), LoadError::Import(wanted));
    let wider = r#"(export "log" (func (param "level" u32) (param "text" string)))"#;
    let bytes = wat::parse_str(wat.replace("LOG", wider)).expect("text");
    let error = refused(&bytes);
    assert!(matches!(error, LoadError::Signature { function: "log", .. }), "{error}");
}

/// A component without its kind's interface, or with a part of it, says what is missing.
#[test]
fn missing_exports_are_named() {
    let none = refused(&wat::parse_str("(component)").expect("text"));
    assert_eq!(none, LoadError::NoInterface { kind: None, found: vec![] });
    let text = common::Text { function: "price-all", ..text(Kind::Pricing) };
    let error = refused(&text.bytes());
    assert_eq!(error, LoadError::MissingFunction { function: "price-batch" });

    let runtime = runtime();
    let fraud = common::text(Kind::Fraud).bytes();
    let error = Plugin::<Pricing>::load(&runtime, &fraud, options()).expect_err("another kind");
    let wanted = "does not export onhand:pricing/policy@1.0.0; it exports \
                  onhand:fraud/policy@1.0.0";
    assert_eq!(error.to_string(), wanted);
}

/// One field, type or parameter that differs is shown beside what it should be.
#[test]
fn other_types_are_shown() {
    for (from, to, said) in [
        (r#"(field "unit" s64)"#, r#"(field "unit" u64)"#, "unit: u64"),
        (r#"(field "segment" u32)"#, r#"(field "sector" u32)"#, "sector: u32"),
        (r#" (field "code" u32)"#, r#" (field "code" u32) (field "note" u32)"#, "note: u32"),
        (r#"(param "coupons" (list u64))"#, r#"(param "vouchers" (list u64))"#, "vouchers"),
    ] {
        let wat = text(Kind::Pricing).wat();
        assert!(wat.contains(from), "{from}");
        let error = refused(&wat::parse_str(wat.replace(from, to)).expect("text"));
        let LoadError::Signature { function: "price-batch", found, wanted } = error else {
            panic!("{error}")
        };
        assert!(found.contains(said) && !wanted.contains(said), "{found}");
    }
    let wat = text(Kind::Recommend).wat();
    let wat =
        wat.replace("(result (result (error string)))", "(result (result u32 (error string)))");
    let error = refused(&wat::parse_str(wat).expect("text"));
    assert!(matches!(error, LoadError::Signature { function: "init", .. }), "{error}");
}

/// Another major version and a newer minor one are refused; an older patch is not.
#[test]
fn other_versions_are_refused() {
    for version in ["2.0.0", "1.1.0", "0.9.0"] {
        let text = common::Text { version, ..text(Kind::Fraud) };
        let error = refused(&text.bytes());
        assert!(matches!(error, LoadError::Version { .. }), "{error}");
    }
    let newer = common::Text { version: "1.0.7", ..text(Kind::Fraud) };
    let plugin = Plugin::<Fraud>::load(&runtime(), &newer.bytes(), options()).expect("a plugin");
    let version = AbiVersion { major: 1, minor: 0, patch: 7 };
    assert_eq!(plugin.shape().version, version);
}

/// A plugin that fails on its first, harmless order is not taken.
#[test]
fn a_plugin_is_tried_before_it_is_taken() {
    let mut text = bad("unreachable");
    // The order that a plugin is tried with has no customer.
    text.deed = "unreachable".to_owned();
    let wat = text.wat().replace("(i64.const 666)", "(i64.const 0)");
    let bytes = wat::parse_str(wat).expect("text");
    let error = Plugin::<Pricing>::load(&runtime(), &bytes, options()).expect_err("a trap");
    let LoadError::FirstCall(failure) = error else { panic!("{error}") };
    assert_eq!(failure.kind(), FailureKind::Trap);

    let start =
        common::text(Kind::Recommend).with("(func $s (loop $for_ever (br $for_ever))) (start $s)");
    let error = Plugin::<Recommend>::load(&runtime(), &start.bytes(), options());
    assert_eq!(error.err(), Some(LoadError::Start(Failure::Fuel)));
}

/// Limits outside their range, or above what the runtime has room for, are refused.
#[test]
fn limits_are_checked_first() {
    let runtime = runtime();
    let load = |limits| {
        let options = PluginOptions { limits, ..options() };
        let error = Plugin::<Fraud>::load(&runtime, b"", options).expect_err("limits");
        error.to_string()
    };
    let zero = Limits { fuel_per_order: 0, ..patient() };
    assert_eq!(load(zero), "fuel_per_order is 0, outside 1000..=10000000000 fuel");
    let large = Limits { memory_bytes: (16 << 20) + 1, ..patient() };
    assert_eq!(load(large), "memory_bytes is 16777217, outside 65536..=16777216 bytes");
    let config = RuntimeConfig { total_instances: 0, ..RuntimeConfig::default() };
    let error = Runtime::new(config).expect_err("no instance").to_string();
    assert_eq!(error, "total_instances is 0, outside 1..=1000 instances");
}

/// Compiling beyond its time is refused, and the next plugin is compiled all the same.
#[test]
fn compiling_has_a_time() {
    let runtime = runtime();
    let step = |n: i32| format!("i32.const {n} i32.xor ");
    let sum = (0..20_000).map(step).collect::<Vec<_>>().concat();
    let slow = text(Kind::Pricing)
        .with(&format!("(func (export \"slow\") (param i32) (result i32) local.get 0 {sum})"));
    let limits = Limits { compile_ms: 1, ..patient() };
    let options_1 = PluginOptions { limits, ..options() };
    let error = Plugin::<Pricing>::load(&runtime, &slow.bytes(), options_1).err();
    assert_eq!(error, Some(LoadError::CompileTime { max_ms: 1 }));
    assert!(Plugin::<Pricing>::load(&runtime, &text(Kind::Pricing).bytes(), options()).is_ok());
}

/// Goal: whatever becomes of a process that compiles, the component is refused, the runtime goes on,
/// and what the directory knows needs no process. Method: programs that are no compiler.
#[cfg(unix)]
#[test]
fn a_process_that_fails_refuses_the_component() {
    let dir = tempfile::tempdir().expect("a directory");
    let load = |script: &str, compile_ms: u64| {
        let compiler = CompilerProcess {
            program: script.split(' ').next().expect("a program").into(),
            arguments: vec!["-c".to_owned(), script.split_once(' ').map_or("", |s| s.1).to_owned()],
        };
        let config = RuntimeConfig {
            total_instances: 2,
            cache_dir: Some(dir.path().join("code")),
            compiler: Some(compiler),
            ..RuntimeConfig::default()
        };
        let runtime = Runtime::new(config).expect("a runtime");
        let limits = Limits { compile_ms, ..patient() };
        let options = PluginOptions { limits, ..options() };
        let plugin = Plugin::<Pricing>::load(&runtime, &text(Kind::Pricing).bytes(), options);
        plugin.map(|plugin| plugin.cache_use())
    };
    for (script, why) in [
        ("/bin/sh kill -9 $$", "was ended by signal 9; it has 60 s of processor time"),
        ("/bin/sh cat >/dev/null; exit 7", "was ended with code 7"),
        ("/bin/sh exec <&-; exit 3", "was ended with code 3"),
        ("/bin/sh cat >/dev/null", "gave no answer"),
        ("/bin/sh cat >/dev/null; printf '\\000hello'", "gave an answer that cannot be read"),
        ("/bin/sh cat >/dev/null; printf '\\001too odd'", "too odd"),
        ("/bin/sh exec cat /dev/zero", "its compiled code is larger than"),
        ("/no/such/program", "the process that compiles it cannot be used"),
    ] {
        match load(script, 60_000) {
            Err(LoadError::Compile(text)) => assert!(text.contains(why), "{script}: {text}"),
            other => panic!("{script}: {other:?}"),
        }
    }
    for silent in ["/bin/sh exec sleep 600", "/bin/sh exec >&-; exec sleep 600"] {
        assert_eq!(load(silent, 200), Err(LoadError::CompileTime { max_ms: 200 }));
    }
    // Nothing was kept of any of them.
    let nothing = load("/bin/sh cat >/dev/null; printf '\\000'", 60_000).expect("a plugin");
    assert!(nothing.compiled >= 4 && nothing.hits == 0, "{nothing:?}");
    let known = load("/no/such/program", 60_000).expect("the directory knows it");
    assert!(known.hits > known.compiled, "{known:?}");
}

fn with_cache(dir: &Path) -> Result<Runtime, RuntimeError> {
    let cache_dir = Some(dir.to_owned());
    Runtime::new(RuntimeConfig { cache_dir, total_instances: 2, ..RuntimeConfig::default() })
}

fn cached(dir: &Path) -> CacheUse {
    let runtime = with_cache(dir).expect("a runtime");
    let plugin = Plugin::<Pricing>::load(&runtime, &text(Kind::Pricing).bytes(), options())
        .expect("a plugin");
    let (headers, lines) = pricing(&[(1, 1, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    assert_eq!(decided.answer.lines[0].discount, 100);
    plugin.cache_use()
}

fn code_file(dir: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(dir).expect("a directory").map(|file| file.expect("a file").path());
    let mut code = files.filter(|path| path.extension().is_some_and(|end| end == "code"));
    let first = code.next().expect("compiled code");
    assert_eq!(code.next(), None);
    first
}

/// Compiled code is found again, and a file that was tampered with is not trusted but replaced.
#[test]
fn compiled_code_is_trusted_only_as_it_was_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("code");
    let first = cached(&dir);
    assert_eq!(first.hits, 0);
    assert!(first.compiled >= 4, "{first:?}");
    let second = cached(&dir);
    // The compiler does not recognise every function again; that costs time only.
    let found_again = |seen: CacheUse| {
        assert_eq!(seen.hits + seen.compiled, first.compiled, "{seen:?}");
        assert!(seen.hits > seen.compiled, "{seen:?}");
    };
    found_again(second);

    let path = code_file(&dir);
    let good = fs::read(&path).expect("compiled code");
    for at in [0, 8, 40, good.len() / 2, good.len() - 1] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).expect("written");
        assert_eq!(cached(&dir), first, "byte {at}");
        found_again(cached(&dir));
    }
    // Code of another component under this name, or made under another key, is no better.
    fs::write(dir.join("key"), [7; 32]).expect("written");
    assert_eq!(cached(&dir), first);
    found_again(cached(&dir));
}

/// A directory that others may enter, a link, or a broken key is refused with the way out.
#[cfg(unix)]
#[test]
fn a_directory_that_is_not_private_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let root = tempfile::tempdir().expect("a directory");
    let refused = |dir: &Path| with_cache(dir).expect_err("not to be trusted").to_string();
    let dir = root.path().join("code");
    drop(with_cache(&dir).expect("a runtime"));
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).expect("set");
    assert!(refused(&dir).contains("has mode 750, open to others than its owner"));
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("set");
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o604)).expect("set");
    assert!(refused(&dir).contains("has mode 604"));
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::write(dir.join("key"), "short").expect("written");
    assert!(refused(&dir).contains("it has not 32 bytes; remove the file"));
    let link = root.path().join("link");
    symlink(&dir, &link).expect("a link");
    assert!(refused(&link).contains("is no plain directory"));
    fs::write(root.path().join("file"), "").expect("written");
    assert!(!refused(&root.path().join("file")).is_empty());
}
