//! The life of plugins: signatures, steps, restarts, guards, swaps under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use onhand_core::{Command, Engine, PolicyNo, Reject, Step};
use onhand_desk::{Desk, DeskConfig, DeskError, Guards, HealthNote, Role};
use onhand_plugin_bundle::{Bundle, BundleLimits, SigningKey, Trust};
use onhand_plugin_runtime::Kind;

use crate::common::{
    NOW, ask, bought, bundle, config, decide, desk, desk_in, fifth, plain, pricing, refused,
    settings, shop, stock, tenth, until, villain,
};
use crate::text::VICTIM;

const ID: &str = "acme/tenth";

fn total(engine: &Engine, desk: &Desk, key: &str, customer: u64) -> i64 {
    bought(engine, desk, ask(key, customer, &[("MUG", 1)])).total.minor()
}

fn role(desk: &Desk, no: PolicyNo) -> Role {
    desk.list().into_iter().find(|listed| listed.view.no == no).expect("listed").role
}

fn steps(desk: &Desk, no: PolicyNo) -> Vec<Step> {
    let listed = desk.list().into_iter().find(|listed| listed.view.no == no).expect("listed");
    listed.view.steps.iter().map(|step| step.step).collect()
}

/// A bundle counts if the trust file names its signer, and nothing is kept of others.
#[test]
fn only_trusted_bundles_are_installed() {
    let engine = shop();
    let dir = tempfile::tempdir().expect("a directory");
    let (key, other) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
    let trust = format!("[signers.acme]\nkey = \"{}\"\nplugins = [\"acme/*\"]", key.public());
    let config = DeskConfig {
        dir: Some(dir.path().to_owned()),
        trust: Trust::read(&trust).expect("a trust file"),
        dev: false,
        ..config()
    };
    let desk = Desk::open(engine, config).expect("a desk");
    let plain = pricing(ID, tenth());
    let signed = |name: &str, by: &SigningKey| {
        let limits = BundleLimits::default();
        let mut bundle = Bundle::read(&pricing(name, tenth()), &limits).expect("a bundle");
        bundle.sign(by, &limits).expect("signed");
        bundle.bytes().to_vec()
    };
    for untrusted in [plain, signed(ID, &other), signed("evil/tenth", &key)] {
        let error = desk.install(&untrusted, "").expect_err("refused");
        assert!(matches!(error, DeskError::Trust(_)), "{error}");
    }
    let broken = desk.install(b"no bundle", "").expect_err("refused");
    assert!(matches!(broken, DeskError::Bundle(_)), "{broken}");
    let files = || {
        let folder = std::fs::read_dir(dir.path().join("plugins")).expect("a folder");
        let entries = folder.map(|entry| entry.expect("an entry"));
        entries.map(|e| e.file_name().into_string().expect("a name")).collect::<Vec<_>>()
    };
    assert_eq!(files(), Vec::<String>::new());
    assert!(desk.list().is_empty());

    let installed = desk.install(&signed(ID, &key), "{}").expect("installed");
    assert_eq!(installed.signer.as_deref(), Some("acme"));
    let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
    for name in files() {
        let stem = name.strip_suffix(".onhand").or(name.strip_suffix(".json")).expect("an end");
        assert!(stem.chars().all(plain), "{name}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = dir.path().join("plugins").join(&name);
            let mode = std::fs::metadata(path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
    assert_eq!(files().len(), 2);
    desk.remove(installed.no).expect("removed");
    assert_eq!(files(), Vec::<String>::new());
    assert_eq!(steps(&desk, installed.no), [Step::Installed, Step::Removed]);
    let error = desk.activate(installed.no).expect_err("gone");
    assert!(matches!(error, DeskError::Unknown(_)), "{error}");
}

/// A configuration must fit the manifest's schema and please the plugin; two of them are two
/// policies, and the order of keys makes none.
#[test]
fn configurations_are_checked() {
    let engine = shop();
    let desk = desk(&engine);
    let schema = "[config_schema]\ntype = \"object\"\nadditionalProperties = false\n\
        [config_schema.properties.percent]\ntype = \"integer\"\n\
        [config_schema.properties.name]\ntype = \"string\"\n";
    let bytes = bundle(ID, Kind::Pricing, schema, tenth());
    for wrong in ["{\"percent\": \"ten\"}", "{\"other\": 1}", "[]", "{", "x"] {
        let error = desk.install(&bytes, wrong).expect_err("refused");
        assert!(matches!(error, DeskError::Config(_)), "{wrong}: {error}");
    }
    let one = desk.install(&bytes, "{\"percent\": 1, \"name\": \"a\"}").expect("installed");
    let same = desk.install(&bytes, "{\"name\":\"a\",\"percent\":1}").expect("installed");
    let other = desk.install(&bytes, "").expect("installed");
    assert_eq!(one.no, same.no);
    assert_ne!(one.no, other.no);
    // Other terms for the same component would change what runs behind the journal's back.
    let again = bundle("acme/else", Kind::Pricing, schema, tenth());
    assert!(matches!(desk.install(&again, ""), Err(DeskError::Bundle(_))));
    let error = Desk::open(engine, DeskConfig::default()).expect("a desk").install(&bytes, "");
    assert!(matches!(error, Err(DeskError::NoPlugins)));
}

/// Every step shows in the journal and in who decides.
#[test]
fn steps_lead_from_shadow_to_promotion_and_back() {
    let engine = shop();
    let desk = desk(&engine);
    let first = desk.install(&pricing(ID, tenth()), "").expect("installed").no;
    assert_eq!(total(&engine, &desk, "0", 1), 10_00);
    desk.activate(first).expect("activated");
    assert_eq!(total(&engine, &desk, "1", 1), 9_00);
    let second = desk.install(&pricing("acme/fifth", fifth()), "").expect("installed").no;
    desk.shadow(second, 10_000).expect("shadowed");
    assert_eq!((role(&desk, second), total(&engine, &desk, "2", 1)), (Role::Shadow(10_000), 9_00));
    desk.canary(second, 5_000, Guards::default()).expect("a canary");
    let prices: Vec<i64> =
        (1..=60).map(|c| total(&engine, &desk, &format!("canary {c}"), c)).collect();
    assert!(prices.contains(&9_00) && prices.contains(&8_00));
    let again: Vec<i64> =
        (1..=60).map(|c| total(&engine, &desk, &format!("again {c}"), c)).collect();
    assert_eq!(prices, again, "a customer stays on one side");
    desk.promote(second).expect("promoted");
    assert!((1..=20).all(|c| total(&engine, &desk, &format!("all {c}"), c) == 8_00));
    assert!(matches!(desk.promote(second), Err(DeskError::Step { .. })));

    // Pinned, it stays.
    desk.pin(second).expect("pinned");
    for refused in [
        desk.activate(first),
        desk.canary(first, 1, Guards::default()),
        desk.rollback(second),
        desk.rollback(first),
        desk.remove(second),
        desk.pin(first),
        desk.unpin(first),
    ] {
        assert!(matches!(refused, Err(DeskError::Step { .. })), "{refused:?}");
    }
    desk.unpin(second).expect("let go");
    desk.rollback(second).expect("rolled back");
    assert_eq!(total(&engine, &desk, "back", 1), 9_00);
    assert!(desk.rollback(second).is_err(), "it does not decide any more");
    desk.rollback(first).expect("rolled back");
    assert_eq!(total(&engine, &desk, "none", 1), 10_00);
    assert!(desk.rollback(first).is_err());
    let of_second = [
        Step::Installed,
        Step::Shadowed,
        Step::Canary,
        Step::Promoted,
        Step::Pinned,
        Step::Unpinned,
        Step::RolledBack,
    ];
    assert_eq!(steps(&desk, second), of_second);
    assert!(desk.canary(first, 0, Guards::default()).is_err());
    assert!(desk.shadow(first, 10_001).is_err());
    assert!(desk.activate(PolicyNo(99)).is_err());
    desk.shadow(first, 1).expect("shadowed");
    desk.stop(first).expect("stopped");
    assert!(matches!(desk.stop(first), Err(DeskError::Step { .. })));
}

/// After a restart in any stage everybody decides what they did before.
#[test]
fn a_restart_changes_nothing() {
    let (data, dir) = (tempfile::tempdir().expect("data"), tempfile::tempdir().expect("plugins"));
    let open = || {
        let (engine, _) = Engine::builder(data.path()).open().expect("an engine");
        std::sync::Arc::new(engine)
    };
    let engine = open();
    stock(&engine);
    let opened = desk_in(&engine, dir.path());
    let first = opened.install(&pricing(ID, tenth()), "").expect("installed").no;
    let second = opened.install(&pricing("acme/fifth", fifth()), "").expect("installed").no;
    opened.close();
    let mut engine = engine;
    let guards = Guards { p99_us: 60_000_000, ..Guards::default() };
    type Stage<'a> = (&'a str, Box<dyn Fn(&Desk)>);
    let stages: [Stage<'_>; 6] = [
        ("active", Box::new(move |desk| desk.activate(first).expect("activated"))),
        ("shadow", Box::new(move |desk| desk.shadow(second, 2_500).expect("shadowed"))),
        ("canary", Box::new(move |desk| desk.canary(second, 5_000, guards).expect("a canary"))),
        ("promoted", Box::new(move |desk| desk.promote(second).expect("promoted"))),
        ("pinned", Box::new(move |desk| desk.pin(second).expect("pinned"))),
        ("unpinned", Box::new(move |desk| desk.unpin(second).expect("let go"))),
    ];
    for (stage, step) in stages {
        let before = desk_in(&engine, dir.path());
        step(&before);
        let lineups = before.lineups();
        let prices: Vec<i64> =
            (1..=8).map(|c| total(&engine, &before, &format!("{stage} before {c}"), c)).collect();
        before.close();
        drop(engine);
        engine = open();
        let after = desk_in(&engine, dir.path());
        assert_eq!(after.lineups(), lineups, "{stage}");
        assert_eq!(after.health(), [], "{stage}");
        let again: Vec<i64> =
            (1..=8).map(|c| total(&engine, &after, &format!("{stage} after {c}"), c)).collect();
        assert_eq!(again, prices, "{stage}");
        after.close();
    }
}

/// A file that is missing at the start is told, and the plugin's own failure policy decides.
#[test]
fn a_missing_file_is_told() {
    for (on_failure, wanted) in [
        ("fail_closed", Err(Reject::PluginFailed)),
        ("fail_open", Ok(10_00)),
        ("built_in", Ok(9_50)),
    ] {
        let engine = shop();
        let dir = tempfile::tempdir().expect("a directory");
        let half = "[[pricing.promotion]]\ncode = 1\non = \"lines\"\npercent = 500";
        let config = || DeskConfig {
            dir: Some(dir.path().to_owned()),
            settings: settings(half),
            ..config()
        };
        let desk = Desk::open(engine.clone(), config()).expect("a desk");
        let more = format!("on_failure = \"{on_failure}\"");
        let no = desk.install(&bundle(ID, Kind::Pricing, &more, tenth()), "").expect("it").no;
        desk.activate(no).expect("activated");
        assert_eq!(total(&engine, &desk, "before", 1), 9_00);
        desk.close();
        for entry in std::fs::read_dir(dir.path().join("plugins")).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "onhand") {
                std::fs::remove_file(path).expect("removed");
            }
        }
        let desk = Desk::open(engine.clone(), config()).expect("a desk");
        let absent =
            |note: &HealthNote| matches!(note, HealthNote::Absent { no: n, .. } if *n == no);
        assert!(desk.health().iter().any(absent), "{:?}", desk.health());
        match wanted {
            Ok(price) => assert_eq!(total(&engine, &desk, "after", 1), price, "{on_failure}"),
            Err(reject) => {
                let refused = refused(&engine, &desk, ask("after", 1, &[("MUG", 1)]));
                assert_eq!(refused, (reject, no.0.into()), "{on_failure}");
            }
        }
        // Installed again it decides again.
        let again = desk.install(&bundle(ID, Kind::Pricing, &more, tenth()), "").expect("it");
        assert_eq!(again.no, no);
        assert_eq!(total(&engine, &desk, "mended", 1), 9_00);
        assert_eq!(desk.health(), []);
    }
}

