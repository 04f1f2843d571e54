//! Tries a plugin out without WebAssembly and without a host.
//!
//! Each order is asked about three times: alone, again, and between others in a batch. The answers
//! must be the same, and must keep the rules by which the host checks them; else the test panics
//! and says which rule. What is measured in fuel and bytes is for `onhand plugin run` and `test`.

use std::fmt::Debug;

use crate::config::ConfigError;
use crate::fraud::{self, Fraud};
use crate::pricing::{self, KIND_COUPON, KIND_LINE, KIND_ORDER, KIND_REFUSAL, Pricing};
use crate::recommend::{self, Recommend};

/// Largest amount of money in minor units.
const MINOR_MAX: i64 = (1 << 53) - 1;

/// Returns a moment in UTC as milliseconds since 1970-01-01, for orders' time.
///
/// # Example
///
/// ```
/// use onhand_plugin_sdk::testing::utc;
///
/// assert_eq!(utc(2026, 11, 27, 18, 30), 1_795_804_200_000);
/// ```
pub const fn utc(year: u64, month: u64, day: u64, hour: u64, minute: u64) -> u64 {
    assert!(year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31);
    assert!(hour < 24 && minute < 60);
    // Years that begin in March, so that the leap day is the last; source: H. Hinnant,
    // "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    let shifted = if month <= 2 { year - 1 } else { year };
    let march = (month + 9) % 12;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400
        + (153 * march + 2) / 5
        + (day - 1)
        - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60_000
}

fn same<T: PartialEq + Debug>(first: &T, other: &T, when: &str) {
    assert!(
        first == other,
        "the same input gave another answer {when}: the plugin keeps something between calls\n  \
         first: {first:?}\n  then:  {other:?}"
    );
}

/// Makes a pricing plugin to be tried out.
///
/// # Errors
///
/// Returns what the plugin says of its configuration.
pub fn pricing<P: Pricing>(config: &str) -> Result<PricingHarness<P>, ConfigError> {
    P::new(config).map(PricingHarness)
}

/// A pricing plugin to be tried out.
#[derive(Debug)]
pub struct PricingHarness<P>(P);

impl<P: Pricing> PricingHarness<P> {
    /// Starts an order: in EUR, at the beginning of 2026, of an unnamed customer.
    pub fn order(&self) -> PricingOrder<'_, P> {
        let header = pricing::Header {
            now: utc(2026, 1, 1, 0, 0),
            currency: 978,
            ..pricing::Header::default()
        };
        PricingOrder { plugin: &self.0, header, lines: Vec::new(), coupons: Vec::new() }
    }
}

/// An order being made.
#[derive(Debug)]
#[must_use]
pub struct PricingOrder<'a, P> {
    plugin: &'a P,
    header: pricing::Header,
    lines: Vec<pricing::Line>,
    coupons: Vec<u64>,
}

/// What came out for an order, by the rules of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priced {
    /// Sum at list price in minor units.
    pub list: i64,
    /// To be paid in minor units; 0 if the order is refused.
    pub total: i64,
    /// What was taken off each line, discounts on the order not counted.
    pub line_discounts: Vec<i64>,
    /// What was taken off the order, as far as there was something to pay.
    pub order_discount: i64,
    /// Numbers of the rules that have taken something off, in the order of the answer.
    pub rules: Vec<u32>,
    /// Coupons used, each once.
    pub coupons: Vec<u64>,
    /// Number of the reason if the order is refused.
    pub refused: Option<u32>,
}

impl<P: Pricing> PricingOrder<'_, P> {
    /// Sets the customer; 0 is an unnamed one.
    pub fn customer(mut self, customer: u64) -> Self {
        self.header.customer = customer;
        self
    }

    /// Sets the shop's own segment of the customer.
    pub fn segment(mut self, segment: u32) -> Self {
        self.header.segment = segment;
        self
    }

    /// Sets the time in milliseconds since 1970-01-01 UTC: see [`utc`].
    pub fn at(mut self, now: u64) -> Self {
        self.header.now = now;
        self
    }

    /// Sets the currency by its ISO 4217 number.
    pub fn currency(mut self, currency: u32) -> Self {
        self.header.currency = currency;
        self
    }

    /// Adds a line: SKU, units, list price of one unit in minor units.
    pub fn line(mut self, sku: u64, quantity: u32, unit: i64) -> Self {
        self.lines.push(pricing::Line { sku, quantity, unit, ..pricing::Line::default() });
        self
    }

    /// Sets the class of goods of the last line.
    pub fn class(mut self, class: u32) -> Self {
        self.lines.last_mut().expect("a line comes before its class").class = class;
        self
    }

    /// Sets the location of the last line.
    pub fn location(mut self, location: u32) -> Self {
        self.lines.last_mut().expect("a line comes before its location").location = location;
        self
    }

    /// Adds a coupon.
    pub fn coupon(mut self, coupon: u64) -> Self {
        self.coupons.push(coupon);
        self
    }

    /// Asks the plugin.
    ///
    /// # Panics
    ///
    /// If the plugin breaks a rule of the host, answers differently the second time, or the order
    /// is none that the host would ask about.
    pub fn price(self) -> Priced {
        let Self { plugin, header, lines, coupons } = self;
        assert!((1..=512).contains(&lines.len()), "an order has 1 to 512 lines");
        assert!(coupons.len() <= 32, "an order has at most 32 coupons");
        let (line_count, coupon_count) = (lines.len() as u32, coupons.len() as u32);
        let header = pricing::Header { line_count, coupon_count, ..header };
        let ask = |headers: &[pricing::Header], times: usize| {
            let mut answer = Vec::new();
            let (lines, coupons) = (lines.repeat(times), coupons.repeat(times));
            pricing::batch(plugin, headers, &lines, &coupons, &mut answer);
            answer
        };
        let first = ask(&[header], 1);
        same(&first, &ask(&[header], 1), "when asked again");
        let three: Vec<pricing::Header> = (0..3)
            .map(|at| pricing::Header {
                first_line: at * line_count,
                first_coupon: at * coupon_count,
                ..header
            })
            .collect();
        let together = ask(&three, 3);
        let mut all = Vec::new();
        for copy in 0..3 {
            all.extend(first.iter().map(|one| {
                let step = match one.kind {
                    KIND_LINE => line_count,
                    KIND_COUPON => coupon_count,
                    _ => 1,
                };
                pricing::Adjustment { at: one.at + copy * step, ..*one }
            }));
        }
        same(&all, &together, "in a batch");
        priced(&lines, &coupons, &first)
    }
}

