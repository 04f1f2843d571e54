//! Answers of policies as input from outside: each rule of the check with a case on each side,
//! and prices against the laws of money.

use onhand_core::{LinePrice, Money, SkuId};
use onhand_policy::decision::{
    Adjustment, CouponUse, DecisionError, KIND_COUPON, KIND_LINE, KIND_ORDER, KIND_REFUSAL,
    POINTS_MAX, Pick, PriceOutcome, Score, Verdict, check_picks, check_prices, check_scores,
};
use onhand_policy::fact::{
    Candidate, FraudBatch, FraudHeader, FraudLine, PICKS_MAX, PricingBatch, PricingHeader,
    PricingLine, RecommendBatch, RecommendRequest,
};
use proptest::prelude::*;

/// Makes headers for orders with so many lines each.
fn headers(counts: &[u32]) -> Vec<PricingHeader> {
    let mut first_line = 0;
    let header = |line_count: &u32| {
        let header = PricingHeader {
            currency: 978,
            first_line,
            line_count: *line_count,
            ..Default::default()
        };
        first_line += line_count;
        header
    };
    counts.iter().map(header).collect()
}

fn line(quantity: u32, unit: i64) -> PricingLine {
    PricingLine { sku: 1, quantity, unit, ..Default::default() }
}

fn off(kind: u32, at: u32, amount: i64) -> Adjustment {
    Adjustment { kind, at, amount, code: 9 }
}

/// Two orders: lines of 10.00 and 2 x 2.50, then one line of 7.00.
fn check(answer: &[Adjustment], expected: &str) {
    let headers = headers(&[2, 1]);
    let lines = [line(1, 10_00), line(2, 2_50), line(1, 7_00)];
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("facts are in range");
    let found = match check_prices(&batch, answer) {
        Ok(prices) => {
            let discounts: Vec<i64> = prices.lines.iter().map(|price| price.discount).collect();
            format!("{:?} {discounts:?}", prices.outcomes)
        }
        Err(error) => error.to_string(),
    };
    let short = found.replace("Priced { total: ", "(").replace(", clamped: ", " clamped ");
    assert_eq!(short.replace("Refused { code: ", "(refused ").replace(" }", ")"), expected);
}

#[test]
fn prices_are_worked_out_to_the_cent() {
    check(&[], "[(1500 clamped 0), (700 clamped 0)] [0, 0, 0]");
    check(&[off(KIND_LINE, 0, 1_00)], "[(1400 clamped 0), (700 clamped 0)] [100, 0, 0]");
    check(&[off(KIND_ORDER, 0, 1_00)], "[(1400 clamped 0), (700 clamped 0)] [67, 33, 0]");
    // An order's discount goes by what is left of each line.
    let both = [off(KIND_LINE, 0, 10_00), off(KIND_ORDER, 0, 1_00)];
    check(&both, "[(400 clamped 0), (700 clamped 0)] [1000, 100, 0]");
    check(&[off(KIND_ORDER, 1, 7_00)], "[(1500 clamped 0), (0 clamped 0)] [0, 0, 700]");
}

/// What an order's discounts take beyond its total is clamped; a line's are a failure.
#[test]
fn too_much_off_an_order_is_clamped_and_off_a_line_is_a_failure() {
    check(&[off(KIND_ORDER, 1, 7_01)], "[(1500 clamped 0), (0 clamped 1)] [0, 0, 700]");
    let twice = [off(KIND_ORDER, 1, Money::MINOR_MAX), off(KIND_ORDER, 1, Money::MINOR_MAX)];
    let clamped = Money::MINOR_MAX - 7_00;
    check(&twice, &format!("[(1500 clamped 0), (0 clamped {clamped})] [0, 0, 700]"));
    check(&[off(KIND_LINE, 1, 5_00)], "[(1000 clamped 0), (700 clamped 0)] [0, 500, 0]");
    check(&[off(KIND_LINE, 1, 5_01)], "discount of line 1 is 501, outside 0..=500");
    let sum = [off(KIND_LINE, 1, 3_00), off(KIND_LINE, 1, 2_01)];
    check(&sum, "discount of line 1 is 501, outside 0..=500");
}

