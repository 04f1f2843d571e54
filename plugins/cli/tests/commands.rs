//! Every command of a plugin's maker on a project, from nothing to a signed bundle, and each exit
//! code.

mod common;

use common::{Project, is_there, plugin};
use onhand_plugin_bundle::{Fixture, Manifest};

/// The start of the deciding function of the pricing template, to put a deed in.
const START: &str = "    (local.set $out (call $realloc";

/// A project of each kind builds, passes its tests and its check at once.
#[test]
fn a_new_project_is_fine_at_once() {
    for kind in ["pricing", "fraud", "recommend"] {
        let project = Project::new(kind);
        let built = project.run(&["build"]).expect(0);
        assert!(built.out.contains(&format!("onhand:{kind}/policy@1.0.0")), "{}", built.out);
        let tested = project.run(&["test", "--fuzz", "200", "--seed", "7"]).expect(0);
        assert!(tested.out.contains("3 of 3 fixtures as expected"), "{}", tested.out);
        assert!(tested.out.contains("ok   200 random orders, seed 7"), "{}", tested.out);
        let checked = project.run(&["check"]).expect(0);
        for word in ["interface", "imports nothing", "deterministic", "keeps_nothing", "headroom"] {
            assert!(checked.out.contains(word), "{word}: {}", checked.out);
        }
        assert!(project.read(&format!("wit/{kind}.wit")).contains("package onhand:"));
    }
}

/// Every language has a project of every kind, whose manifest and fixtures can be read, and in
/// which nothing of the template is left open.
#[test]
fn every_language_has_every_kind() {
    let root = tempfile::tempdir().expect("a directory");
    let into = root.path().display().to_string();
    for language in ["rust", "ts", "c", "python", "wat"] {
        for kind in ["pricing", "fraud", "recommend"] {
            let name = format!("my-{language}-{kind}");
            let new = ["new", &name, "--kind", kind, "--lang", language, "--into", &into, "--json"];
            let made = plugin(&new).expect(0).json();
            let dir = root.path().join(&name);
            let text = |file: &str| std::fs::read_to_string(dir.join(file)).expect("a file");
            let manifest = Manifest::read(&text("plugin.toml")).expect("a manifest");
            assert_eq!((manifest.id, manifest.kind.name()), (name, kind));
            assert_eq!(manifest.build.expect("a build").language.name(), language);
            let mut fixtures = 0;
            for file in made["files"].as_array().expect("files") {
                let file = file.as_str().expect("a path");
                if file.starts_with("fixtures/") {
                    Fixture::read(&text(file)).unwrap_or_else(|e| panic!("{language} {file}: {e}"));
                    fixtures += 1;
                }
                let bytes = std::fs::read(dir.join(file)).expect("a file");
                let open = bytes.windows(7).any(|part| part == b"{{name}" || part == b"{{crate");
                assert!(
                    !open
                        && !file.contains("dot-")
                        && !file.contains(".in.")
                        && file.rsplit('.').next() != Some("in"),
                    "{file}"
                );
            }
            assert!(fixtures >= 3, "{language} {kind}");
            assert!(text("README.md").contains("onhand plugin build"));
        }
    }
}

/// The components that were built from the templates pass the tests of a new project, and the
/// check.
#[test]
fn built_templates_pass_their_tests() {
    let root = tempfile::tempdir().expect("a directory");
    let into = root.path().display().to_string();
    let compat = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../compat/v1_0_0");
    for language in ["rust", "ts", "c"] {
        for kind in ["pricing", "fraud", "recommend"] {
            let name = format!("{language}-{kind}");
            plugin(&["new", &name, "--kind", kind, "--lang", language, "--into", &into]).expect(0);
            let dir = root.path().join(&name);
            let built = compat.join(format!("{kind}-{language}.wasm"));
            std::fs::copy(&built, dir.join("plugin.wasm")).expect("a component");
            let dir = dir.display().to_string();
            plugin(&["test", "--plugin", &dir, "--fuzz", "50", "--seed", "5"]).expect(0);
            plugin(&["check", &dir]).expect(0);
        }
    }
}

