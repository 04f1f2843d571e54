//! The same bytes and the same fuel whether a plugin is compiled or interpreted: what the compiler
//! for this machine makes is compared with wasmtime's interpreter, Pulley, which shares neither
//! instructions nor registers with it.

mod common;

use std::path::Path;

use common::{VICTIM, bad, options, runtime};
use onhand_plugin_runtime::{Plugin, PluginOptions, Pricing};
use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, Store, StoreContextMut};

/// Batches that both answer.
const BATCHES: u64 = 10_000;
/// Fuel of one call, and of a start.
const FUEL: u64 = 1_000_000_000;
/// Rules of the sample.
const TIERS: &str = r#"{"least": 50,
    "tiers": [{"class": 1, "units": 3, "off_bp": 300, "code": 1},
              {"class": 1, "units": 10, "off_bp": 725, "code": 2}],
    "offers": [{"code": 10, "class": 1, "off": 120, "group": 1},
               {"code": 11, "class": 1, "off_bp": 1500, "most": 900, "group": 1},
               {"code": 14, "off": 500, "coupon": 77}]}"#;
/// Answers with the bits of what floats make of the victim's quantity and price.
const FLOATS: &str = r"
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 24)))
    (i32.store offset=0 (local.get $out) (i32.const 1))
    (i64.store offset=8 (local.get $out) (i64.and (i64.const 0xFFFFFFFF) (i64.add
        (i64.reinterpret_f64 (f64.sqrt (f64.sub (f64.convert_i64_s (i64.load offset=24 (local.get $bp)))
            (f64.mul (f64.const 3.7) (f64.convert_i32_u (i32.load offset=16 (local.get $bp)))))))
        (i64.rotl (i64.reinterpret_f64 (f64.div
            (f64.convert_i64_s (i64.load offset=24 (local.get $bp))) (f64.const 7.3)))
            (i64.const 17)))))
    (i32.store offset=16 (local.get $out) (i32.const 4))
    (return (call $answer (local.get $out) (i32.const 1)))";