#[test]
fn a_refusal_is_an_answer() {
    let refusal = [off(KIND_LINE, 0, 1_00), off(KIND_REFUSAL, 0, 0)];
    check(&refusal, "[(refused 9), (700 clamped 0)] [0, 0, 0]");
    check(&[off(KIND_REFUSAL, 0, 1)], "amount of entry 0 is 1, outside 0..=0");
}

#[test]
fn a_lying_price_is_refused_as_a_whole() {
    check(&[off(4, 0, 0)], "kind of entry 0 is 4, outside 0..=3");
    check(&[off(KIND_COUPON, 0, 0)], "at of entry 0 is 0, outside 0..=-1");
    check(&[off(KIND_LINE, 3, 0)], "at of entry 0 is 3, outside 0..=2");
    check(&[off(KIND_ORDER, 2, 0)], "at of entry 0 is 2, outside 0..=1");
    check(&[off(KIND_REFUSAL, u32::MAX, 0)], "at of entry 0 is 4294967295, outside 0..=1");
    check(
        &[off(KIND_LINE, 0, 0), off(KIND_LINE, 0, -1)],
        "amount of entry 1 is -1, outside 0..=9007199254740991",
    );
    check(
        &[off(KIND_ORDER, 0, i64::MAX)],
        "amount of entry 0 is 9223372036854775807, outside 0..=9007199254740991",
    );
    // 3 lines of 8 adjustments each and 2 orders of 32.
    let most = [off(KIND_LINE, 0, 0); 88];
    check(&most, "[(1500 clamped 0), (700 clamped 0)] [0, 0, 0]");
    check(&[off(KIND_LINE, 0, 0); 89], "adjustments has 89 entries, outside 0..=88");
}

fn scores(answer: &[(u32, u32)]) -> Result<Vec<(u16, Verdict)>, String> {
    let header = FraudHeader { currency: 978, line_count: 1, ..Default::default() };
    let headers = [header, FraudHeader { first_line: 1, ..header }];
    let lines = [FraudLine { sku: 1, quantity: 1, unit: 1 }; 2];
    let batch = FraudBatch::new(&headers, &lines).expect("facts are in range");
    let answer: Vec<Score> = answer
        .iter()
        .map(|(points, verdict)| Score { points: *points, verdict: *verdict, code: 1 })
        .collect();
    let risks = check_scores(&batch, &answer).map_err(|error| error.to_string())?;
    Ok(risks.iter().map(|risk| (risk.points, risk.verdict)).collect())
}

#[test]
fn scores_are_one_for_each_order_and_in_range() {
    let fine = Ok(vec![(0, Verdict::Allow), (1_000, Verdict::Deny)]);
    assert_eq!(scores(&[(0, 0), (POINTS_MAX, 3)]), fine);
    let error = |text: &str| Err(text.to_owned());
    assert_eq!(scores(&[(0, 0)]), error("scores has 1 entries, outside 2..=2"));
    assert_eq!(scores(&[(0, 0); 3]), error("scores has 3 entries, outside 2..=2"));
    assert_eq!(scores(&[(0, 0), (1_001, 0)]), error("points of entry 1 is 1001, outside 0..=1000"));
    assert_eq!(scores(&[(0, 4), (0, 0)]), error("verdict of entry 0 is 4, outside 0..=3"));
}

/// Two requests: SKUs 1 to 3 for two picks, SKU 3 of which has sold out; SKU 4 for one pick.
fn picks(answer: &[(u32, u64, u32)]) -> Result<Vec<u64>, String> {
    let requests = [
        RecommendRequest { candidate_count: 3, limit: 2, ..Default::default() },
        RecommendRequest { first_candidate: 3, candidate_count: 1, limit: 1, ..Default::default() },
    ];
    let candidate = |sku| Candidate { sku, available: u32::from(sku != 3), ..Default::default() };
    let candidates: Vec<Candidate> = (1..=4).map(candidate).collect();
    let batch = RecommendBatch::new(&requests, &[], &candidates).expect("facts are in range");
    let answer: Vec<Pick> = answer
        .iter()
        .map(|(request, sku, score)| Pick { request: *request, sku: *sku, score: *score })
        .collect();
    let shown = check_picks(&batch, &answer).map_err(|error| error.to_string())?;
    Ok(shown.iter().map(|pick| pick.sku).collect())
}

