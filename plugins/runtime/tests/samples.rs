//! The built components of `plugins/samples` answer what their sources answer natively, over
//! thousands of random orders, and take the same fuel on a fresh instance and on a warm one.

mod common;

use std::path::Path;

use common::{options, runtime};
use fraud_score::FraudScore;
use item_to_item::ItemToItem;
use onhand_plugin_runtime::{Fraud, Plugin, PluginOptions, Pricing, Recommend, World};
use onhand_plugin_sdk::{fraud, pricing, recommend};
use onhand_policy::decision;
use onhand_policy::fact::{
    Candidate, DISTANCE_UNKNOWN, FraudBatch, FraudHeader, FraudLine, PricingBatch, PricingHeader,
    PricingLine, RecommendBatch, RecommendRequest,
};
use tiered_pricing::Tiered;

/// Batches of each kind.
const BATCHES: u64 = 400;
/// Most orders of a batch.
const ORDERS_MAX: u64 = 24;

/// A random number generator that is the same everywhere: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small numbers mostly, and now and then a large one.
    fn skewed(&mut self, end: u64) -> u64 {
        let bits = self.below(64 - u64::from(end.leading_zeros()) + 1);
        self.below(end.min(1 << bits).max(1))
    }
}

fn load<W: World>(name: &str, config: &str) -> Plugin<W> {
    let file = format!("../samples/built/{name}.wasm");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let wasm = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let options = PluginOptions { config: config.to_owned(), ..options() };
    Plugin::load(&runtime(), &wasm, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns a plugin's answer on a warm instance, after it was found to be the same on a fresh one.
fn answer<W>(plugin: &Plugin<W>, batch: W::Batch<'_>, also_fresh: bool) -> W::Raw
where
    W: World,
    W::Raw: PartialEq + std::fmt::Debug,
{
    let warm = plugin.answer(batch, false).expect("an answer");
    if also_fresh {
        assert_eq!(plugin.answer(batch, true).expect("an answer"), warm, "answer and fuel");
    }
    warm.0
}

const TIERS: &str = r#"{"least": 50,
    "tiers": [{"class": 1, "units": 3, "off_bp": 300, "code": 1},
              {"class": 1, "units": 10, "off_bp": 725, "code": 2},
              {"class": 2, "units": 2, "off_bp": 5000, "code": 3}],
    "offers": [{"code": 10, "class": 1, "off": 120, "group": 1},
               {"code": 11, "class": 1, "off_bp": 1500, "most": 900, "group": 1},
               {"code": 12, "sku": 3, "off_bp": 1000, "segment": 1},
               {"code": 13, "class": 2, "off": 40, "days": [5, 6], "opens_minute": 1200,
                "closes_minute": 300, "offset_minutes": 60},
               {"code": 14, "off": 500, "coupon": 77},
               {"code": 15, "off_bp": 1000, "from_ms": 1790000000000}]}"#;

fn random_pricing(
    random: &mut Random,
) -> (Vec<PricingHeader>, Vec<PricingLine>, Vec<u64>) {
    let (mut headers, mut lines, mut coupons) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=random.below(ORDERS_MAX) {
        let (line_count, coupon_count) = (1 + random.skewed(12) as u32, random.below(3) as u32);
        headers.push(PricingHeader {
            customer: random.below(5),
            segment: random.below(3) as u32,
            now: 1_780_000_000_000 + random.below(20_000_000_000),
            currency: 978,
            first_line: lines.len() as u32,
            line_count,
            first_coupon: coupons.len() as u32,
            coupon_count,
        });
        for _ in 0..line_count {
            lines.push(PricingLine {
                sku: random.below(6),
                class: random.below(4) as u32,
                location: 0,
                quantity: 1 + random.skewed(200) as u32,
                unit: random.skewed(1_000_000) as i64,
            });
        }
        coupons.extend((0..coupon_count).map(|_| random.below(2) * 77));
    }
    (headers, lines, coupons)
}

/// Tiered pricing: component and source agree.
#[test]
fn tiered_pricing_is_its_source() {
    let plugin = load::<Pricing>("tiered-pricing", TIERS);
    let native = <Tiered as pricing::Pricing>::new(TIERS).expect("a configuration");
    let mut random = Random(1);
    let mut kinds = [0; 4];
    for round in 0..BATCHES {
        let (headers, lines, coupons) = random_pricing(&mut random);
        let batch = PricingBatch::new(&headers, &lines, &coupons).expect("a batch");
        let own_headers: Vec<_> = headers.iter().map(own_pricing_header).collect();
        let own_lines: Vec<_> = lines.iter().map(own_pricing_line).collect();
        let mut wanted = Vec::new();
        pricing::batch(&native, &own_headers, &own_lines, &coupons, &mut wanted);
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|pricing::Adjustment { kind, at, amount, code }| {
                kinds[kind as usize] += 1;
                decision::Adjustment { kind, at, amount, code }
            })
            .collect();
        assert_eq!(answer(&plugin, batch, round % 20 == 0), wanted, "round {round}");
    }
    // The orders are of all sorts: none of these is about nothing.
    assert!(kinds.iter().all(|count| *count > 50), "{kinds:?}");
}

fn own_pricing_header(from: &PricingHeader) -> pricing::Header {
    let PricingHeader { customer, segment, now, currency, .. } = *from;
    let PricingHeader { first_line, line_count, first_coupon, coupon_count, .. } = *from;
    pricing::Header {
        customer,
        segment,
        now,
        currency,
        first_line,
        line_count,
        first_coupon,
        coupon_count,
    }
}

fn own_pricing_line(from: &PricingLine) -> pricing::Line {
    let PricingLine { sku, class, location, quantity, unit } = *from;
    pricing::Line { sku, class, location, quantity, unit }
}

const RULES: &str = r#"{"challenge": 100, "review": 400, "deny": 800, "rules": [
    {"code": 1, "feature": "customer_orders_hour", "least": 4, "points": 300},
    {"code": 2, "feature": "distance_km", "least": 3000, "points": 200},
    {"code": 3, "feature": "total", "least": 100000, "points": 150}]}"#;

