//! The scenario file as it is written: every member with the place where it stands.
//!
//! Nothing is checked here beyond names and types; [`super::check`] does the rest. The doc comments
//! are the descriptions of the JSON schema.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Deserializer};

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(from)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// A text with its place.
pub(super) type Text = Option<At<String>>;

/// A scenario of the load tester: who comes, when, what they do, and what must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct File {
    /// Version of this form: 1.
    pub(super) schema: At<u32>,
    /// Name of the scenario, 1 to 64 characters of `A-Z a-z 0-9 _ . -`; the file's name by default.
    #[serde(default)]
    pub(super) name: Text,
    /// What the scenario is about, for people.
    #[serde(default)]
    pub(super) description: Text,
    /// Seed of all that is random; the same seed sends the same requests. By default the time.
    #[serde(default)]
    pub(super) seed: Option<At<u64>>,
    /// Where the load goes, and how.
    #[serde(default)]
    pub(super) target: TargetWire,
    /// What is for sale.
    #[serde(default)]
    pub(super) stock: StockWire,
    /// Who buys.
    #[serde(default)]
    pub(super) customers: CustomersWire,
    /// What a basket holds.
    #[serde(default)]
    pub(super) basket: BasketWire,
    /// How long a reservation holds.
    #[serde(default)]
    pub(super) reservation: ReservationWire,
    /// How users come.
    #[serde(default)]
    pub(super) arrivals: ArrivalsWire,
    /// The stages, in order of time; rates count users.
    #[serde(default)]
    pub(super) stage: Vec<At<StageWire>>,
    /// Kinds of users by name, mixed by weight; without any, humans come.
    #[serde(default)]
    pub(super) actor: BTreeMap<String, At<ActorWire>>,
    /// What the check of the truth allows.
    #[serde(default)]
    pub(super) truth: TruthWire,
    /// Thresholds: an expression such as `buy.intended.p99`, and what holds, such as `<50ms`.
    #[serde(default)]
    pub(super) slo: BTreeMap<String, At<String>>,
    /// What goes wrong on purpose.
    #[serde(default)]
    pub(super) fault: Vec<At<FaultWire>>,
}

/// Where the load goes, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct TargetWire {
    /// `http://HOST:PORT`, `https://HOST:PORT`, or `inproc` for an engine inside the generator's
    /// process.
    #[serde(default)]
    pub(super) url: Text,
    /// `1.1` (the default) or `2`.
    #[serde(default)]
    pub(super) http: Text,
    /// Requests under way that share one HTTP/2 connection, 1 to 256. Default 32.
    #[serde(default)]
    pub(super) streams: Option<At<u64>>,
    /// Whom to trust where TLS is spoken.
    #[serde(default)]
    pub(super) tls: TlsWire,
    /// Command of a host that the load tester starts, waits for and ends; for faults of the host.
    /// `{listen}` stands for a free address, `{port}` for its port, `{data}` for a new directory.
    /// By default `["onhand", "serve", "--dev", "--listen", "{listen}", "--data", "{data}"]`.
    #[serde(default)]
    pub(super) command: Option<At<Vec<String>>>,
    /// Environment variable that holds the API key. Default `ONHAND_KEY`.
    #[serde(default)]
    pub(super) key_env: Text,
    /// Level of acknowledgement: `memory`, `group` (the default) or `strict`.
    #[serde(default)]
    pub(super) ack: Text,
    /// Connections, 1 to 4096; over HTTP/2 requests under way, which share connections. Default 64.
    #[serde(default)]
    pub(super) connections: Option<At<u64>>,
    /// Generator threads, 1 to 64. Default 1.
    #[serde(default)]
    pub(super) threads: Option<At<u64>>,
    /// Items of one `POST /v1/batch`, 1 to 1000; 1 (the default) sends each request alone.
    #[serde(default)]
    pub(super) batch: Option<At<u64>>,
    /// Requests that a connection sends before it reads, 1 to 256. Default 1.
    #[serde(default)]
    pub(super) pipeline: Option<At<u64>>,
    /// Time limit of one exchange, such as `10s` (the default), at most `10m`.
    #[serde(default)]
    pub(super) timeout: Text,
    /// How users use connections: `keep-alive` (the default), `per-user` or `per-request`; an
    /// actor may say otherwise.
    #[serde(default)]
    pub(super) mode: Text,
}