/// A new project is not written over, and its name is a plain word.
#[test]
fn new_refuses_what_is_there_and_odd_names() {
    let project = Project::new("pricing");
    let into = project.beside("");
    let again = plugin(&["new", "first", "--kind", "fraud", "--lang", "wat", "--into", &into]);
    assert!(again.expect(3).err.contains("is there already"));
    for name in ["../x", "X", "a b", "a--b", "-a", "a-", "", "1a", "a.b", &"a".repeat(41)] {
        let refused =
            plugin(&["new", "--kind", "fraud", "--lang", "wat", "--into", &into, "--", name]);
        assert!(refused.expect(2).err.contains("is no name"), "{name}");
    }
    plugin(&["new", "x", "--kind", "colour"]).expect(2);
    let nowhere = project.beside("nowhere");
    plugin(&["new", "x", "--kind", "fraud", "--lang", "wat", "--into", &nowhere]).expect(3);
}

/// A run shows the answer, the reason's text, the fuel and each limit with its headroom.
#[test]
fn a_run_shows_answer_and_limits() {
    let project = Project::built("pricing");
    let manifest = project.read("plugin.toml");
    project.write("plugin.toml", &format!("{manifest}\n[reasons]\n1 = \"ten or more\"\n"));
    let shown = project.run(&["run", "-i", "many"]).expect(0).out;
    for word in ["100.00 EUR at list price, 90.00 EUR to pay", "\"ten or more\"", "fuel_per_order"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let report = project.run(&["run", "-i", &project.path("fixtures/many.json"), "--json"]);
    let report = report.expect(0).json();
    assert_eq!(report["schema"], "onhand.plugin.run/1");
    assert_eq!(report["output"]["orders"][0]["total"], 9_000);
    let limits = report["limits"].as_array().expect("limits");
    let fuel = limits.iter().find(|limit| limit["name"] == "fuel_per_order").expect("fuel");
    assert_eq!((&fuel["limit"], &fuel["used"]), (&50_000.into(), &report["fuel"]));
    let used = fuel["used"].as_f64().expect("a number");
    let headroom = fuel["headroom_percent"].as_f64().expect("a number");
    assert!((headroom - (50_000.0 - used) / 500.0).abs() < 0.06, "{headroom}");
    // The same fuel again, as everywhere.
    let again = project.run(&["run", "-i", "many", "--json"]).expect(0).json();
    assert_eq!(again["fuel"], report["fuel"]);
    let other = project.run(&["run", "-i", "none-of-them"]).expect(3);
    assert!(other.err.contains("none-of-them"), "{}", other.err);
}

/// Each way to fail ends with code 1, the reason, and what to do.
#[test]
fn a_plugin_that_fails_is_told_why() {
    for (deed, why, help) in [
        ("unreachable", "unreachable", "a trap is a bug"),
        ("(loop $l (br $l))", "used up its fuel", "raise fuel_per_order"),
        (
            "(drop (memory.grow (i32.const 1))) (i32.store (i32.const 16) (i32.const -8)) \
          (i32.store (i32.const 20) (i32.const 9)) (return (i32.const 16))",
            "cannot be read",
            "raise output_bytes",
        ),
    ] {
        let project = Project::changed(
            START,
            &format!(
                "    (if (i32.ge_u (local.get $line_count) (i32.const 2)) (then {deed}))\n{START}"
            ),
        );
        let run = project.run(&["run", "-i", "mixed"]).expect(1);
        assert!(run.err.contains(why) && run.err.contains(help), "{}", run.err);
        let checked = project.run(&["check"]).expect(1);
        assert!(
            checked.out.contains("FAIL answers") && checked.out.contains(why),
            "{}",
            checked.out
        );
        let tested = project.run(&["test"]).expect(1);
        assert!(tested.out.contains("FAIL mixed") && tested.out.contains(why), "{}", tested.out);
        let fuzzed = project.run(&["test", "few", "--fuzz", "50", "--seed", "3"]).expect(1);
        assert!(fuzzed.out.contains("as a fixture: {"), "{}", fuzzed.out);
        project.run(&["bench"]).expect(1);
    }
}

/// An answer that breaks a rule is no answer.
#[test]
fn a_lying_answer_is_refused() {
    let lie = "(i64.const -1)";
    let project = Project::changed(
        "(i64.const 10)))\n        (i32.store offset=16",
        &format!("{lie}))\n        (i32.store offset=16"),
    );
    let run = project.run(&["run", "-i", "many"]).expect(1);
    assert!(
        run.err.contains("its answer breaks a rule: amount of entry 0 is -10000"),
        "{}",
        run.err
    );
}

/// State that is kept between calls is found: the answer depends on how many came before.
#[test]
fn kept_state_is_found() {
    let project = Project::new("pricing");
    project.change(
        "src/plugin.wat",
        "(global $next",
        "(global $calls (mut i32) (i32.const 0))\n  (global $next",
    );
    project.change("src/plugin.wat", START, &format!(
        "    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))\n\
             (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (local.set $line_count (i32.const 0))))\n{START}"));
    project.run(&["build"]).expect(0);
    let checked = project.run(&["check"]).expect(1).out;
    assert!(
        checked.contains("ok   deterministic") && checked.contains("FAIL keeps_nothing"),
        "{checked}"
    );
    let report = project.run(&["check", "--json"]).expect(1).json();
    assert_eq!(
        (&report["ok"], &report["schema"]),
        (&false.into(), &"onhand.plugin.check/1".into())
    );
    let fuzzed = project.run(&["test", "--fuzz", "100", "--seed", "1"]).expect(1).out;
    assert!(fuzzed.contains("a warm instance gives another answer"), "{fuzzed}");
}

/// A module that does not fit its world, or its manifest, is refused where it shows first.
#[test]
fn a_module_that_does_not_fit_is_refused() {
    let project = Project::new("pricing");
    project.change("src/plugin.wat", "#price-batch\")\n    (param", "#price-bunch\")\n    (param");
    let built = project.run(&["build"]).expect(4);
    assert!(built.err.contains("is no module for onhand:pricing@1.0.0"), "{}", built.err);
    let project = Project::new("pricing");
    project.change("src/plugin.wat", "(module", "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32)))");
    let built = project.run(&["build"]).expect(4);
    assert!(built.err.contains("no WASI"), "{}", built.err);
    let project = Project::built("pricing");
    project.change("plugin.toml", "kind = \"pricing\"", "kind = \"fraud\"");
    project.change("plugin.toml", "onhand:pricing", "onhand:fraud");
    let checked = project.run(&["check"]).expect(1).out;
    assert!(checked.contains("plugin.toml says fraud, and the component is pricing"), "{checked}");
    project.write("plugin.wasm", "no wasm");
    let checked = project.run(&["check"]).expect(1).out;
    assert!(checked.contains("FAIL interface"), "{checked}");
    project.run(&["inspect"]).expect(1);
}

/// A limit that is set too low is named, with the way out.
#[test]
fn limits_are_those_of_the_manifest() {
    let project = Project::built("pricing");
    project.change(
        "plugin.toml",
        "fuel_per_order = 50_000",
        "fuel_per_order = 1_000\nmodule_bytes = 100",
    );
    let checked = project.run(&["check"]).expect(1).out;
    assert!(
        checked.contains("size of the component in bytes") && checked.contains("at most 100"),
        "{checked}"
    );
    project.change("plugin.toml", "module_bytes = 100", "module_bytes = 100_000");
    let checked = project.run(&["check"]).expect(1).out;
    assert!(checked.contains("used up its fuel"), "{checked}");
    project.change("plugin.toml", "fuel_per_order", "fuel_per_ordr");
    let checked = project.run(&["check"]).expect(2);
    assert!(checked.err.contains("did you mean `fuel_per_order`?"), "{}", checked.err);
    assert!(checked.err.contains("plugin.toml:10:1"), "{}", checked.err);
}

/// Tests compare, tell the difference, and take over today's answers when they are told to.
#[test]
fn tests_compare_and_accept() {
    let project = Project::built("pricing");
    project.change("fixtures/many.json", "9000", "9001");
    project.change("fixtures/mixed.json", "1090", "1091");
    let tested = project.run(&["test"]).expect(1).out;
    assert!(tested.contains("$.orders[0].total is 9000, and should be 9001"), "{tested}");
    assert!(tested.contains("1 of 3 fixtures as expected"), "{tested}");
    let bare = project.read("fixtures/few.json").replace("\"expect\"", "\"about2\"");
    project.write("fixtures/odd.json", &bare);
    assert!(project.run(&["test"]).expect(2).err.contains("unknown field `about2`"));
    std::fs::remove_file(project.dir.join("fixtures/odd.json")).expect("a file");
    let report = project.run(&["test", "--accept", "--json"]).expect(0).json();
    let accepted = report["fixtures"].as_array().expect("fixtures").iter();
    assert_eq!(accepted.filter(|one| one["accepted"] == true).count(), 2);
    project.run(&["test"]).expect(0);
    assert!(project.read("fixtures/many.json").contains("\"$.orders[0].total\": 9000"));
    assert!(project.run(&["test", "no-such-name"]).expect(2).err.contains("no fixture has"));
}

/// A budget of fuel or size is kept or not, and the curve of a linear plugin is linear.
#[test]
fn budgets_end_a_build() {
    let project = Project::built("pricing");
    let report = project.run(&["bench", "--orders", "50", "--json", "--budget", "fuel=50k"]);
    let report = report.expect(0).json();
    let fuel = |lines: u64| {
        let curve = report["curve"].as_array().expect("a curve").iter();
        let mut at = curve.filter(|one| one["lines"] == lines);
        at.next().and_then(|one| one["fuel"].as_u64()).expect("a number")
    };
    assert!(fuel(200) > fuel(100) && fuel(200) < 3 * fuel(100), "{report}");
    let (p50, max) = (&report["fuel_per_order"]["p50"], &report["fuel_per_order"]["max"]);
    assert!(p50.as_u64() < max.as_u64(), "{report}");
    let again = project.run(&["bench", "--orders", "50", "--json"]).expect(0).json();
    assert_eq!(again["fuel_per_order"], report["fuel_per_order"]);
    let over = project.run(&["bench", "--orders", "50", "--budget", "fuel=1k"]).expect(1);
    assert!(over.out.contains("FAIL fuel") && over.out.contains("growth"), "{}", over.out);
    project.run(&["bench", "--orders", "50", "--budget", "size=100"]).expect(1);
    project.run(&["bench", "--budget", "heat=1"]).expect(2);
    project.run(&["bench", "--orders", "0"]).expect(2);
}

/// A project becomes a bundle, the bundle is signed, and trust decides.
#[test]
fn bundles_are_packaged_signed_and_verified() {
    let project = Project::built("pricing");
    let key = project.beside("acme.key");
    let made = plugin(&["keygen", &key, "--json"]).expect(0).json();
    assert!(plugin(&["keygen", &key]).expect(3).err.contains("is not overwritten"));
    let packaged = project.run(&["package", "--json"]).expect(0).json();
    let bundle = packaged["bundle"].as_str().expect("a path").to_owned();
    assert!(bundle.ends_with("first-0.1.0.onhand") && is_there(&bundle));
    let bytes = std::fs::read(&bundle).expect("a file");
    project.run(&["package"]).expect(0);
    assert_eq!(std::fs::read(&bundle).expect("a file"), bytes, "the same bytes again");

    let trust = project.beside("trust.toml");
    let entry = format!("[signers.acme]\nkey = {}\nplugins = [\"first\"]\n", made["key"]);
    std::fs::write(&trust, &entry).expect("a file");
    let verify = |bundle: &str| plugin(&["verify", bundle, "--trust", &trust]);
    assert!(verify(&bundle).expect(1).err.contains("has no signature"));
    let signed = project.beside("signed.onhand");
    plugin(&["sign", &bundle, "--key", &key, "--out", &signed]).expect(0);
    assert!(verify(&signed).expect(0).out.contains("is by acme"));
    project.run(&["package", "--key", &key]).expect(0);
    assert_eq!(std::fs::read(&bundle).expect("a file"), std::fs::read(&signed).expect("a file"));

    std::fs::write(&trust, entry.replace("first", "other")).expect("a file");
    assert!(verify(&signed).expect(1).err.contains("acme may not sign first"));
    std::fs::write(&trust, "[signer]").expect("a file");
    assert!(verify(&signed).expect(2).err.contains("did you mean `signers`?"));
    let mut changed = std::fs::read(&signed).expect("a file");
    changed[600] ^= 1;
    std::fs::write(&signed, &changed).expect("a file");
    std::fs::write(&trust, &entry).expect("a file");
    verify(&signed).expect(1);
    plugin(&["verify", &project.beside("no.onhand"), "--trust", &trust]).expect(3);
    plugin(&["sign", &bundle, "--key", &trust]).expect(3);

    // A bundle is a plugin for every other command, with its own fixtures.
    plugin(&["check", &bundle]).expect(0);
    plugin(&["test", "--plugin", &bundle]).expect(0);
    plugin(&["run", &bundle, "-i", "many"]).expect(0);
    let inspected = plugin(&["inspect", &bundle, "--json"]).expect(0).json();
    assert_eq!(inspected["bundle"]["signed_by"][0], made["id"]);
    assert_eq!(inspected["bundle"]["fixtures"], serde_json::json!(["few", "many", "mixed"]));
    assert!(
        plugin(&["inspect", &bundle, "--wit"]).expect(0).out.contains("package onhand:pricing@")
    );
    let shown = plugin(&["inspect", &bundle]).expect(0).out;
    for word in ["largest functions", "sections", "code", "signed by"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

/// A component that stands alone takes its manifest by name, and its fixtures from beside it.
#[test]
fn a_component_may_stand_alone() {
    let project = Project::built("pricing");
    let alone = project.beside("alone.wasm");
    std::fs::copy(project.dir.join("plugin.wasm"), &alone).expect("a copy");
    plugin(&["check", &alone]).expect(0);
    let manifest = project.path("plugin.toml");
    let report = plugin(&["check", &alone, "--manifest", &manifest, "--json"]).expect(0).json();
    assert_eq!(report["checks"][0]["name"], "manifest");
    plugin(&["test", "--plugin", &alone, "--manifest", &manifest]).expect(0);
    assert!(plugin(&["test", "--plugin", &alone]).expect(2).err.contains("has no fixtures"));
}

/// A configuration is checked by the manifest's schema before the plugin sees it.
#[test]
fn configurations_are_checked_by_their_schema() {
    let project = Project::built("pricing");
    let manifest = project.read("plugin.toml");
    project.write("plugin.toml", &format!(
        "{manifest}\n[config_schema]\ntype = \"object\"\nproperties.percent = {{ maximum = 50 }}\n"));
    let config = project.path("shop.json");
    std::fs::write(&config, r#"{ "percent": 70 }"#).expect("a file");
    let refused = project.run(&["run", "-i", "many", "--config", &config]).expect(2);
    assert!(
        refused.err.contains("config.percent is 70, and must be at most 50"),
        "{}",
        refused.err
    );
    std::fs::write(&config, r#"{ "percent": 7 }"#).expect("a file");
    project.run(&["run", "-i", "many", "--config", &config]).expect(0);
}

/// What is not there, or cannot be built, has its own code and its help.
#[test]
fn missing_files_and_tools_have_their_codes() {
    let project = Project::new("pricing");
    assert!(project.run(&["check"]).expect(3).err.contains("onhand plugin build"));
    let nowhere = project.beside("nowhere");
    plugin(&["check", &nowhere]).expect(3);
    let empty = project.beside("");
    assert!(plugin(&["build", &empty]).expect(3).err.contains("onhand plugin new"));
    project.change(
        "plugin.toml",
        "language = \"wat\"",
        "language = \"c\"\ncommand = \"no-such-compiler x\"",
    );
    let built = project.run(&["build"]).expect(4);
    assert!(
        built.err.contains("no-such-compiler is not installed") && built.err.contains("ziglang"),
        "{}",
        built.err
    );
    project.change("plugin.toml", "no-such-compiler x", "false");
    assert!(project.run(&["build"]).expect(4).err.contains("`false` failed"));
    project.change("plugin.toml", "command = \"false\"", "command = \"true\"");
    project.change("plugin.toml", "src/plugin.wat", "src/other.wat");
    assert!(project.run(&["build"]).expect(4).err.contains("has not left"));
    project.change("plugin.toml", "language = \"c\"", "language = \"d\"");
    assert!(project.run(&["build"]).expect(2).err.contains("one of rust, ts, c, python, wat"));
    plugin(&["no-such-command"]).expect(2);
    plugin::<&str>(&[]).expect(2);
}

/// Watching builds and tests, tells what is wrong, and goes on.
#[test]
fn watching_builds_and_tests() {
    let project = Project::new("pricing");
    let watched = project.run(&["watch", "--rounds", "1"]).expect(0);
    assert!(watched.out.contains("3 of 3 fixtures as expected"), "{}", watched.out);
    project.change("src/plugin.wat", "(module", "(modul");
    let watched = project.run(&["watch", "--rounds", "1"]).expect(4);
    assert!(watched.err.contains("onhand plugin:"), "{}", watched.err);
}

/// What `--help` says is what the page has; the page is written anew with `UPDATE_EXPECT=1`.
#[test]
fn help_is_as_written() {
    let mut text = plugin(&["--help"]).expect(0).out;
    for command in [
        "new", "build", "check", "run", "test", "bench", "replay", "watch", "inspect", "keygen",
        "sign", "verify", "package",
    ] {
        let help = plugin(&[command, "--help"]).expect(0).out;
        assert!(help.contains("Example"), "{command} has no example");
        text.extend(["\n$ onhand plugin ", command, " --help\n", help.as_str()]);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &text).expect("a file");
    }
    let wanted = std::fs::read_to_string(&path).expect("a file");
    assert!(text == wanted, "tests/help.txt differs; UPDATE_EXPECT=1 writes it anew:\n{text}");
}