/// Checks an answer on one order as the host does, and adds it up.
///
/// # Panics
///
/// If the answer breaks a rule.
pub fn priced(lines: &[pricing::Line], coupons: &[u64], answer: &[pricing::Adjustment]) -> Priced {
    let most = lines.len() * 8 + 32;
    assert!(answer.len() <= most, "{} adjustments, at most {most}", answer.len());
    let list: i64 = lines.iter().map(pricing::Line::amount).sum();
    assert!(list <= MINOR_MAX, "the order costs {list}, at most {MINOR_MAX}");
    let mut priced =
        Priced { list, line_discounts: vec![0; lines.len()], ..Priced::default() };
    for one in answer {
        let pricing::Adjustment { kind, at, amount, code } = *one;
        assert!((0..=MINOR_MAX).contains(&amount), "{one:?}: amount outside 0..={MINOR_MAX}");
        match kind {
            KIND_LINE => {
                let (off, line) = (&mut priced.line_discounts[at as usize], &lines[at as usize]);
                *off += amount;
                assert!(
                    *off <= line.amount(),
                    "{one:?}: {off} off line {at}, which costs {}: the host takes this for a \
                     failure",
                    line.amount()
                );
            }
            KIND_ORDER => priced.order_discount = (priced.order_discount + amount).min(MINOR_MAX),
            KIND_REFUSAL | KIND_COUPON => assert!(amount == 0, "{one:?}: an amount has no meaning"),
            _ => panic!("{one:?}: no such kind"),
        }
        match kind {
            KIND_REFUSAL => _ = priced.refused.get_or_insert(code),
            KIND_COUPON => {
                let coupon = coupons[at as usize];
                if !priced.coupons.contains(&coupon) {
                    priced.coupons.push(coupon);
                }
            }
            _ => priced.rules.push(code),
        }
    }
    if priced.refused.is_some() {
        return Priced { list, refused: priced.refused, ..Priced::default() };
    }
    let due = list - priced.line_discounts.iter().sum::<i64>();
    priced.order_discount = priced.order_discount.min(due);
    priced.total = due - priced.order_discount;
    priced
}

/// Makes a fraud plugin to be tried out.
///
/// # Errors
///
/// Returns what the plugin says of its configuration.
pub fn fraud<F: Fraud>(config: &str) -> Result<FraudHarness<F>, ConfigError> {
    F::new(config).map(FraudHarness)
}

/// A fraud plugin to be tried out.
#[derive(Debug)]
pub struct FraudHarness<F>(F);

