//! A small shop, and plugins for it.

use std::path::Path;
use std::sync::Arc;

use onhand_core::{
    Buy, Command, Currency, CustomerId, DefineSku, Engine, Fill, Key, Line, LocationId, LotId,
    Money, OrderView, Placement, Quantity, Receive, Refusal, Reject, Reply, SkuId, SkuKind,
};
use onhand_desk::{Ask, Desk, DeskConfig, Settings, Shopper};
use onhand_plugin_bundle::{BundleBuilder, BundleLimits};
use onhand_plugin_runtime::Kind;

use crate::text::{Text, bad, runtime, text};

/// The caller's clock.
pub(crate) const NOW: u64 = 1_795_734_000_000;

pub(crate) fn sku(code: &str) -> SkuId {
    SkuId::from_code(code).expect("a code")
}

pub(crate) fn units(count: u32) -> Quantity {
    Quantity::new(count).expect("in range")
}

fn define(engine: &Engine, code: &str, kind: SkuKind, price: i64, limit: Option<u32>, count: u32) {
    let done = engine.execute(Command::DefineSku(Box::new(DefineSku {
        key: Key::from_text(&format!("define {code} at {price}")),
        code: code.to_owned(),
        kind,
        price: Money::new(price, Currency::EUR).expect("in range"),
        placement: Placement::BySku,
        limit: limit.and_then(Quantity::new),
        components: Vec::new(),
    })));
    assert!(done.expect("an engine").outcome.is_ok(), "{code}");
    if count == 0 {
        return;
    }
    let done = engine.execute(Command::Receive(Receive {
        key: Key::from_text(&format!("receive {code}")),
        sku: sku(code),
        location: LocationId(1),
        lot: LotId(0),
        quantity: units(count),
    }));
    assert!(done.expect("an engine").outcome.is_ok(), "{code}");
}

/// Fills a new engine: a mug for 10.00, a cup for 5.00, a bowl that has sold out, and a coupon.
pub(crate) fn stock(engine: &Engine) {
    define(engine, "MUG", SkuKind::Goods, 10_00, None, 1_000_000);
    define(engine, "CUP", SkuKind::Goods, 5_00, None, 1_000_000);
    define(engine, "BOWL", SkuKind::Goods, 7_00, None, 0);
    define(engine, "WELCOME", SkuKind::Coupon, 0, Some(1), 100);
}

pub(crate) fn shop() -> Arc<Engine> {
    let (engine, _) = Engine::in_memory().open().expect("an engine");
    stock(&engine);
    Arc::new(engine)
}

/// A configuration for plugins without a signature.
pub(crate) fn config() -> DeskConfig {
    DeskConfig { runtime: Some(runtime()), dev: true, ..DeskConfig::default() }
}

pub(crate) fn settings(text: &str) -> Settings {
    Settings::read(text).expect("settings")
}

/// A desk with built-in policies alone.
pub(crate) fn plain(engine: &Arc<Engine>, text: &str) -> Desk {
    let config = DeskConfig { settings: settings(text), ..DeskConfig::default() };
    Desk::open(Arc::clone(engine), config).expect("a desk")
}

pub(crate) fn desk(engine: &Arc<Engine>) -> Desk {
    Desk::open(Arc::clone(engine), config()).expect("a desk")
}

pub(crate) fn desk_in(engine: &Arc<Engine>, dir: &Path) -> Desk {
    let config = DeskConfig { dir: Some(dir.to_owned()), ..config() };
    Desk::open(Arc::clone(engine), config).expect("a desk")
}

pub(crate) fn purchase(key: &str, customer: u64, lines: &[(&str, u32)]) -> Buy {
    let line = |(code, count): &(&str, u32)| Line::new(sku(code), units(*count));
    Buy {
        key: Key::from_text(key),
        customer: CustomerId(customer),
        lines: lines.iter().map(line).collect::<Vec<_>>().into(),
        fill: Fill::All,
        expected_total: None,
        decided: None,
    }
}