#[test]
fn picks_are_candidates_that_are_available_now() {
    assert_eq!(picks(&[(0, 2, 5), (0, 1, 5), (1, 4, 9)]), Ok(vec![2, 1, 4]));
    assert_eq!(picks(&[(0, 3, 5), (0, 1, 4)]), Ok(vec![1]), "SKU 3 has sold out");
    assert_eq!(picks(&[]), Ok(vec![]));
    let error = |text: &str| Err(text.to_owned());
    assert_eq!(picks(&[(2, 1, 0)]), error("request of entry 0 is 2, outside 0..=1"));
    assert_eq!(picks(&[(1, 4, 0), (0, 1, 0)]), error("request of entry 1 is 0, outside 1..=1"));
    assert_eq!(picks(&[(0, 1, 4), (0, 2, 5)]), error("score of entry 1 is 5, outside 0..=4"));
    assert_eq!(picks(&[(1, 1, 0)]), error("sku of entry 0 is 1, none of the request's candidates"));
    let twice = "sku of entry 1 is 1, which the request has already";
    assert_eq!(picks(&[(0, 1, 4), (0, 1, 4)]), error(twice));
    let three = [(0, 1, 0), (0, 2, 0), (0, 3, 0)];
    assert_eq!(picks(&three), error("picks of a request has 3 entries, outside 0..=2"));
    let four = [(0, 1, 0), (0, 2, 0), (1, 4, 0), (1, 4, 0)];
    assert_eq!(picks(&four), error("picks has 4 entries, outside 0..=3"));
}

/// Ranges of a batch tile its lists, so that an index belongs to exactly one order.
#[test]
fn facts_are_checked_when_a_batch_is_made() {
    let lines = [line(1, 1), line(1, 1)];
    let error = |headers: &[PricingHeader], lines: &[PricingLine]| {
        PricingBatch::new(headers, lines, &[]).err().map(|error| error.to_string())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(error(&headers(&[1, 1]), &lines), None);
    let short = error(&headers(&[1]), &lines);
    assert_eq!(short, text("line_count of record 0 is 1, outside 2..=2"));
    let long = error(&headers(&[1, 2]), &lines);
    assert_eq!(long, text("line_count of record 1 is 3, outside 2..=2"));
    let mut overlapping = headers(&[1, 1]);
    overlapping[1].first_line = 0;
    let overlap = error(&overlapping, &lines);
    assert_eq!(overlap, text("first_line of record 1 is 0, outside 1..=1"));
    assert_eq!(
        error(&headers(&[513]), &vec![line(1, 1); 513]),
        text("line_count of record 0 is 513, outside 1..=512")
    );
    assert_eq!(error(&headers(&[512]), &vec![line(1, 1); 512]), None);
    let one = headers(&[1]);
    assert_eq!(error(&one, &[line(1, Money::MINOR_MAX)]), None);
    let dear = error(&one, &[line(1_000_000_000, Money::MINOR_MAX)]);
    assert_eq!(
        dear,
        text("unit * quantity of record 0 is 9223372036854775807, outside 0..=9007199254740991")
    );
    let both = error(&headers(&[2]), &[line(1, Money::MINOR_MAX), line(1, 1)]);
    assert_eq!(both, text("total of record 0 is 9007199254740992, outside 0..=9007199254740991"));
    let request = |limit| RecommendRequest { limit, ..Default::default() };
    assert!(RecommendBatch::new(&[request(PICKS_MAX)], &[], &[]).is_ok());
    assert!(RecommendBatch::new(&[request(PICKS_MAX + 1)], &[], &[]).is_err());
    assert!(RecommendBatch::new(&[request(0)], &[], &[]).is_err());
}

/// The hash that is recorded with a decision tells facts apart, and not where they stood.
#[test]
fn the_input_hash_is_that_of_one_order() {
    let headers = headers(&[1, 1, 1]);
    let lines = [line(1, 5), line(2, 5), line(1, 5)];
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("facts are in range");
    assert_eq!(batch.input_hash(0), batch.input_hash(2));
    assert_ne!(batch.input_hash(0), batch.input_hash(1));
}

/// The hash is that of all fields one after the other, little end first, however many they are:
/// whoever has the facts can check it.
#[test]
fn the_input_hash_is_that_of_the_fields() {
    for count in 1..=40_u32 {
        let header = PricingHeader { customer: 3, segment: 4, now: 5, ..headers(&[count])[0] };
        let line = |n| PricingLine { sku: 6, class: 7, location: 8, quantity: n, unit: 9 };
        let lines: Vec<PricingLine> = (1..=count).map(line).collect();
        let batch = PricingBatch::new(std::slice::from_ref(&header), &lines, &[]);
        let batch = batch.expect("facts are in range");
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&header.customer.to_le_bytes());
        bytes.extend_from_slice(&header.segment.to_le_bytes());
        bytes.extend_from_slice(&header.now.to_le_bytes());
        bytes.extend_from_slice(&header.currency.to_le_bytes());
        bytes.extend_from_slice(&header.line_count.to_le_bytes());
        bytes.extend_from_slice(&header.coupon_count.to_le_bytes());
        for line in &lines {
            bytes.extend_from_slice(&line.sku.to_le_bytes());
            bytes.extend_from_slice(&line.class.to_le_bytes());
            bytes.extend_from_slice(&line.location.to_le_bytes());
            bytes.extend_from_slice(&line.quantity.to_le_bytes());
            bytes.extend_from_slice(&line.unit.to_le_bytes());
        }
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..8]);
        assert_eq!(batch.input_hash(0), u64::from_be_bytes(first), "{count} lines");
    }
}