impl<F: Fraud> FraudHarness<F> {
    /// Scores an order; its units, and its total if that is 0, are added up from the lines.
    ///
    /// # Panics
    ///
    /// If the plugin breaks a rule of the host, answers differently the second time, or the order
    /// is none that the host would ask about.
    ///
    /// # Example
    ///
    /// ```
    /// use onhand_plugin_sdk::ConfigError;
    /// use onhand_plugin_sdk::fraud::{Fraud, Header, Line, Order, Score, Verdict};
    /// use onhand_plugin_sdk::testing;
    ///
    /// struct Hourly;
    ///
    /// impl Fraud for Hourly {
    ///     fn new(_: &str) -> Result<Self, ConfigError> {
    ///         Ok(Self)
    ///     }
    ///
    ///     fn score(&self, order: &Order<'_>) -> Score {
    ///         match order.header.customer_orders_hour {
    ///             0..5 => Score::new(0, Verdict::Allow, 0),
    ///             many => Score::new(many * 50, Verdict::Review, 1),
    ///         }
    ///     }
    /// }
    ///
    /// let hourly = testing::fraud::<Hourly>("")?;
    /// let header = Header { customer_orders_hour: 7, ..Header::default() };
    /// let lines = [Line { sku: 1, quantity: 2, unit: 10_00 }];
    /// assert_eq!(hourly.score(header, &lines), Score::new(350, Verdict::Review, 1));
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn score(&self, header: fraud::Header, lines: &[fraud::Line]) -> fraud::Score {
        assert!((1..=512).contains(&lines.len()), "an order has 1 to 512 lines");
        let amounts = lines.iter().map(|line| line.unit * i64::from(line.quantity));
        let header = fraud::Header {
            currency: if header.currency == 0 { 978 } else { header.currency },
            now: if header.now == 0 { utc(2026, 1, 1, 0, 0) } else { header.now },
            total: if header.total == 0 { amounts.sum() } else { header.total },
            units: lines.iter().map(|line| line.quantity).sum(),
            first_line: 0,
            line_count: lines.len() as u32,
            ..header
        };
        let ask = |headers: &[fraud::Header], times| {
            let mut answer = Vec::new();
            fraud::batch(&self.0, headers, &lines.repeat(times), &mut answer);
            answer
        };
        let first = ask(&[header], 1);
        let three: Vec<fraud::Header> = (0..3)
            .map(|at| fraud::Header { first_line: at * header.line_count, ..header })
            .collect();
        same(&first, &ask(&[header], 1), "when asked again");
        same(&first.repeat(3), &ask(&three, 3), "in a batch");
        let score = first[0];
        assert!(score.points <= fraud::POINTS_MAX, "{score:?}: points outside 0..=1000");
        assert!(score.verdict <= fraud::Verdict::Deny as u32, "{score:?}: no such verdict");
        score
    }
}

/// Makes a recommendation plugin to be tried out.
///
/// # Errors
///
/// Returns what the plugin says of its configuration.
pub fn recommend<R: Recommend>(config: &str) -> Result<RecommendHarness<R>, ConfigError> {
    R::new(config).map(RecommendHarness)
}

/// A recommendation plugin to be tried out.
#[derive(Debug)]
pub struct RecommendHarness<R>(R);

impl<R: Recommend> RecommendHarness<R> {
    /// Asks for at most `limit` picks for a basket: SKU and score, best first.
    ///
    /// # Panics
    ///
    /// If the plugin breaks a rule of the host, answers differently the second time, or the
    /// request is none that the host would make.
    ///
    /// # Example
    ///
    /// ```
    /// use onhand_plugin_sdk::ConfigError;
    /// use onhand_plugin_sdk::recommend::{Candidate, Picks, Recommend, Request};
    /// use onhand_plugin_sdk::testing;
    ///
    /// struct Together;
    ///
    /// impl Recommend for Together {
    ///     fn new(_: &str) -> Result<Self, ConfigError> {
    ///         Ok(Self)
    ///     }
    ///
    ///     fn recommend(&self, request: &Request<'_>, picks: &mut Picks<'_>) {
    ///         for candidate in request.candidates {
    ///             picks.offer(candidate.sku, candidate.together);
    ///         }
    ///     }
    /// }
    ///
    /// let together = testing::recommend::<Together>("")?;
    /// let candidate = |sku, together| Candidate { sku, together, ..Candidate::default() };
    /// let candidates = [candidate(1, 3), candidate(2, 8), candidate(1, 9)];
    /// assert_eq!(together.picks(&[7], &candidates, 10), [(1, 9), (2, 8)]);
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn picks(
        &self,
        items: &[u64],
        candidates: &[recommend::Candidate],
        limit: u32,
    ) -> Vec<(u64, u32)> {
        assert!((1..=100).contains(&limit), "limit is {limit}, outside 1..=100");
        assert!(items.len() <= 512, "a request has at most 512 items");
        assert!(candidates.len() <= 4_096, "a request has at most 4,096 candidates");
        let header = recommend::Header {
            now: utc(2026, 1, 1, 0, 0),
            item_count: items.len() as u32,
            candidate_count: candidates.len() as u32,
            limit,
            ..recommend::Header::default()
        };
        let ask = |headers: &[recommend::Header], times| {
            let mut answer = Vec::new();
            let (items, candidates) = (items.repeat(times), candidates.repeat(times));
            recommend::batch(&self.0, headers, &items, &candidates, &mut answer);
            answer
        };
        let first = ask(&[header], 1);
        same(&first, &ask(&[header], 1), "when asked again");
        let three: Vec<recommend::Header> = (0..3)
            .map(|at| recommend::Header {
                first_item: at * header.item_count,
                first_candidate: at * header.candidate_count,
                ..header
            })
            .collect();
        let copies = (0..3).flat_map(|request| {
            first.iter().map(move |pick| recommend::Pick { request, ..*pick })
        });
        same(&copies.collect(), &ask(&three, 3), "in a batch");
        for pick in &first {
            let known = candidates.iter().any(|candidate| candidate.sku == pick.sku);
            assert!(known, "{pick:?} is none of the candidates");
        }
        first.iter().map(|pick| (pick.sku, pick.score)).collect()
    }
}