fn random_fraud(random: &mut Random) -> (Vec<FraudHeader>, Vec<FraudLine>) {
    let (mut headers, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..=random.below(ORDERS_MAX) {
        let line_count = 1 + random.skewed(6) as u32;
        let first_line = lines.len() as u32;
        for _ in 0..line_count {
            let quantity = 1 + random.skewed(9) as u32;
            lines.push(FraudLine { sku: 1, quantity, unit: random.skewed(100_000) as i64 });
        }
        let own = &lines[first_line as usize..];
        let far = [random.skewed(20_000) as u32, DISTANCE_UNKNOWN][random.below(2) as usize];
        let mut few = || random.skewed(12) as u32;
        headers.push(FraudHeader {
            customer: 1,
            currency: 978,
            total: own.iter().map(|line| line.unit * i64::from(line.quantity)).sum(),
            units: own.iter().map(|line| line.quantity).sum(),
            customer_orders_hour: few(),
            customer_orders_day: few(),
            address_orders_hour: few(),
            address_customers_day: few(),
            device_orders_hour: few(),
            device_customers_day: few(),
            customer_age_days: few() * few() * few(),
            distance_km: far,
            first_line,
            line_count,
            ..FraudHeader::default()
        });
    }
    (headers, lines)
}

/// Fraud score: component and source agree, the model's fixed point included.
#[test]
fn fraud_score_is_its_source() {
    let plugin = load::<Fraud>("fraud-score", RULES);
    let native = <FraudScore as fraud::Fraud>::new(RULES).expect("a configuration");
    let mut random = Random(2);
    let mut verdicts = [0; 4];
    for round in 0..BATCHES {
        let (headers, lines) = random_fraud(&mut random);
        let batch = FraudBatch::new(&headers, &lines).expect("a batch");
        let own_headers: Vec<_> = headers.iter().map(own_fraud_header).collect();
        let own_lines: Vec<_> = lines
            .iter()
            .map(|&FraudLine { sku, quantity, unit }| fraud::Line { sku, quantity, unit })
            .collect();
        let mut wanted = Vec::new();
        fraud::batch(&native, &own_headers, &own_lines, &mut wanted);
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|fraud::Score { points, verdict, code }| {
                verdicts[verdict as usize] += 1;
                decision::Score { points, verdict, code }
            })
            .collect();
        assert_eq!(answer(&plugin, batch, round % 20 == 0), wanted, "round {round}");
    }
    assert!(verdicts.iter().all(|count| *count > 50), "{verdicts:?}");
}

