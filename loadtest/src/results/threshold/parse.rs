//! Reads expressions of thresholds.

use crate::op::{CODES, Loss, OTHER_CODE};
use crate::scenario::nearest;

use super::{
    Comparison, Counted, EXPRESSION_BYTES_MAX, Metric, Statistic, TagName, Threshold, Unit, Window,
};

/// What is wrong, and the column, counted in characters from 1.
pub(super) struct Wrong {
    pub(super) column: usize,
    pub(super) what: String,
}

/// The rest of an expression, with its place.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

pub(super) fn threshold(text: &str) -> Result<Threshold, Wrong> {
    let mut reader = Reader { text, at: 0 };
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(reader.wrong(format!("longer than {EXPRESSION_BYTES_MAX} bytes")));
    }
    reader.skip_spaces();
    let metric_at = reader.at;
    let words = reader.words()?;
    let (metric, mut tags) = metric(&words).map_err(|what| reader.wrong_at(metric_at, what))?;
    reader.skip_spaces();
    let tags_at = reader.at;
    for (name, value) in reader.tags()? {
        if tags.iter().any(|(known, _)| *known == name) {
            let what = format!("{} is told twice", name.name());
            return Err(reader.wrong_at(tags_at, what));
        }
        tags.push((name, value));
    }
    tags_fit(&metric, &tags).map_err(|what| reader.wrong_at(tags_at, what))?;
    reader.skip_spaces();
    let window_at = reader.at;
    let window = reader.window()?;
    if window.is_some() {
        window_fits(&metric, &tags).map_err(|what| reader.wrong_at(window_at, what))?;
    }
    let comparison = reader.comparison()?;
    let bound = reader.bound(metric.unit())?;
    reader.skip_spaces();
    if !reader.rest().is_empty() {
        return Err(reader.wrong(format!("`{}` is too much", reader.rest())));
    }
    Ok(Threshold { text: text.trim().to_owned(), metric, tags, window, comparison, bound })
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: impl Into<String>) -> Wrong {
        Wrong { column: self.text[..at].chars().count() + 1, what: what.into() }
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        self.at += if found { what.len() } else { 0 };
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads words with points between them; a part such as `p99.9` is one word.
    fn words(&mut self) -> Result<Vec<&'a str>, Wrong> {
        let mut words = Vec::new();
        loop {
            let from = self.at;
            let word = self.take_while(|c| c.is_alphanumeric() || c == '_' || c == '-');
            if word.is_empty() {
                return Err(self.wrong("a metric belongs here, such as buy.intended.p99"));
            }
            let quantile = word.strip_prefix('p').is_some_and(is_digits);
            let fraction = self.rest().strip_prefix('.');
            if quantile
                && fraction.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            {
                self.at += 1;
                self.take_while(|c| c.is_ascii_digit());
            }
            words.push(&self.text[from..self.at]);
            if !self.take(".") {
                return Ok(words);
            }
        }
    }

    fn tags(&mut self) -> Result<Vec<(TagName, String)>, Wrong> {
        let mut tags = Vec::new();
        if !self.take("{") {
            return Ok(tags);
        }
        loop {
            self.skip_spaces();
            let from = self.at;
            let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
            let known = TagName::ALL.into_iter().find(|tag| tag.name() == name);
            let Some(known) = known else {
                let what = format!("`{name}` is no tag; there are op, outcome, stage and actor");
                return Err(self.wrong_at(from, what));
            };
            self.skip_spaces();
            if !self.take("=") {
                return Err(self.wrong(format!("= belongs here, as in {{{name}=…}}")));
            }
            let value = self.take_while(|c| !matches!(c, ',' | '}')).trim();
            if value.is_empty() {
                return Err(self.wrong(format!("{name} has no value")));
            }
            tags.push((known, value.to_owned()));
            if self.take("}") {
                return Ok(tags);
            }
            if !self.take(",") {
                return Err(self.wrong("} belongs here"));
            }
        }
    }

    fn window(&mut self) -> Result<Option<Window>, Wrong> {
        if !self.take("[") {
            return Ok(None);
        }
        let from_at = self.at;
        let from = self.seconds()?;
        self.skip_spaces();
        if !self.take("..") {
            return Err(self.wrong(".. belongs here, as in [10s..20s]"));
        }
        let to = self.seconds()?;
        self.skip_spaces();
        if !self.take("]") {
            return Err(self.wrong("] belongs here"));
        }
        if to <= from {
            return Err(self.wrong_at(from_at, "the window ends before it begins"));
        }
        Ok(Some(Window { from, to }))
    }

    fn seconds(&mut self) -> Result<u64, Wrong> {
        self.skip_spaces();
        let from = self.at;
        let whole = "a window begins and ends at whole seconds, as in [10s..20s]";
        let digits = self.take_while(|c| c.is_ascii_digit());
        let unit = self.take_while(char::is_alphabetic);
        let factor = match unit {
            "s" => 1,
            "min" | "m" => 60,
            "h" => 3_600,
            _ => return Err(self.wrong_at(from, whole)),
        };
        let number: Result<u64, _> = digits.parse();
        let seconds = number.ok().and_then(|number| number.checked_mul(factor));
        seconds.filter(|s| *s <= 1_000_000).ok_or_else(|| self.wrong_at(from, whole))
    }

    fn comparison(&mut self) -> Result<Comparison, Wrong> {
        self.skip_spaces();
        let found = Comparison::ALL.into_iter().find(|(text, _)| self.take(text));
        let wrong = || self.wrong("one of < <= > >= == != belongs here");
        found.map(|(_, comparison)| comparison).ok_or_else(wrong)
    }

    fn bound(&mut self, unit: Unit) -> Result<f64, Wrong> {
        self.skip_spaces();
        let from = self.at;
        let digits = self.take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'));
        let number: f64 = digits
            .replace('_', "")
            .parse()
            .map_err(|_| self.wrong_at(from, format!("a number belongs here{}", example(unit))))?;
        self.skip_spaces();
        let unit_at = self.at;
        let suffix = self.take_while(|c| !c.is_whitespace());
        let factor = factor(unit, suffix, number == 0.0);
        let factor = factor.map_err(|what| self.wrong_at(unit_at, what))?;
        Ok(number * factor)
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

const fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => ", with a unit, such as 50ms",
        Unit::Rate => ", such as 5k/s",
        Unit::Share => ", such as 1%",
        Unit::Count | Unit::Number => "",
    }
}