/// Whom to trust where TLS is spoken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct TlsWire {
    /// PEM file of the certificate that has signed the target's own, beside the scenario. Default:
    /// those that the system trusts.
    #[serde(default)]
    pub(super) ca: Text,
}

/// What is for sale.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct StockWire {
    /// SKUs beside the hot one, 0 to 100000. Default 20.
    #[serde(default)]
    pub(super) skus: Option<At<u64>>,
    /// Units of each of them, 1 to 1000000000. Default 1000000.
    #[serde(default)]
    pub(super) units: Option<At<u64>>,
    /// Units of the hot SKU, 1 to 1000000000. Default 10000.
    #[serde(default)]
    pub(super) hot_units: Option<At<u64>>,
    /// Most units of the hot SKU for one customer; 0 (the default) for no limit.
    #[serde(default)]
    pub(super) hot_limit: Option<At<u64>>,
    /// Currency of all prices. Default `EUR`.
    #[serde(default)]
    pub(super) currency: Text,
    /// Price of the hot SKU in minor units; each further SKU costs one more. Default 1999.
    #[serde(default)]
    pub(super) price: Option<At<u64>>,
    /// How SKUs are drawn.
    #[serde(default)]
    pub(super) keys: KeysWire,
}

/// How SKUs are drawn.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct KeysWire {
    /// `zipf` (the default) or `uniform`.
    #[serde(default)]
    pub(super) dist: Text,
    /// Exponent of Zipf's law, 0 to 10. Default 1.1.
    #[serde(default)]
    pub(super) s: Option<At<f64>>,
    /// Share of lines for the hot SKU, 0 to 1. Default 0.8.
    #[serde(default)]
    pub(super) hot_sku_share: Option<At<f64>>,
}

/// Who buys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct CustomersWire {
    /// Customers to draw from, 0 to 4294967295; 0 makes every user a customer of its own. Default
    /// 10000.
    #[serde(default)]
    pub(super) count: Option<At<u64>>,
}

/// What a basket holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct BasketWire {
    /// Fewest and most lines, 1 to 64. Default `[1, 1]`.
    #[serde(default)]
    pub(super) lines: Option<At<[u64; 2]>>,
    /// Fewest and most units of a line, 1 to 1000. Default `[1, 1]`.
    #[serde(default)]
    pub(super) units: Option<At<[u64; 2]>>,
    /// Share of baskets with a further line that never had stock, 0 to 1. Default 0.
    #[serde(default)]
    pub(super) in_vain: Option<At<f64>>,
}

/// How long a reservation holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct ReservationWire {
    /// Time to live, `1ms` to `30d`. Default `2s`.
    #[serde(default)]
    pub(super) ttl: Text,
}

/// How users come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct ArrivalsWire {
    /// `poisson` (the default: independent arrivals) or `uniform` (evenly spread).
    #[serde(default)]
    pub(super) shape: Text,
    /// Most users between their first request and their last, 1 to 200000. Default 100000.
    #[serde(default)]
    pub(super) live_users: Option<At<u64>>,
}

/// A stretch of time with one shape of arrivals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct StageWire {
    /// Name for reports; by default its shape and number.
    #[serde(default)]
    pub(super) name: Text,
    /// `ramp`, `hold`, `flash`, `trace`, or `max` (as fast as answers come).
    pub(super) shape: At<String>,
    /// Length, such as `30s`; `trace` may go without.
    #[serde(default, rename = "for")]
    pub(super) length: Text,
    /// `ramp`: users a second at the start. By default where the stage before ended.
    #[serde(default)]
    pub(super) from: Text,
    /// `ramp`: users a second at the end.
    #[serde(default)]
    pub(super) to: Text,
    /// `hold`: users a second. `trace`: orders a second, against the recorded times.
    #[serde(default)]
    pub(super) rate: Text,
    /// `flash`: users a second before and long after the peak. Default `0/s`.
    #[serde(default)]
    pub(super) base: Text,
    /// `flash`: users a second at the peak.
    #[serde(default)]
    pub(super) peak: Text,
    /// `flash`: time from the opening to the peak. Default `300ms`.
    #[serde(default)]
    pub(super) rise: Text,
    /// `flash`: time in which the crowd halves. Default `4s`.
    #[serde(default)]
    pub(super) half_life: Text,
    /// `flash`: those who come back when reservations expire.
    #[serde(default)]
    pub(super) second_wave: Option<SecondWaveWire>,
    /// `trace`: the file with SKUs, stock and orders (`loadtest/schema/replay-1.json`), relative to
    /// the scenario.
    #[serde(default)]
    pub(super) file: Text,
    /// `trace`: how many times as fast as recorded. Default 1.
    #[serde(default)]
    pub(super) speed: Option<At<f64>>,
    /// `trace`: `recorded` (the default: the recorded times) or `max` (as fast as answers come).
    #[serde(default)]
    pub(super) pace: Text,
    /// `trace`: the first orders only.
    #[serde(default)]
    pub(super) orders: Option<At<u64>>,
    /// `trace`: the cells that the host keeps in one shard: those of a `sku` (the default), or those
    /// of a `location`.
    #[serde(default)]
    pub(super) placement: Text,
    /// `trace`: whether all orders are read before the first is sent, up to 4000000, so that reading
    /// is no part of the figures. Default false.
    #[serde(default)]
    pub(super) preload: Option<bool>,
}