fn own_fraud_header(from: &FraudHeader) -> fraud::Header {
    let FraudHeader { customer, address, device, now, currency, total, units, .. } = *from;
    let FraudHeader { customer_age_days, distance_km, .. } = *from;
    let FraudHeader { customer_orders_hour, customer_orders_day, .. } = *from;
    let FraudHeader { customer_amount_day, address_orders_hour, .. } = *from;
    let FraudHeader { address_customers_day, device_orders_hour, .. } = *from;
    let FraudHeader { device_customers_day, first_line, line_count, .. } = *from;
    fraud::Header {
        customer,
        address,
        device,
        now,
        currency,
        total,
        units,
        customer_age_days,
        distance_km,
        customer_orders_hour,
        customer_orders_day,
        customer_amount_day,
        address_orders_hour,
        address_customers_day,
        device_orders_hour,
        device_customers_day,
        first_line,
        line_count,
    }
}

fn random_requests(
    random: &mut Random,
) -> (Vec<RecommendRequest>, Vec<u64>, Vec<Candidate>) {
    let (mut requests, mut items, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=random.below(4) {
        let (item_count, candidate_count) = (random.below(8), random.skewed(300));
        requests.push(RecommendRequest {
            customer: random.below(4),
            now: 1_790_000_000_000,
            first_item: items.len() as u32,
            item_count: item_count as u32,
            first_candidate: candidates.len() as u32,
            candidate_count: candidate_count as u32,
            limit: 1 + random.skewed(99) as u32,
        });
        items.extend((0..item_count).map(|_| random.below(200)));
        for _ in 0..candidate_count {
            let beside = random.below(3) > 0;
            let alone = 1 + random.skewed(1 << 32) as u32 / 2;
            candidates.push(Candidate {
                sku: random.below(200),
                together: if beside { random.skewed(u64::from(alone)) as u32 } else { 0 },
                alone,
                items: if beside { 1 + random.skewed(1 << 31) as u32 } else { 0 },
                popularity: random.skewed(2_000) as u32,
                available: 1 + random.skewed(9) as u32,
            });
        }
    }
    (requests, items, candidates)
}

/// Item to item: component and source agree.
#[test]
fn item_to_item_is_its_source() {
    let config = r#"{"never": [5, "6"]}"#;
    let plugin = load::<Recommend>("item-to-item", config);
    let native = <ItemToItem as recommend::Recommend>::new(config).expect("a configuration");
    let mut random = Random(3);
    let mut picked = 0;
    for round in 0..BATCHES {
        let (requests, items, candidates) = random_requests(&mut random);
        let batch = RecommendBatch::new(&requests, &items, &candidates).expect("a batch");
        let own_requests: Vec<_> = requests.iter().map(own_request).collect();
        let own_candidates: Vec<_> = candidates.iter().map(own_candidate).collect();
        let mut wanted = Vec::new();
        recommend::batch(&native, &own_requests, &items, &own_candidates, &mut wanted);
        picked += wanted.len();
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|recommend::Pick { request, sku, score }| decision::Pick { request, sku, score })
            .collect();
        assert_eq!(answer(&plugin, batch, round % 20 == 0), wanted, "round {round}");
    }
    assert!(picked > 1_000, "{picked}");
}

fn own_request(from: &RecommendRequest) -> recommend::Header {
    let RecommendRequest { customer, now, first_item, item_count, .. } = *from;
    let RecommendRequest { first_candidate, candidate_count, limit, .. } = *from;
    recommend::Header {
        customer,
        now,
        first_item,
        item_count,
        first_candidate,
        candidate_count,
        limit,
    }
}

fn own_candidate(from: &Candidate) -> recommend::Candidate {
    let Candidate { sku, together, alone, items, popularity, available } = *from;
    recommend::Candidate { sku, together, alone, items, popularity, available }
}