/// A built-in policy that is configured gives way to a plugin and comes back behind it.
#[test]
fn built_in_policies_stand_behind_plugins() {
    let engine = shop();
    let half = "[[pricing.promotion]]\ncode = 1\non = \"lines\"\npercent = 500";
    let dir = tempfile::tempdir().expect("a directory");
    let with = |text: &str| {
        let dir = Some(dir.path().to_owned());
        let config = DeskConfig { dir, settings: settings(text), ..config() };
        Desk::open(engine.clone(), config).expect("a desk")
    };
    let desk = with(half);
    assert_eq!(total(&engine, &desk, "a", 1), 9_50);
    let no = desk.install(&pricing(ID, tenth()), "").expect("installed").no;
    desk.activate(no).expect("activated");
    assert_eq!(total(&engine, &desk, "b", 1), 9_00);
    desk.rollback(no).expect("rolled back");
    assert_eq!(total(&engine, &desk, "c", 1), 9_50);
    // A configuration that changes while a plugin decides is what a rollback comes back to.
    desk.activate(no).expect("activated");
    drop(desk);
    let desk = with(&half.replace("500", "1500"));
    assert_eq!(total(&engine, &desk, "c2", 1), 9_00);
    desk.rollback(no).expect("rolled back");
    assert_eq!(total(&engine, &desk, "c3", 1), 8_50);
    drop(desk);
    // Another configuration takes the place of the one before at the next start; none ends it.
    let desk = with(&half.replace("500", "2000"));
    assert_eq!(total(&engine, &desk, "d", 1), 8_00);
    drop(desk);
    let desk = plain(&engine, "");
    assert!(desk.is_silent());
    assert_eq!(total(&engine, &desk, "e", 1), 10_00);
}