prop_compose! {
    fn orders()(counts in prop::collection::vec(1_u32..6, 1..5))
        (lines in prop::collection::vec((1_u32..50, 0_i64..100_000), counts.iter().sum::<u32>() as usize),
         counts in Just(counts)) -> (Vec<PricingHeader>, Vec<PricingLine>)
    {
        let lines = lines.iter().map(|(quantity, unit)| line(*quantity, *unit)).collect();
        (headers(&counts), lines)
    }
}

/// A coupon is used at most once, by the order that brought it, and not by one that is refused.
#[test]
fn a_coupon_is_used_once_by_its_own_order() {
    let mut headers = headers(&[1, 1]);
    headers[0].coupon_count = 2;
    (headers[1].first_coupon, headers[1].coupon_count) = (2, 1);
    let lines = [line(1, 10_00), line(1, 10_00)];
    let batch = PricingBatch::new(&headers, &lines, &[7, 8, 9]).expect("facts are in range");
    let used = |at| off(KIND_COUPON, at, 0);
    let prices = check_prices(&batch, &[used(2), used(1)]).expect("an honest answer");
    let uses = [(0, 8), (1, 9)].map(|(order, sku)| CouponUse { order, sku: SkuId::new(sku) });
    assert_eq!(prices.coupons, uses);
    let refused = check_prices(&batch, &[used(2), used(1), off(KIND_REFUSAL, 1, 0)]);
    assert_eq!(refused.expect("an honest answer").coupons, uses[..1]);
    let twice = check_prices(&batch, &[used(1), used(0), used(1)]).expect_err("used twice");
    assert_eq!(twice.to_string(), "at of entry 2 is 1, a coupon that is used already");
    let priced = check_prices(&batch, &[off(KIND_COUPON, 0, 1)]).expect_err("worth something");
    assert_eq!(priced.to_string(), "amount of entry 0 is 1, outside 0..=0");
    let none = check_prices(&batch, &[used(3)]).expect_err("not there");
    assert_eq!(none.to_string(), "at of entry 0 is 3, outside 0..=2");
}

