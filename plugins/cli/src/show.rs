//! Answers and amounts, written for people.

use std::fmt::Write as _;

use onhand_core::Currency;
use onhand_plugin_bundle::{Answer, Facts};
use onhand_policy::decision::{KIND_COUPON, KIND_LINE, KIND_ORDER};
use serde_json::Value;

use crate::subject::Subject;

/// Writes an amount in minor units with its currency, such as `-12.34 EUR`.
pub(crate) fn money(minor: i64, currency: u32) -> String {
    let known = u16::try_from(currency).ok().and_then(Currency::from_number);
    let Some(known) = known else { return format!("{minor} minor units of currency {currency}") };
    let digits = usize::from(known.minor_digits());
    let sign = if minor < 0 { "-" } else { "" };
    let all = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
    let (whole, part) = all.split_at(all.len() - digits);
    let point = if digits == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{part} {known}")
}

fn reason(subject: &Subject, code: u32) -> String {
    let text = subject.reason(code).map_or_else(String::new, |text| format!(" \"{text}\""));
    format!("{code}{text}")
}

/// Writes an answer: orders with their prices, scores, or picks.
pub(crate) fn answer(subject: &Subject, facts: &Facts, answer: &Answer, output: &Value) -> String {
    let mut text = String::new();
    // Writing into a text does not fail.
    match (facts, answer) {
        (Facts::Pricing { headers, lines, .. }, Answer::Pricing(adjustments)) => {
            for (at, header) in headers.iter().enumerate() {
                let own = header.first_line..header.first_line + header.line_count;
                let list = own.map(|at| &lines[at as usize]);
                let list: i64 = list.map(|line| line.unit * i64::from(line.quantity)).sum();
                let order = &output["orders"][at];
                let list = money(list, header.currency);
                let _ = match order["total"].as_i64() {
                    Some(total) => {
                        let total = money(total, header.currency);
                        writeln!(text, "  order {at}: {list} at list price, {total} to pay")
                    }
                    None => {
                        let code = order["refused"].as_u64().unwrap_or(0) as u32;
                        writeln!(text, "  order {at}: refused, reason {}", reason(subject, code))
                    }
                };
            }
            for adjustment in adjustments {
                let at = adjustment.at;
                let place = match adjustment.kind {
                    KIND_LINE => format!("off line {at}"),
                    KIND_ORDER => format!("off order {at}"),
                    KIND_COUPON => format!("use of coupon {at}"),
                    _ => format!("refusal of order {at}"),
                };
                let (amount, rule) = (adjustment.amount, reason(subject, adjustment.code));
                let _ = writeln!(text, "    {place}: {amount} minor units by rule {rule}");
            }
        }
        (_, Answer::Fraud(scores)) => {
            for (at, score) in scores.iter().enumerate() {
                let verdict = ["allow", "challenge", "review", "deny"];
                let verdict = verdict.get(score.verdict as usize).copied().unwrap_or("unknown");
                let (points, why) = (score.points, reason(subject, score.code));
                let _ = writeln!(text, "  order {at}: {points} points, {verdict}, reason {why}");
            }
        }
        (_, Answer::Recommend(picks)) => {
            for pick in picks {
                let (request, sku, score) = (pick.request, pick.sku, pick.score);
                let _ = writeln!(text, "  request {request}: SKU {sku}, score {score}");
            }
        }
        (_, Answer::Pricing(_)) => {}
    }
    if text.is_empty() {
        text.push_str("  an empty answer\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::money;

    /// Amounts have the digits of their currency.
    #[test]
    fn amounts_have_their_digits() {
        assert_eq!(money(1_234, 978), "12.34 EUR");
        assert_eq!(money(-5, 978), "-0.05 EUR");
        assert_eq!(money(1_234, 392), "1234 JPY");
        assert_eq!(money(1_234, 48), "12.34 048");
        assert_eq!(money(7, 1_000), "7 minor units of currency 1000");
    }
}