/// A canary that fails too often is called back by itself, and the journal says why.
#[test]
fn guards_call_a_canary_back() {
    let engine = shop();
    let desk = desk(&engine);
    let first = desk.install(&pricing(ID, fifth()), "").expect("installed").no;
    desk.activate(first).expect("activated");
    let no = desk.install(&pricing("acme/villain", villain("(unreachable)")), "");
    let no = no.expect("installed").no;
    let guards = Guards { sample_min: 2, p99_us: 60_000_000, ..Guards::default() };
    desk.canary(no, 10_000, guards).expect("a canary");
    // The built-in policy decides on what the canary fails on: nobody is turned away.
    for order in 0..4 {
        bought(&engine, &desk, ask(&format!("bad {order}"), VICTIM, &[("MUG", 1)]));
    }
    until("the canary was not called back", || desk.lineups().pricing.canary.is_none());
    assert_eq!(total(&engine, &desk, "after", VICTIM), 8_00);
    assert_eq!(steps(&desk, no), [Step::Installed, Step::Canary, Step::Guarded]);
    let listed = desk.list().into_iter().find(|listed| listed.view.no == no).expect("listed");
    let note = &listed.view.steps.last().expect("a step").note;
    assert_eq!(note, "failure_bp is 10000, at most 100");
    until("health does not tell", || {
        desk.health().iter().any(|note| matches!(note, HealthNote::Guarded { .. }))
    });
}

