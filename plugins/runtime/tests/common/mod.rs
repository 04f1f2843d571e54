//! Small plugins written as text, and facts for them.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use onhand_plugin_runtime::{Kind, Limits, Plugin, PluginOptions, Runtime, RuntimeConfig, World};
use onhand_policy::fact::{
    Candidate, FraudHeader, FraudLine, PricingHeader, PricingLine, RecommendRequest,
};

/// A customer that makes a plugin do its bad deed.
pub const VICTIM: u64 = 666;

/// Text of a plugin, to be changed before it is made bytes.
#[derive(Clone)]
pub struct Text {
    pub kind: Kind,
    /// Version in the names of its interfaces.
    pub version: &'static str,
    /// Done when an order of [`VICTIM`] is among the orders; may return an answer.
    pub deed: String,
    /// Further functions, globals and tables of its module.
    pub more: String,
    /// Further imports of its component.
    pub imports: String,
    /// Pages that its memory starts with.
    pub pages: u32,
    /// The function that it exports beside `init`.
    pub function: &'static str,
}

/// Names and types of fields or parameters, in order.
type Fields = &'static [(&'static str, &'static str)];

const PRICING_HEADER: Fields = &[
    ("customer", "u64"),
    ("segment", "u32"),
    ("now", "u64"),
    ("currency", "u32"),
    ("first-line", "u32"),
    ("line-count", "u32"),
    ("first-coupon", "u32"),
    ("coupon-count", "u32"),
];
const PRICING_LINE: Fields =
    &[("sku", "u64"), ("class", "u32"), ("location", "u32"), ("quantity", "u32"), ("unit", "s64")];
const ADJUSTMENT: Fields = &[("kind", "u32"), ("at", "u32"), ("amount", "s64"), ("code", "u32")];
const FRAUD_HEADER: Fields = &[
    ("customer", "u64"),
    ("address", "u64"),
    ("device", "u64"),
    ("now", "u64"),
    ("currency", "u32"),
    ("total", "s64"),
    ("units", "u32"),
    ("customer-age-days", "u32"),
    ("distance-km", "u32"),
    ("customer-orders-hour", "u32"),
    ("customer-orders-day", "u32"),
    ("customer-amount-day", "s64"),
    ("address-orders-hour", "u32"),
    ("address-customers-day", "u32"),
    ("device-orders-hour", "u32"),
    ("device-customers-day", "u32"),
    ("first-line", "u32"),
    ("line-count", "u32"),
];
const FRAUD_LINE: Fields = &[("sku", "u64"), ("quantity", "u32"), ("unit", "s64")];
const SCORE: Fields = &[("points", "u32"), ("verdict", "u32"), ("code", "u32")];
const REQUEST: Fields = &[
    ("customer", "u64"),
    ("now", "u64"),
    ("first-item", "u32"),
    ("item-count", "u32"),
    ("first-candidate", "u32"),
    ("candidate-count", "u32"),
    ("limit", "u32"),
];
const CANDIDATE: Fields = &[
    ("sku", "u64"),
    ("together", "u32"),
    ("alone", "u32"),
    ("items", "u32"),
    ("popularity", "u32"),
    ("available", "u32"),
];
const PICK: Fields = &[("request", "u32"), ("sku", "u64"), ("score", "u32")];

/// Records of a world with their names, and the parameters of its function.
fn types(kind: Kind) -> ([(&'static str, Fields); 3], Fields) {
    match kind {
        Kind::Pricing => (
            [("header", PRICING_HEADER), ("line", PRICING_LINE), ("adjustment", ADJUSTMENT)],
            &[("headers", "$header"), ("lines", "$line"), ("coupons", "u64")],
        ),
        Kind::Fraud => (
            [("header", FRAUD_HEADER), ("line", FRAUD_LINE), ("score", SCORE)],
            &[("headers", "$header"), ("lines", "$line")],
        ),
        Kind::Recommend => (
            [("request", REQUEST), ("candidate", CANDIDATE), ("pick", PICK)],
            &[("requests", "$request"), ("items", "u64"), ("candidates", "$candidate")],
        ),
    }
}

/// 10 % off each line, rounded down, by rule 1.
const PRICE: &str = r"
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
        (i32.mul (local.get $bl) (i32.const 24))))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $bl)))
        (local.set $at (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 24))))
        (local.set $in (i32.add (local.get $bp) (i32.mul (local.get $i) (i32.const 32))))
        (i32.store offset=0 (local.get $at) (i32.const 0))
        (i32.store offset=4 (local.get $at) (local.get $i))
        (i64.store offset=8 (local.get $at) (i64.div_s
            (i64.mul (i64.load offset=24 (local.get $in)) (i64.load32_u offset=16 (local.get $in)))
            (i64.const 10)))
        (i32.store offset=16 (local.get $at) (i32.const 1))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $answer (local.get $out) (local.get $bl))";