fn factor(unit: Unit, suffix: &str, zero: bool) -> Result<f64, String> {
    let factor = match (unit, suffix) {
        (Unit::Time, "ns")
        | (Unit::Rate, "" | "/s")
        | (Unit::Count | Unit::Share | Unit::Number, "") => 1.0,
        (Unit::Time, "us" | "µs") | (Unit::Count, "k") | (Unit::Rate, "k" | "k/s") => 1e3,
        (Unit::Time, "ms") | (Unit::Count, "M") | (Unit::Rate, "M" | "M/s") => 1e6,
        (Unit::Time, "s") => 1e9,
        (Unit::Time, "min" | "m") => 60e9,
        (Unit::Share, "%") => 0.01,
        // Nothing is nothing in any unit.
        (Unit::Time, "") if zero => 1.0,
        (Unit::Time, "") => return Err("a time needs its unit: ns, us, ms, s or min".to_owned()),
        _ => {
            let allowed = match unit {
                Unit::Time => "ns, us, ms, s or min",
                Unit::Count => "no unit, k or M",
                Unit::Rate => "/s, k/s or M/s",
                Unit::Share => "% or no unit",
                Unit::Number => "no unit",
            };
            return Err(format!("`{suffix}` is no unit of this metric; it has {allowed}"));
        }
    };
    Ok(factor)
}

/// A metric with the tags that its words say.
type Named = (Metric, Vec<(TagName, String)>);

fn metric(words: &[&str]) -> Result<Named, String> {
    let plain = |metric| Ok((metric, Vec::new()));
    match words {
        ["truth", check] => plain(Metric::Truth((*check).to_owned())),
        ["http", class] => {
            let digits = class.strip_suffix("xx").unwrap_or(class);
            let wanted = if digits == *class { 3 } else { 1 };
            if digits.len() != wanted || !is_digits(digits) {
                return Err(format!("http.{class} is neither a status nor a class such as 5xx"));
            }
            plain(Metric::Status((*class).to_owned()))
        }
        ["generator", "late"] => plain(Metric::Late),
        ["generator", "backlogged"] => plain(Metric::Backlogged),
        ["generator", "cpu"] => plain(Metric::Cpu),
        ["generator", "lag", statistic] => plain(Metric::Lag(self::statistic(statistic)?)),
        ["connecting", "tcp", statistic] => {
            plain(Metric::Connecting { tls: false, statistic: self::statistic(statistic)? })
        }
        ["connecting", "tls", statistic] => {
            plain(Metric::Connecting { tls: true, statistic: self::statistic(statistic)? })
        }
        ["connecting", ..] => Err("connecting has tcp.p99 and tls.p99".to_owned()),
        ["generator", ..] => Err("generator has late, backlogged, cpu and lag.p99".to_owned()),
        ["fairness", "kendall_tau"] => plain(Metric::KendallTau),
        ["fairness", "bot_share"] => plain(Metric::BotShare),
        ["fairness", "wait_p99"] => plain(Metric::WaitP99),
        ["fairness", ..] => Err("fairness has kendall_tau, bot_share and wait_p99".to_owned()),
        ["stock", "sold"] => plain(Metric::Sold),
        ["stock", "reserved"] => plain(Metric::Reserved),
        ["stock", "left"] => plain(Metric::Left),
        ["stock", "sold_out_at"] => plain(Metric::SoldOutAt),
        ["stock", ..] => Err("stock has sold, reserved, left and sold_out_at".to_owned()),
        ["truth" | "http", ..] => Err(format!("{} has one name after it", words.join("."))),
        ["refused" | "lost" | "accepted", .., name] if statistic(name).is_ok() => Err(format!(
            "latency by outcome is all.{name}{{outcome={}}}",
            if words[0] == "lost" { "accepted" } else { words[0] }
        )),
        _ => counted(words).unwrap_or_else(|| latency(words)),
    }
}