/// What a policy has done is counted on when it is installed once more, or anew after its removal:
/// whoever collects the figures takes one that falls for one that stands still.
#[test]
fn figures_go_on_over_installations() {
    let engine = shop();
    let desk = desk(&engine);
    let install = || desk.install(&pricing(ID, fifth()), "").expect("installed").no;
    let no = install();
    let orders = || {
        let stats = desk.stats().into_iter().find(|stats| stats.no == no);
        stats.map(|stats| (stats.orders, stats.by[0]))
    };
    desk.activate(no).expect("activated");
    total(&engine, &desk, "one", 1);
    assert_eq!((install(), orders()), (no, Some((1, 1))));
    total(&engine, &desk, "two", 1);
    desk.rollback(no).expect("rolled back");
    desk.remove(no).expect("removed");
    assert_eq!((install(), orders()), (no, Some((2, 2))));
}

/// The first plugin of a shop is judged beside its list prices.
#[test]
fn guards_judge_a_first_plugin_beside_list_prices() {
    let engine = shop();
    let desk = desk(&engine);
    let no = desk.install(&pricing("acme/fifth", fifth()), "").expect("installed").no;
    let guards = Guards { sample_min: 10, p99_us: 60_000_000, ..Guards::default() };
    desk.canary(no, 5_000, guards).expect("a canary");
    let mut sold = 0;
    until("the canary was not called back", || {
        sold += 1;
        bought(&engine, &desk, ask(&format!("{sold}"), sold, &[("MUG", 1)]));
        desk.lineups().pricing.canary.is_none()
    });
    let listed = desk.list().into_iter().find(|listed| listed.view.no == no).expect("listed");
    let note = &listed.view.steps.last().expect("a step").note;
    assert_eq!(note, "price_bp is 8000 beside 10000, at most 1000 apart");
}