pub(crate) fn ask(key: &str, customer: u64, lines: &[(&str, u32)]) -> Ask {
    ask_as(key, customer, lines, Shopper::default())
}

pub(crate) fn ask_as(key: &str, customer: u64, lines: &[(&str, u32)], shopper: Shopper) -> Ask {
    Ask::new(Command::Buy(purchase(key, customer, lines)), shopper).expect("an ask")
}

/// Decides on one ask.
pub(crate) fn decide(desk: &Desk, ask: Ask) -> Command {
    let mut asks = [ask];
    desk.decide(NOW, &mut asks);
    let [ask] = asks;
    ask.take().expect("decided")
}

/// Decides and lets the engine carry it out.
pub(crate) fn send(engine: &Engine, desk: &Desk, ask: Ask) -> Reply {
    engine.execute(decide(desk, ask)).expect("an engine")
}

/// Returns the order that a purchase made.
pub(crate) fn bought(engine: &Engine, desk: &Desk, ask: Ask) -> OrderView {
    let key = ask.command().key().expect("a key");
    let reply = send(engine, desk, ask);
    assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
    engine.order(key.into()).expect("an engine").expect("an order")
}

/// Returns why a purchase was refused.
pub(crate) fn refused(engine: &Engine, desk: &Desk, ask: Ask) -> (Reject, u64) {
    let Refusal { reject, found, .. } = send(engine, desk, ask).outcome.expect_err("a refusal");
    (reject, found)
}

/// Takes one in ten off each line.
pub(crate) fn tenth() -> Vec<u8> {
    text(Kind::Pricing).bytes()
}

/// Takes one in five off each line.
pub(crate) fn fifth() -> Vec<u8> {
    component(&text(Kind::Pricing).wat().replace("(i64.const 10))", "(i64.const 5))"))
}

/// Takes one in ten off, and does a bad deed to the victim.
pub(crate) fn villain(deed: &str) -> Vec<u8> {
    bad(deed).bytes()
}

pub(crate) fn of_kind(kind: Kind) -> Vec<u8> {
    text(kind).bytes()
}

pub(crate) fn with(text: &Text) -> Vec<u8> {
    text.bytes()
}

pub(crate) fn component(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("a component")
}

/// A manifest of a patient plugin.
pub(crate) fn manifest(name: &str, kind: Kind, more: &str) -> String {
    format!(
        "id = \"{name}\"\nversion = \"1.0.0\"\nkind = \"{kind}\"\n\
         wit = \"onhand:{kind}@1.0.0\"\nlicense = \"Apache-2.0\"\n{more}\n\
         [limits]\ndeadline_ms = 60_000\ncompile_ms = 60_000\n"
    )
}

/// Bytes of a bundle without a signature.
pub(crate) fn bundle(name: &str, kind: Kind, more: &str, wasm: Vec<u8>) -> Vec<u8> {
    let builder = BundleBuilder::new(&manifest(name, kind, more), wasm);
    builder.build(&BundleLimits::default()).expect("a bundle").bytes().to_vec()
}

pub(crate) fn pricing(name: &str, wasm: Vec<u8>) -> Vec<u8> {
    bundle(name, Kind::Pricing, "", wasm)
}

/// Takes one in ten off each line, so shortly that a caller's own thread may ask it; `limits` are
/// lines of its manifest.
pub(crate) fn quick_tenth(limits: &str, deadline_ms: u64) -> Vec<u8> {
    let manifest = manifest("acme/tenth", Kind::Pricing, "")
        .replace("deadline_ms = 60_000", &format!("deadline_ms = {deadline_ms}\n{limits}"));
    let builder = BundleBuilder::new(&manifest, tenth());
    builder.build(&BundleLimits::default()).expect("a bundle").bytes().to_vec()
}

/// Waits until something comes true that another thread does.
pub(crate) fn until(what: &str, mut come: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !come() {
        assert!(start.elapsed().as_secs() < 120, "{what}");
        std::thread::yield_now();
    }
}