/// The second wave of a flash crowd.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct SecondWaveWire {
    /// Time after the opening, such as `12s` or `reservation_ttl + 2s`.
    #[serde(default)]
    pub(super) after: Text,
    /// Height as a share of the first wave, 0 to 1. Default 0.3.
    #[serde(default)]
    pub(super) share: Option<At<f64>>,
}

/// One kind of user.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct ActorWire {
    /// Kind whose habits it takes over: `human`, `bot`, `double-clicker`, `tab-duplicator`,
    /// `abandoner`, `slow-payer`, `canceller` or `releaser`. By default its own name, if that is
    /// one of them, else `human`.
    #[serde(default, rename = "as")]
    pub(super) kind: Text,
    /// Its share of all users, against the sum of all weights; above 0. Default 1.
    #[serde(default)]
    pub(super) weight: Option<At<f64>>,
    /// Time between an answer and the next step.
    #[serde(default)]
    pub(super) think: Option<At<ThinkWire>>,
    /// Steps in their order: `browse`, `quote`, `buy`, `reserve`, `place`, `release`, `cancel`,
    /// `poll`; `sale` and `enter` where the target has a waiting line.
    #[serde(default)]
    pub(super) flow: Option<Vec<At<String>>>,
    /// Share of its orders that it sends twice with the same key, 0 to 1.
    #[serde(default)]
    pub(super) double_click: Option<At<f64>>,
    /// Tabs in which it orders at the same time, each with a key of its own, 1 to 16.
    #[serde(default)]
    pub(super) tabs: Option<At<u64>>,
    /// How often it tries again after `sold_out`, with a new key, 0 to 100.
    #[serde(default)]
    pub(super) retries: Option<At<u64>>,
    /// How often it sends a request that got no answer again, with the same key, half a second
    /// later, 0 to 100. Default 0.
    #[serde(default)]
    pub(super) resends: Option<At<u64>>,
    /// `keep-alive`, `per-user` or `per-request`.
    #[serde(default)]
    pub(super) connections: Text,
    /// Time from the reservation to the payment, such as `3s` or `reservation_ttl + 2s`.
    #[serde(default)]
    pub(super) pay_after: Text,
    /// Time from the order to its cancellation.
    #[serde(default)]
    pub(super) cancel_after: Text,
    /// Customers that its users are drawn from, apart from all others; 0 for the common ones.
    #[serde(default)]
    pub(super) customers: Option<At<u64>>,
    /// What its baskets hold.
    #[serde(default)]
    pub(super) basket: Option<BasketWire>,
}

/// A think time: a fixed one, or `{ lognormal = [median, sigma] }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "think is neither a time such as \"500ms\" nor \
    { lognormal = [\"1.2s\", 0.6] }"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) enum ThinkWire {
    /// Always the same, such as `500ms`.
    Fixed(String),
    /// By the log-normal distribution.
    Drawn(DrawnWire),
}

/// A think time by the log-normal distribution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct DrawnWire {
    /// Median, and standard deviation of the logarithm (0 to 5).
    pub(super) lognormal: (String, f64),
}