/// While policies are swapped again and again each request is priced whole by the one that it
/// names, and none is lost.
#[test]
fn swaps_lose_and_misprice_nothing() {
    let engine = shop();
    let desk = desk(&engine);
    let first = desk.install(&pricing(ID, tenth()), "").expect("installed").no;
    let second = desk.install(&pricing("acme/fifth", fifth()), "").expect("installed").no;
    desk.activate(first).expect("activated");
    let (over, decided, of_second) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let check = |command: &Command| {
        let Command::Buy(buy) = command else { panic!("another command") };
        let pricing = buy.decided.as_ref().expect("decided").pricing.expect("priced");
        let off = if pricing.policy == first { 10 } else { 5 };
        for line in buy.lines.as_slice() {
            let price = line.price.expect("a price");
            let list = price.unit * i64::from(line.quantity.units());
            assert_eq!(price.discount, list / off, "by {:?}", pricing.policy);
        }
        decided.fetch_add(1, Ordering::Relaxed);
        of_second.fetch_add(u64::from(pricing.policy == second), Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for client in 0..3_u64 {
            let (desk, engine, over, check) = (&desk, &engine, &over, &check);
            scope.spawn(move || {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    let key = |n: u64| format!("{client} {n}");
                    number += 2;
                    let inline = decide(desk, ask(&key(number), number, &[("MUG", 1)]));
                    let queued = ask(&key(number + 1), number, &[("MUG", 2), ("CUP", 3)]);
                    let queued = desk.submit(NOW, queued).expect("room").wait().expect("decided");
                    for command in [inline, queued] {
                        check(&command);
                        let reply = engine.execute(command).expect("an engine");
                        assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
                    }
                }
            });
        }
        let swaps = std::panic::AssertUnwindSafe(|| {
            for _ in 0..10 {
                desk.canary(second, 5_000, Guards::default()).expect("a canary");
                assert!(desk.rollback(first).is_err(), "a canary stands beside it");
                desk.promote(second).expect("promoted");
                desk.rollback(second).expect("rolled back");
            }
        });
        let swapped = std::panic::catch_unwind(swaps);
        over.store(true, Ordering::Relaxed);
        assert!(swapped.is_ok());
    });
    assert!(decided.into_inner() > 0);
}