/// A number that is the same everywhere: splitmix64.
fn mix(at: u64) -> u64 {
    let mut z = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One instance under an engine of the test's own.
struct Asked {
    store: Store<()>,
    function: wasmtime::component::Func,
}

impl Asked {
    fn new(wasm: &[u8], config: &str, target: Option<&str>) -> Self {
        let mut settings = Config::new();
        settings.consume_fuel(true).cranelift_nan_canonicalization(true);
        if let Some(target) = target {
            settings.target(target).expect("the interpreter is there");
        }
        let engine = Engine::new(&settings).expect("an engine");
        let component = Component::from_binary(&engine, wasm).expect("a component");
        let mut linker = Linker::new(&engine);
        let log = |_: StoreContextMut<'_, ()>, (_, _): (u32, String)| Ok(());
        let mut host = linker.instance("onhand:pricing/log@1.0.0").expect("a name");
        host.func_wrap("log", log).expect("a function");
        let mut store = Store::new(&engine, ());
        store.set_fuel(FUEL).expect("fuel is counted");
        let instance = linker.instantiate(&mut store, &component).expect("an instance");
        let mut named = |name: &str| {
            let interface = "onhand:pricing/policy@1.0.0";
            let at = instance.get_export_index(&mut store, None, interface).expect("interface");
            let at = instance.get_export_index(&mut store, Some(&at), name).expect("a function");
            instance.get_func(&mut store, at).expect("a function")
        };
        let (init, function) = (named("init"), named("price-batch"));
        let mut taken = [Val::Bool(false)];
        init.call(&mut store, &[Val::String(config.to_owned())], &mut taken).expect("a call");
        assert_eq!(taken, [Val::Result(Ok(None))]);
        Self { store, function }
    }

    /// Returns the answer's fields as numbers, and the fuel.
    fn ask(&mut self, batch: PricingBatch<'_>) -> (Vec<[u64; 4]>, u64) {
        let record = |fields: &[(&str, Val)]| {
            Val::Record(fields.iter().map(|(name, v)| ((*name).to_owned(), v.clone())).collect())
        };
        let header = |h: &PricingHeader| {
            record(&[
                ("customer", Val::U64(h.customer)),
                ("segment", Val::U32(h.segment)),
                ("now", Val::U64(h.now)),
                ("currency", Val::U32(h.currency)),
                ("first-line", Val::U32(h.first_line)),
                ("line-count", Val::U32(h.line_count)),
                ("first-coupon", Val::U32(h.first_coupon)),
                ("coupon-count", Val::U32(h.coupon_count)),
            ])
        };
        let line = |l: &PricingLine| {
            record(&[
                ("sku", Val::U64(l.sku)),
                ("class", Val::U32(l.class)),
                ("location", Val::U32(l.location)),
                ("quantity", Val::U32(l.quantity)),
                ("unit", Val::S64(l.unit)),
            ])
        };
        let given = [
            Val::List(batch.headers().iter().map(header).collect()),
            Val::List(batch.lines().iter().map(line).collect()),
            Val::List(batch.coupons().iter().map(|coupon| Val::U64(*coupon)).collect()),
        ];
        self.store.set_fuel(FUEL).expect("fuel is counted");
        let mut answer = [Val::Bool(false)];
        self.function.call(&mut self.store, &given, &mut answer).expect("an answer");
        let fuel = FUEL - self.store.get_fuel().expect("fuel is counted");
        let [Val::List(records)] = answer else { panic!("{answer:?}") };
        let number = |value: &Val| match value {
            Val::U32(number) => u64::from(*number),
            Val::S64(number) => *number as u64,
            other => panic!("{other:?}"),
        };
        let numbers = |record: &Val| {
            let Val::Record(fields) = record else { panic!("{record:?}") };
            let all: Vec<u64> = fields.iter().map(|(_, value)| number(value)).collect();
            <[u64; 4]>::try_from(all).expect("four fields")
        };
        (records.iter().map(numbers).collect(), fuel)
    }
}

fn compare(wasm: &[u8], config: &str, customer: impl Fn(u64) -> u64) {
    let options = PluginOptions { config: config.to_owned(), ..options() };
    let plugin = Plugin::<Pricing>::load(&runtime(), wasm, options).expect("a plugin");
    let mut compiled = Asked::new(wasm, config, None);
    let mut interpreted = Asked::new(wasm, config, Some("pulley64"));
    let mut answers = 0;
    for round in 0..BATCHES {
        let count = 1 + mix(round) % 3;
        let header = |at: u64| PricingHeader {
            customer: customer(at),
            currency: 978,
            now: 1_790_000_000_000,
            first_line: at as u32,
            line_count: 1,
            first_coupon: at as u32,
            coupon_count: 1,
            ..PricingHeader::default()
        };
        let line = |at: u64| {
            let draw = mix(round << 8 | at);
            PricingLine {
                sku: draw % 7,
                class: draw as u32 % 3,
                quantity: 1 + (draw >> 20) as u32 % 40,
                unit: (draw >> 40) as i64 % 100_000,
                ..PricingLine::default()
            }
        };
        let headers: Vec<_> = (0..count).map(header).collect();
        let lines: Vec<_> = (0..count).map(line).collect();
        let coupons: Vec<u64> = (0..count).map(|at| mix(at ^ round) % 2 * 77).collect();
        let batch = PricingBatch::new(&headers, &lines, &coupons).expect("a batch");
        let wanted = compiled.ask(batch);
        assert_eq!(interpreted.ask(batch), wanted, "round {round}");
        let (own, fuel) = plugin.answer(batch, round % 50 == 0).expect("an answer");
        let own: Vec<_> = own
            .iter()
            .map(|one| [one.kind.into(), one.at.into(), one.amount as u64, one.code.into()])
            .collect();
        assert_eq!((own, fuel), wanted, "round {round}");
        answers += wanted.0.len();
    }
    assert!(answers > BATCHES as usize / 2, "{answers}");
}

/// The sample of tiered prices: integers, allocation, memory.
#[test]
fn a_sample_is_the_same_interpreted() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/built/tiered-pricing.wasm");
    let wasm = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    compare(&wasm, TIERS, |at| at);
}

/// Floats, roots of negative numbers among them.
#[test]
fn floats_are_the_same_interpreted() {
    compare(&bad(FLOATS).bytes(), "", |_| VICTIM);
}