/// What the check of the truth allows: violations by the name of the check, 0 by default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct TruthWire {
    /// Whether the truth is checked. Default true.
    #[serde(default)]
    pub(super) check: Option<bool>,
    /// How much later than its deadline a reservation may end. Default `1s`.
    #[serde(default)]
    pub(super) hold_expiry_skew: Text,
    /// Violations of `oversold` that are allowed.
    #[serde(default)]
    pub(super) oversold: Option<At<u64>>,
    /// Violations of `undersold` that are allowed.
    #[serde(default)]
    pub(super) undersold: Option<At<u64>>,
    /// Violations of `stock_balance` that are allowed.
    #[serde(default)]
    pub(super) stock_balance: Option<At<u64>>,
    /// Violations of `duplicate_orders` that are allowed.
    #[serde(default)]
    pub(super) duplicate_orders: Option<At<u64>>,
    /// Violations of `lost_acknowledgements` that are allowed.
    #[serde(default)]
    pub(super) lost_acknowledgements: Option<At<u64>>,
    /// Violations of `receipts_identical` that are allowed.
    #[serde(default)]
    pub(super) receipts_identical: Option<At<u64>>,
    /// Violations of `customer_limit` that are allowed.
    #[serde(default)]
    pub(super) customer_limit: Option<At<u64>>,
    /// Violations of `false_sold_out` that are allowed.
    #[serde(default)]
    pub(super) false_sold_out: Option<At<u64>>,
    /// Violations of `fifo_inversions` that are allowed.
    #[serde(default)]
    pub(super) fifo_inversions: Option<At<u64>>,
    /// Violations of `expiry_skew` that are allowed.
    #[serde(default)]
    pub(super) expiry_skew: Option<At<u64>>,
    /// Violations of `late_payments` that are allowed.
    #[serde(default)]
    pub(super) late_payments: Option<At<u64>>,
    /// Violations of `totals_exact` that are allowed.
    #[serde(default)]
    pub(super) totals_exact: Option<At<u64>>,
    /// Violations of `ghost_orders` that are allowed.
    #[serde(default)]
    pub(super) ghost_orders: Option<At<u64>>,
    /// Violations of `order_whole` that are allowed.
    #[serde(default)]
    pub(super) order_whole: Option<At<u64>>,
    /// Violations of `placed_as_told` that are allowed.
    #[serde(default)]
    pub(super) placed_as_told: Option<At<u64>>,
    /// Violations of `feed_order` that are allowed.
    #[serde(default)]
    pub(super) feed_order: Option<At<u64>>,
}

impl TruthWire {
    /// Returns what is allowed, by the name of the check.
    pub(super) fn allowed(&self) -> BTreeMap<String, u64> {
        let all = [
            ("oversold", &self.oversold),
            ("undersold", &self.undersold),
            ("stock_balance", &self.stock_balance),
            ("duplicate_orders", &self.duplicate_orders),
            ("lost_acknowledgements", &self.lost_acknowledgements),
            ("receipts_identical", &self.receipts_identical),
            ("customer_limit", &self.customer_limit),
            ("false_sold_out", &self.false_sold_out),
            ("fifo_inversions", &self.fifo_inversions),
            ("expiry_skew", &self.expiry_skew),
            ("late_payments", &self.late_payments),
            ("totals_exact", &self.totals_exact),
            ("ghost_orders", &self.ghost_orders),
            ("order_whole", &self.order_whole),
            ("placed_as_told", &self.placed_as_told),
            ("feed_order", &self.feed_order),
        ];
        let given = all.into_iter().filter_map(|(name, allowed)| Some((name, allowed.as_ref()?)));
        given.map(|(name, allowed)| (name.to_owned(), allowed.value)).collect()
    }
}

/// Something that goes wrong on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct FaultWire {
    /// When, from the start of the load.
    pub(super) at: At<String>,
    /// `kill-host` (killed and started again on the same data), `pause-host`, `disk-full`,
    /// `drop-callbacks` (payments that are never sent) or `double-callbacks` (sent twice).
    #[serde(rename = "do")]
    pub(super) action: At<String>,
    /// How long: a killed host stays away at least so long (default none), a paused one stands
    /// still (default `1s`), a disk stays full (default `2s`), callbacks are lost or doubled (by
    /// default to the end).
    #[serde(default, rename = "for")]
    pub(super) length: Text,
    /// Share of the callbacks, above 0 to 1. Default 1.
    #[serde(default)]
    pub(super) share: Option<At<f64>>,
}