/// 100 points for each order of the last hour up to 1,000, denied from 500 on, by reason 7.
const SCORE_ALL: &str = r"
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
        (i32.mul (local.get $al) (i32.const 12))))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $al)))
        (local.set $at (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 12))))
        (local.set $in (i32.add (local.get $ap) (i32.mul (local.get $i) (i32.const 104))))
        (local.set $n (i32.mul (i32.load offset=60 (local.get $in)) (i32.const 100)))
        (local.set $n (select (i32.const 1000) (local.get $n)
            (i32.gt_u (local.get $n) (i32.const 1000))))
        (i32.store offset=0 (local.get $at) (local.get $n))
        (i32.store offset=4 (local.get $at) (select (i32.const 3) (i32.const 0)
            (i32.ge_u (local.get $n) (i32.const 500))))
        (i32.store offset=8 (local.get $at) (i32.const 7))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $answer (local.get $out) (local.get $al))";

/// The first candidate of each request that has one, scored 9.
const RECOMMEND_ALL: &str = r"
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
        (i32.mul (local.get $al) (i32.const 24))))
    (local.set $at (local.get $out))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $al)))
        (local.set $in (i32.add (local.get $ap) (i32.mul (local.get $i) (i32.const 40))))
        (if (i32.load offset=28 (local.get $in)) (then
            (i32.store offset=0 (local.get $at) (local.get $i))
            (i64.store offset=8 (local.get $at) (i64.load (i32.add (local.get $cp)
                (i32.mul (i32.load offset=24 (local.get $in)) (i32.const 32)))))
            (i32.store offset=16 (local.get $at) (i32.const 9))
            (local.set $at (i32.add (local.get $at) (i32.const 24)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $answer (local.get $out) (local.get $n))";

/// Returns a plugin that decides as the texts above say.
pub fn text(kind: Kind) -> Text {
    Text {
        kind,
        version: "1.0.0",
        deed: String::new(),
        more: String::new(),
        imports: String::new(),
        pages: 3,
        function: kind.function(),
    }
}

/// Returns a pricing plugin that does something else when [`VICTIM`] orders.
pub fn bad(deed: &str) -> Text {
    Text { deed: deed.to_owned(), ..text(Kind::Pricing) }
}

impl Text {
    pub fn with(mut self, more: &str) -> Self {
        self.more.push_str(more);
        self
    }

    /// Makes the text a component.
    pub fn bytes(&self) -> Vec<u8> {
        let text = self.wat();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub fn wat(&self) -> String {
        let Self { kind, version, pages, imports, function, .. } = self;
        let (records, parameters) = types(*kind);
        let record = |&(name, fields): &(&'static str, Fields)| {
            let field = |(name, ty): &(&str, &str)| format!(r#" (field "{name}" {ty})"#);
            let fields = fields.iter().map(field).collect::<Vec<_>>().concat();
            (name, format!("(record{fields})"))
        };
        let records: Vec<(&str, String)> = records.iter().map(record).collect();
        let each = |write: &dyn Fn(&str, &str) -> String| -> String {
            records.iter().map(|(name, ty)| write(name, ty)).collect()
        };
        let types = each(&|name, ty| format!("(type ${name} {ty})\n"));
        let imported = each(&|name, ty| {
            format!("(type ${name}-in {ty})\n(import \"{name}\" (type ${name} (eq ${name}-in)))\n")
        });
        let exported = each(&|name, _| format!("(export ${name}-out \"{name}\" (type ${name}))\n"));
        let given = each(&|name, _| format!("(with \"{name}\" (type ${name}))\n"));
        let result = records[2].0;
        let signature = |end: &str| {
            let named = |ty: &str| match ty.strip_prefix('$') {
                Some(name) => format!("${name}{end}"),
                None => ty.to_owned(),
            };
            let parameter =
                |(name, ty): &(&str, &str)| format!(r#" (param "{name}" (list {}))"#, named(ty));
            let parameters = parameters.iter().map(parameter).collect::<Vec<_>>().concat();
            format!("{parameters} (result (list ${result}{end}))")
        };
        let (plain, outer) = (signature(""), signature("-out"));
        let module = self.module();
        format!(
            r#"(component
(import "onhand:{kind}/log@{version}" (instance $host
    (export "log" (func (param "level" u32) (param "message" string)))))
{imports}
(core module $libc
    (memory (export "memory") {pages})
    (global $next (export "next") (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32) (local $pages i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.set $pages (i32.shr_u (i32.add (global.get $next) (i32.const 65535))
            (i32.const 16)))
        (if (i32.gt_u (local.get $pages) (memory.size)) (then
            (if (i32.eq (i32.const -1)
                (memory.grow (i32.sub (local.get $pages) (memory.size)))) (then unreachable))))
        (local.get $at)))
(core instance $libc (instantiate $libc))
(alias core export $libc "memory" (core memory $memory))
(alias core export $libc "realloc" (core func $realloc))
(alias export $host "log" (func $host-log))
(core func $log (canon lower (func $host-log) (memory $memory)))
{module}
(core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "log" (func $log))))))
(alias core export $main "init" (core func $main-init))
(alias core export $main "decide" (core func $main-decide))
{types}
(func $init (param "config" string) (result (result (error string)))
    (canon lift (core func $main-init) (memory $memory) (realloc $realloc)))
(func $decide {plain}
    (canon lift (core func $main-decide) (memory $memory) (realloc $realloc)))
(component $shim
    {imported}
    (import "init" (func $init (param "config" string) (result (result (error string)))))
    (import "decide" (func $decide {plain}))
    {exported}
    (export "init" (func $init))
    (export "{function}" (func $decide) (func {outer})))
(instance $policy (instantiate $shim
    {given}
    (with "init" (func $init))
    (with "decide" (func $decide))))
(export "onhand:{kind}/policy@{version}" (instance $policy))
)"#
        )
    }

    /// The module that decides: `init` refuses a configuration that starts with `x`.
    fn module(&self) -> String {
        let (stride, parameters, decide) = match self.kind {
            Kind::Pricing => (48, "(param $cp i32) (param $cl i32)", PRICE),
            Kind::Fraud => (104, "", SCORE_ALL),
            Kind::Recommend => (40, "(param $cp i32) (param $cl i32)", RECOMMEND_ALL),
        };
        let (deed, more) = (&self.deed, &self.more);
        format!(
            r#"(core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "next" (global $next (mut i32)))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (data (i32.const 1024) "no x, please")
    {more}
    ;; Returns an answer of so many entries at a place, and forgets all that was allocated.
    (func $answer (param $p i32) (param $n i32) (result i32)
        (global.set $next (i32.const 65536))
        (i32.store (i32.const 16) (local.get $p))
        (i32.store (i32.const 20) (local.get $n))
        (i32.const 16))
    (func (export "init") (param $p i32) (param $n i32) (result i32)
        (global.set $next (i32.const 65536))
        (i32.store (i32.const 32) (i32.const 0))
        (if (local.get $n) (then
            (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 120)) (then
                (i32.store (i32.const 32) (i32.const 1))
                (i32.store (i32.const 36) (i32.const 1024))
                (i32.store (i32.const 40) (i32.const 12))))))
        (i32.const 32))
    (func (export "decide") (param $ap i32) (param $al i32) (param $bp i32) (param $bl i32)
        {parameters} (result i32)
        (local $i i32) (local $n i32) (local $in i32) (local $at i32) (local $out i32)
        (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $i) (local.get $al)))
            (local.set $in (i32.add (local.get $ap) (i32.mul (local.get $i) (i32.const {stride}))))
            (if (i64.eq (i64.load (local.get $in)) (i64.const {VICTIM})) (then {deed}))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next)))
        (local.set $i (i32.const 0))
        {decide}))"#
        )
    }
}