/// Reads what is counted, as a number, a rate or a share; `None` if it is no count.
fn counted(words: &[&str]) -> Option<Result<Named, String>> {
    let (rest, as_) = match words {
        [rest @ .., "rate"] => (rest, Unit::Rate),
        [rest @ .., "share"] => (rest, Unit::Share),
        rest => (rest, Unit::Count),
    };
    let of = match rest {
        ["users"] => Counted::Users,
        ["sent"] => Counted::Sent,
        ["answered"] => Counted::Answered,
        ["accepted"] => Counted::Accepted,
        ["orders"] => Counted::Orders,
        ["replayed"] => Counted::Replayed,
        ["unsent"] => Counted::Unsent,
        ["reconnects"] => Counted::Reconnects,
        ["refused"] => Counted::Refused(None),
        ["lost"] => Counted::Lost(None),
        ["refused", code] => {
            if let Err(what) = one_of("problem code", code, &[CODES, &[OTHER_CODE]].concat()) {
                return Some(Err(what));
            }
            Counted::Refused(Some((*code).to_owned()))
        }
        ["lost", reason] => {
            if let Err(what) = one_of("reason", reason, &Loss::ALL.map(Loss::code)) {
                return Some(Err(what));
            }
            Counted::Lost(Some((*reason).to_owned()))
        }
        _ => return None,
    };
    let of_sent = !matches!(of, Counted::Users | Counted::Orders | Counted::Unsent);
    if as_ == Unit::Share && !of_sent {
        return Some(Err(format!(
            "{} has no share: it is no part of what was sent",
            rest.join(".")
        )));
    }
    Some(Ok((Metric::Count { of, as_ }, Vec::new())))
}

/// Checks a word against those that there are.
pub(super) fn one_of(what: &str, word: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&word) {
        return Ok(());
    }
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(format!("`{word}` is no {what}; {hint}"))
}

fn latency(words: &[&str]) -> Result<Named, String> {
    let (op, clock, name) = match words {
        [name] => ("all", "intended", name),
        [clock @ ("intended" | "service"), name] => ("all", *clock, name),
        [op, name] => (*op, "intended", name),
        [op, clock @ ("intended" | "service"), name] => (*op, *clock, name),
        [_, clock, _] => return Err(format!("`{clock}` is neither intended nor service")),
        _ => return Err(format!("`{}` is no metric", words.join("."))),
    };
    let statistic = statistic(name)?;
    let tags = if op == "all" { Vec::new() } else { vec![(TagName::Op, op.to_owned())] };
    Ok((Metric::Latency { service: clock == "service", statistic }, tags))
}

fn statistic(name: &str) -> Result<Statistic, String> {
    let wrong = || {
        format!(
            "`{name}` is no statistic; there are p50, p99, p99.9 and so on, p999, mean and max, \
             and counts such as accepted, refused.sold_out.share and orders.rate"
        )
    };
    match name {
        "mean" => return Ok(Statistic::Mean),
        "max" => return Ok(Statistic::Quantile(1.0)),
        "p999" => return Ok(Statistic::Quantile(0.999)),
        "p9999" => return Ok(Statistic::Quantile(0.9999)),
        _ => (),
    }
    let percent = name.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| Statistic::Quantile(percent / 100.0)).ok_or_else(wrong)
}

/// Checks that the metric is known for what the tags say.
fn tags_fit(metric: &Metric, tags: &[(TagName, String)]) -> Result<(), String> {
    let actor_only = tags.iter().all(|(name, _)| *name == TagName::Actor);
    let known = tags.is_empty()
        || match metric {
            Metric::Latency { .. } => true,
            Metric::Count { of: Counted::Answered, as_ } => *as_ == Unit::Count,
            Metric::WaitP99 | Metric::Count { of: Counted::Users | Counted::Orders, .. } => {
                actor_only
            }
            _ => false,
        };
    let wrong = "this metric is not known by tag; latencies and answered are, users, orders and \
                 fairness.wait_p99 by {actor=…} alone";
    if known { Ok(()) } else { Err(wrong.to_owned()) }
}

/// Checks that the metric is known by second.
pub(super) fn window_fits(metric: &Metric, tags: &[(TagName, String)]) -> Result<(), String> {
    let by_second = match metric {
        Metric::Latency { .. } => true,
        Metric::Late => tags.is_empty(),
        Metric::Count { of, .. } => match of {
            Counted::Answered | Counted::Refused(None) | Counted::Lost(None) => true,
            Counted::Users | Counted::Sent | Counted::Accepted => tags.is_empty(),
            Counted::Refused(Some(code)) => code == "sold_out",
            _ => false,
        },
        _ => false,
    };
    let wrong = "this metric is not known by second; latencies, users, sent, answered, accepted, \
                 refused, refused.sold_out, lost and generator.late are";
    if by_second { Ok(()) } else { Err(wrong.to_owned()) }
}