proptest! {
    /// Any answer is either refused, or gives prices that the engine takes: totals are the sums of
    /// their lines, nothing is below zero, and what is taken off is what was asked, to the cent.
    #[test]
    fn accepted_prices_obey_the_laws_of_money(
        (headers, lines) in orders(),
        answer in prop::collection::vec((0_u32..5, 0_u32..12, -2_i64..200_000, 0_u32..5), 0..12),
    ) {
        let batch = PricingBatch::new(&headers, &lines, &[]).expect("facts are in range");
        let answer: Vec<Adjustment> = answer
            .iter()
            .map(|(kind, at, amount, code)| {
                let amount = if *kind == KIND_REFUSAL { amount.min(&0) } else { amount };
                Adjustment { kind: *kind, at: *at, amount: *amount, code: *code }
            })
            .collect();
        let Ok(prices) = check_prices(&batch, &answer) else {
            let lie = |a: &Adjustment| {
                let length = if a.kind == KIND_LINE { lines.len() } else { headers.len() };
                // No order brings a coupon here.
                a.kind > KIND_REFUSAL || a.amount < 0 || a.at as usize >= length
            };
            let too_much = lines.iter().enumerate().any(|(at, line)| {
                let own = answer.iter().filter(|a| a.kind == KIND_LINE && a.at as usize == at);
                own.map(|a| a.amount).sum::<i64>() > line.unit * i64::from(line.quantity)
            });
            prop_assert!(answer.iter().any(lie) || too_much, "refused without a reason");
            return Ok(());
        };
        for (at, header) in headers.iter().enumerate() {
            let range = header.first_line as usize..(header.first_line + header.line_count) as usize;
            let mut sum = 0;
            for (price, line) in prices.lines[range.clone()].iter().zip(&lines[range.clone()]) {
                let LinePrice { unit, discount } = *price;
                prop_assert_eq!(unit, line.unit);
                prop_assert!((0..=unit * i64::from(line.quantity)).contains(&discount));
                sum += unit * i64::from(line.quantity) - discount;
            }
            let asked: i64 = answer
                .iter()
                .filter(|a| match a.kind {
                    KIND_LINE => range.contains(&(a.at as usize)),
                    _ => a.at as usize == at,
                })
                .map(|a| a.amount)
                .sum();
            match prices.outcomes[at] {
                PriceOutcome::Priced { total, clamped } => {
                    prop_assert_eq!(total, sum);
                    prop_assert_eq!(total, batch.list_total(at) - asked + clamped);
                    prop_assert!(clamped == 0 || total == 0);
                }
                PriceOutcome::Refused { .. } => prop_assert_eq!(sum, batch.list_total(at)),
            }
        }
    }

    /// An order's discount is spread in proportion: no line is more than one cent from its share.
    #[test]
    fn an_orders_discount_is_spread_by_share((headers, lines) in orders(), percent in 0_i64..=100) {
        let batch = PricingBatch::new(&headers, &lines, &[]).expect("facts are in range");
        let answer: Vec<Adjustment> = (0..headers.len())
            .map(|at| off(KIND_ORDER, at as u32, batch.list_total(at) * percent / 100))
            .collect();
        let prices = check_prices(&batch, &answer).expect("an honest answer");
        for (at, header) in headers.iter().enumerate() {
            let (total, amount) = (batch.list_total(at), answer[at].amount);
            let first = header.first_line as usize;
            for (line, price) in batch.lines_of(at).iter().zip(&prices.lines[first..]) {
                // Both sides times the total, so that nothing rounds.
                let share = line.unit * i64::from(line.quantity) * amount;
                prop_assert!((price.discount * total - share).abs() < total.max(1));
            }
        }
    }

    /// Nothing that a policy may answer makes the check panic.
    #[test]
    fn no_answer_panics(
        answer in prop::collection::vec((any::<u32>(), any::<u32>(), any::<i64>()), 0..40),
    ) {
        let headers = headers(&[2, 1]);
        let lines = [line(1, Money::MINOR_MAX - 1), line(1, 1), line(3, 4)];
        let batch = PricingBatch::new(&headers, &lines, &[]).expect("facts are in range");
        let adjustments: Vec<Adjustment> = answer
            .iter()
            .map(|(kind, at, amount)| off(kind % 5, at % 4, *amount))
            .collect();
        match check_prices(&batch, &adjustments) {
            Ok(prices) => prop_assert_eq!(prices.outcomes.len(), 2),
            Err(DecisionError::Range { index, .. }) => prop_assert!(index < answer.len()),
            Err(_) => {}
        }
    }
}
