//! The load tester against the real host: every way to it, and the truth by the same way.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Shop;
use onhand_host::Tls;
use onhand_loadtest::results::run::{ActorShare, Run, TargetKind, Verdict};
use onhand_loadtest::scenario::Scenario;
use onhand_loadtest::{Authority, HttpVersion, LoadError, RunOptions, Target, Trust, Wire, run};

/// Few users of every habit, so that each kind of request and of connection is there.
const SCENARIO: &str = r#"
schema = 1
name = "ways"

[target]
connections = 12
streams = 6

[stock]
skus = 3
hot_units = 40
hot_limit = 2

[[stage]]
shape = "hold"
rate = "150/s"
for = "1s"

[actor.human]
weight = 40
think = "1ms"
flow = ["browse", "buy"]

[actor.double-clicker]
weight = 20

[actor.canceller]
weight = 20
cancel_after = "1ms"
connections = "per-user"

[actor.releaser]
weight = 20
think = "1ms"
connections = "per-request"
"#;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn shop(secure: bool) -> (Shop, Target) {
    let tls = secure.then(|| Tls::read(data("shop.pem"), data("shop-key.pem")).expect("a pair"));
    let shop = Shop::with(|config| {
        config.open_writes = true;
        config.tls = tls.map(Arc::new);
    });
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}", shop.addr().port());
    let authority = Authority::parse(&url).expect("well formed");
    (shop, Target::Http(authority))
}

fn load(target: Target, wire: Wire) -> Result<Run, LoadError> {
    let scenario = Scenario::read(SCENARIO, "ways.toml").expect("a scenario");
    let mut options = RunOptions::new(&scenario, target);
    options.load.seed = 7;
    options.load.wire = Wire { streams: options.load.wire.streams, ..wire };
    options.allow_generator_limit = true;
    run(&scenario, options).map(|outcome| outcome.run)
}

/// Goal: the same crowd is served the same over HTTP/1.1 and HTTP/2, plain and with TLS; preparation,
/// load and truth travel by that way, and the record names it with the time that connections took.
#[test]
fn every_way_to_the_host_tells_the_truth() {
    for (http, secure) in HttpVersion::ALL.into_iter().flat_map(|h| [(h, false), (h, true)]) {
        let (shop, target) = shop(secure);
        let trust = Trust::Ca(data("shop.pem"));
        let run = load(target, Wire { http, trust, ..Wire::default() }).expect("a run");
        let kind = match http {
            HttpVersion::One => TargetKind::Http1,
            HttpVersion::Two => TargetKind::Http2,
        };
        let what = format!("{} secure {secure}", kind.name());
        let target = &run.target;
        assert_eq!((target.kind, target.tls, target.unverified), (kind, secure, false), "{what}");
        assert_eq!(run.counts.sent, run.counts.answered, "{what}: {:?}", run.lost);
        assert!(run.counts.orders > 40 && run.counts.replayed > 0, "{what}: {:?}", run.counts);
        let broken: Vec<_> = run.truth.iter().filter(|t| t.verdict == Verdict::Violated).collect();
        assert!(broken.is_empty(), "{what}: {broken:?}");
        let held = run.truth.iter().filter(|t| t.verdict == Verdict::Holds).count();
        assert!(held >= 8, "{what}: {:?}", run.truth);
        let connecting = run.connecting.expect("connections were made");
        // A canceller has a connection of its own, a releaser one for each of its requests.
        let own = |share: &&ActorShare| ["canceller", "releaser"].contains(&&*share.actor);
        let fairness = run.fairness.expect("users came");
        let own: u64 = fairness.by_actor.iter().filter(own).map(|share| share.users).sum();
        assert!(own > 0 && connecting.tcp.count >= own, "{what}: {own} {connecting:?}");
        let handshakes = connecting.tls.map(|tls| tls.count);
        assert_eq!(handshakes, secure.then_some(connecting.tcp.count), "{what}");
        assert!(shop.close().1.finished, "{what}");
    }
}

/// A certificate that nobody has signed is refused with the way out, unless any is taken, which the
/// record says.
#[test]
fn a_certificate_is_verified_unless_told_otherwise() {
    let (shop, target) = shop(true);
    for http in HttpVersion::ALL {
        // Another host's certificate is one of those that are trusted, but not this host's.
        let wire = Wire { http, trust: Trust::Ca(data("other.pem")), ..Wire::default() };
        let error = load(target.clone(), wire).expect_err("not trusted").to_string();
        assert!(error.contains("no TLS: ") && error.contains("--ca FILE"), "{error}");
    }
    let wire = Wire { trust: Trust::Anything, ..Wire::default() };
    let run = load(target, wire).expect("a run");
    assert!(run.target.tls && run.target.unverified);
    assert!(shop.close().1.finished);
}

/// A mistake about TLS or HTTP is told in words: TLS where there is none, HTTP/2 where there is TLS.
#[test]
fn a_wrong_scheme_is_told() {
    let (plain, _) = shop(false);
    let url = format!("https://localhost:{}", plain.addr().port());
    let target = Target::Http(Authority::parse(&url).expect("well formed"));
    let wire = Wire { trust: Trust::Anything, ..Wire::default() };
    let error = load(target, wire).expect_err("no TLS there").to_string();
    assert!(error.contains("does the target speak TLS?"), "{error}");
    assert!(plain.close().1.finished);

    let (secure, _) = shop(true);
    let url = format!("http://localhost:{}", secure.addr().port());
    let target = Target::Http(Authority::parse(&url).expect("well formed"));
    let error = load(target, Wire::default()).expect_err("TLS is needed").to_string();
    assert!(error.contains("400"), "{error}");
    assert!(secure.close().1.finished);
}