/// Returns a runtime for tests: small, so that many fit on one machine.
pub fn runtime() -> Runtime {
    let config = RuntimeConfig { total_instances: 8, ..RuntimeConfig::default() };
    Runtime::new(config).expect("a runtime")
}

/// Limits whose deadline no busy machine makes a verdict of.
pub fn patient() -> Limits {
    Limits { deadline_ms: 60_000, compile_ms: 60_000, ..Limits::default() }
}

pub fn options() -> PluginOptions {
    PluginOptions { limits: patient(), ..PluginOptions::default() }
}

pub fn load<W: World>(runtime: &Runtime, text: &Text) -> Plugin<W> {
    Plugin::load(runtime, &text.bytes(), options()).expect("a plugin")
}

/// Orders of one line each: `(customer, quantity, unit)`.
pub fn pricing(orders: &[(u64, u32, i64)]) -> (Vec<PricingHeader>, Vec<PricingLine>) {
    let header = |(at, &(customer, ..)): (usize, &(u64, u32, i64))| PricingHeader {
        customer,
        currency: 978,
        first_line: at as u32,
        line_count: 1,
        ..PricingHeader::default()
    };
    let line = |&(customer, quantity, unit): &(u64, u32, i64)| PricingLine {
        sku: customer,
        quantity,
        unit,
        ..PricingLine::default()
    };
    (orders.iter().enumerate().map(header).collect(), orders.iter().map(line).collect())
}

/// Orders of one line each: `(customer, orders within the last hour)`.
pub fn fraud(orders: &[(u64, u32)]) -> (Vec<FraudHeader>, Vec<FraudLine>) {
    let header = |(at, &(customer, customer_orders_hour)): (usize, &(u64, u32))| FraudHeader {
        customer,
        customer_orders_hour,
        currency: 978,
        first_line: at as u32,
        line_count: 1,
        ..FraudHeader::default()
    };
    let headers = orders.iter().enumerate().map(header).collect();
    (headers, vec![FraudLine { sku: 1, quantity: 1, unit: 100 }; orders.len()])
}

/// Requests without items, each with its own candidates.
pub fn recommend(candidates: &[&[u64]]) -> (Vec<RecommendRequest>, Vec<Candidate>) {
    let mut all = Vec::new();
    let mut requests = Vec::new();
    for own in candidates {
        requests.push(RecommendRequest {
            first_candidate: all.len() as u32,
            candidate_count: own.len() as u32,
            limit: 2,
            ..RecommendRequest::default()
        });
        let candidate = |&sku: &u64| Candidate { sku, available: 1, ..Candidate::default() };
        all.extend(own.iter().map(candidate));
    }
    (requests, all)
}
