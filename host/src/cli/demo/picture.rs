//! What the demo shows: a line that lives while the sale runs, then the result.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use onhand_core::OpenReport;
use onhand_loadtest::{Latency, OnProgress, Phase, Progress};
use onhand_verify::SkuReport;

use super::super::style::{Style, count, size, span};
use super::super::{note, say};
use super::{Arguments, Home, Outcome, SKUS, Sale};
use crate::wire::encode::Writer;

/// Cells of the progress bar.
const BAR_CELLS: usize = 24;
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Draws the demo.
pub(super) struct Picture {
    json: bool,
    style: Style,
    live: bool,
    /// Whether the live line stands on the terminal and must be wiped.
    drawn: Arc<Mutex<Drawn>>,
}

#[derive(Default)]
struct Drawn {
    line: bool,
    phase: Option<Phase>,
    last: Option<Instant>,
    accepted: u64,
    at: Duration,
}

impl Picture {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            style: Style::of_stdout(),
            live: std::io::stderr().is_terminal(),
            drawn: Arc::default(),
        }
    }

    fn print(&self, text: &str) {
        if !self.json {
            say(text);
        }
    }

    /// Says what is about to happen.
    pub(super) fn begin(
        &self,
        arguments: &Arguments,
        addr: SocketAddr,
        home: &Home,
        opened: &OpenReport,
    ) {
        let (stock, skus) = (count(arguments.stock.into()), SKUS);
        let (seconds, connections) = (arguments.seconds, arguments.connections);
        let kept = if home.is_kept() { "kept" } else { "temporary" };
        let was = if opened.created { "new" } else { "opened again" };
        self.print(&format!(
            "{}\n\n\
             \x20 host     http://{addr}, HTTP/1.1, {connections} connections\n\
             \x20 engine   in this process, every order on disk before its answer\n\
             \x20 data     {} ({kept}, {was})\n\
             \x20 shop     1 hot SKU with {stock} units, 2 a customer, and {skus} others\n\
             \x20 buyers   {seconds} s, as fast as answers come: double clicks, abandoned baskets\n\n",
            self.style.bold("Onhand demo: a flash sale on this machine"),
            home.path().display(),
        ));
    }

    /// Returns what draws the progress of the load.
    pub(super) fn progress(&self) -> OnProgress {
        let (drawn, live) = (Arc::clone(&self.drawn), self.live);
        Box::new(move |now: &Progress| {
            let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
            draw(&mut drawn, live, now);
        })
    }

    fn wipe(&self) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut drawn.line) {
            note("\r\x1b[2K");
        }
    }

    /// Wipes the live line.
    pub(super) fn loaded(&self) {
        self.wipe();
    }

    /// Says that the verifier reads.
    pub(super) fn verifying(&self) {
        if self.live {
            let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
            drawn.line = true;
            note("\r\x1b[2K  the verifier reads the journal …");
        }
    }

    /// Prints the result.
    pub(super) fn result(&self, arguments: &Arguments, outcome: &Outcome) {
        self.wipe();
        if self.json {
            say(&json(arguments, outcome));
            return;
        }
        let mut text = String::new();
        self.sale(&mut text, &outcome.sale);
        self.latency(&mut text, &outcome.sale);
        self.truth(&mut text, outcome);
        self.print(&text);
    }

    fn sale(&self, text: &mut String, sale: &Sale) {
        let load = &sale.load;
        let seconds = load.elapsed.as_secs_f64();
        let row = |name: &str, value: u64, more: String| {
            format!("  {name:<10} {:>10}   {more}\n", count(value))
        };
        let _ = writeln!(text, "{}", self.style.bold("Sale"));
        let rate = count(load.rate() as u64);
        text.push_str(&row("requests", load.sent, format!("in {seconds:.1} s, {rate} a second")));
        let rate = count(load.order_rate() as u64);
        text.push_str(&row("orders", load.orders, format!("{rate} a second, each durable")));
        let same = "answered again with the bytes of their first answer".to_owned();
        text.push_str(&row("repeats", load.replayed, same));
        let refused: u64 = load.refusals.values().sum();
        let mut reasons: Vec<(&str, u64)> =
            load.refusals.iter().map(|(code, count)| (*code, *count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let reasons: Vec<String> =
            reasons.iter().map(|(code, n)| format!("{code} {}", count(*n))).collect();
        text.push_str(&row("refusals", refused, reasons.join(", ")));
        let lost: u64 = load.losses.values().sum();
        if lost > 0 {
            text.push_str(&row("lost", lost, "asked again afterwards with the same key".into()));
        }
        text.push('\n');
    }

    fn latency(&self, text: &mut String, sale: &Sale) {
        let row = |name: &str, l: &Latency| {
            let cells = [l.p50, l.p90, l.p99, l.p999, l.max].map(|t| format!("{:>9}", span(t)));
            format!("  {name:<10} {}\n", cells.join(" "))
        };
        let head = ["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>9}"));
        let title = self.style.bold(&format!("{:<12}", "Latency"));
        let _ = writeln!(text, "{title} {}", self.style.dim(&head.join(" ")));
        text.push_str(&row("accepted", &sale.load.accepted.intended));
        text.push_str(&row("refused", &sale.load.refused.intended));
        text.push('\n');
    }

    fn truth(&self, text: &mut String, outcome: &Outcome) {
        let _ = writeln!(text, "{}", self.style.bold("Truth"));
        let mut row = |holds: bool, claim: &str| {
            let _ = writeln!(text, "  {} {claim}", self.style.verdict(holds));
        };
        if let Some(hot) = hot_stock(outcome) {
            let (sold, held, left) = (hot.sold, hot.reserved_end, hot.available_end);
            let claim = match (held, left) {
                (0, 0) => "sold = stock: the hot SKU is sold to the last unit,".to_owned(),
                _ => format!(
                    "sold + reserved + left = stock of the hot SKU: {} + {} + {} =",
                    count(sold),
                    count(held),
                    count(left)
                ),
            };
            row(
                hot.received == sold + held + left,
                &format!("{claim} {} units", count(hot.received)),
            );
        }
        if let Some(truth) = &outcome.sale.load.truth {
            // What the sale had no case of is left out: the demo shows what was looked at.
            for check in truth.checks.iter().filter(|check| check.checked > 0) {
                let found = match check.violations {
                    0 => format!("{} checked", count(check.checked)),
                    n => format!("{} of {} violate it", count(n), count(check.checked)),
                };
                row(check.violations == 0, &format!("{} ({found})", check.claim));
                for evidence in &check.evidence {
                    row(false, &format!("     {evidence}"));
                }
            }
        }
        match &outcome.verified {
            Ok(report) => row(
                true,
                &format!(
                    "independent verifier: every rule holds at each of {} records ({}, {})",
                    count(report.records),
                    size(outcome.journal_bytes),
                    span(report.elapsed)
                ),
            ),
            Err(failure) => row(false, &format!("independent verifier: {failure}")),
        }
        if !outcome.drained {
            row(false, "the host finished what was in flight in time");
        }
        text.push('\n');
    }

    /// Says how to go on where nothing is served any more.
    pub(super) fn farewell(&self, home: &Home, outcome: &Outcome) {
        let dir = home.path().display();
        let hot = &outcome.sale.hot_sku;
        let go_on = if home.is_kept() {
            format!(
                "\x20 onhand verify {dir}\n\
                 \x20 onhand serve --dev --data {dir}\n\
                 \x20 curl http://127.0.0.1:8080/v1/stock/{hot}\n"
            )
        } else {
            "\x20 onhand demo --stay          serve this shop afterwards, to try it with curl\n\
             \x20 onhand demo --data shop     keep it for `onhand verify` and `onhand serve`\n\
             \x20 onhand serve --help         your own shop\n"
                .to_owned()
        };
        self.print(&format!("{}\n{go_on}", self.style.bold("Go on")));
    }

    /// Says what can be tried while the shop is served.
    pub(super) fn stay(
        &self,
        addr: SocketAddr,
        home: &Home,
        outcome: &Outcome,
        opened: &OpenReport,
    ) {
        let (hot, run) = (&outcome.sale.hot_sku, &outcome.sale.run);
        let (took, orders) = (span(opened.elapsed), count(opened.live_orders));
        let text = format!(
            "{}\n\
             \x20 The shop was closed and opened again in {took}, with {orders} live orders.\n\
             \x20 It stays at http://{addr} until Ctrl-C; its data is in {}.\n\n\
             \x20 curl http://{addr}/v1/stock/{hot}\n\
             \x20 curl http://{addr}/v1/orders:buy -H 'Idempotency-Key: my-first-order' \\\n\
             \x20      --json '{{\"customer\":\"me\",\"lines\":[{{\"sku\":\"{run}-1\",\
             \"quantity\":1}}]}}'\n\
             \x20 curl http://{addr}/metrics\n",
            self.style.bold("Go on"),
            home.path().display(),
        );
        if self.json { note(&text) } else { say(&text) }
    }
}

/// Returns what the verifier found about the hot SKU.
fn hot_stock(outcome: &Outcome) -> Option<&SkuReport> {
    let report = outcome.verified.as_ref().ok()?;
    report.skus.iter().find(|sku| sku.code == outcome.sale.hot_sku)
}

/// Draws one state of progress: over the last one on a terminal, else a line now and then.
fn draw(drawn: &mut Drawn, live: bool, now: &Progress) {
    let new_phase = drawn.phase != Some(now.phase);
    drawn.phase = Some(now.phase);
    let due = drawn.last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
    if !live && !new_phase && !due {
        return;
    }
    drawn.last = Some(Instant::now());
    let text = match now.phase {
        Phase::Setup => "stocking the shop".to_owned(),
        Phase::Load => load_line(drawn, now),
        Phase::Truth => "comparing every answer with the host's events".to_owned(),
    };
    let mut err = std::io::stderr().lock();
    // A terminal that has left is no failure of the demo.
    let _ = if live {
        drawn.line = true;
        write!(err, "\r\x1b[2K  {text}").and_then(|()| err.flush())
    } else {
        writeln!(err, "  {text}")
    };
}

fn load_line(drawn: &mut Drawn, now: &Progress) -> String {
    let elapsed = now.elapsed.as_secs_f64();
    let bar = now.of.map_or(String::new(), |of| {
        let part = (elapsed / of.as_secs_f64().max(1e-9)).clamp(0.0, 1.0);
        let full = (part * BAR_CELLS as f64).round() as usize;
        format!("{}{} ", "█".repeat(full), "░".repeat(BAR_CELLS - full))
    });
    let span = (now.elapsed.saturating_sub(drawn.at)).as_secs_f64();
    let orders = now.accepted.saturating_sub(drawn.accepted) as f64 / span.max(1e-3);
    (drawn.accepted, drawn.at) = (now.accepted, now.elapsed);
    format!(
        "{elapsed:4.1} s {bar}{:>7} req/s {:>7} orders/s  {} orders, {} refused",
        count(now.rate as u64),
        count(orders as u64),
        count(now.accepted),
        count(now.refused),
    )
}

fn json(arguments: &Arguments, outcome: &Outcome) -> String {
    let load = &outcome.sale.load;
    let mut out = Writer::new();
    out.open();
    out.flag("holds", outcome.holds());
    out.number("seconds", arguments.seconds.into());
    out.number("requests", load.sent);
    out.number("requests_per_second", load.rate() as u64);
    out.number("orders", load.orders);
    out.number("orders_per_second", load.order_rate() as u64);
    out.number("replayed", load.replayed);
    out.open_in("refusals");
    for (code, count) in &load.refusals {
        out.number(code, *count);
    }
    out.close();
    out.open_in("latency_us");
    for (name, latency) in
        [("accepted", load.accepted.intended), ("refused", load.refused.intended)]
    {
        out.open_in(name);
        for (quantile, time) in [
            ("p50", latency.p50),
            ("p90", latency.p90),
            ("p99", latency.p99),
            ("p999", latency.p999),
            ("max", latency.max),
        ] {
            out.number(quantile, time.as_micros() as u64);
        }
        out.close();
    }
    out.close();
    if let Some(truth) = &load.truth {
        out.list("truth", &truth.checks, |out, check| {
            out.open();
            out.text("name", check.name);
            out.number("checked", check.checked);
            out.number("violations", check.violations);
            out.close();
        });
        out.open_in("units");
        out.number("put_in", truth.units.put_in);
        out.number("sold", truth.units.sold);
        out.number("reserved", truth.units.reserved);
        out.number("left", truth.units.left);
        out.close();
    }
    out.open_in("verifier");
    match &outcome.verified {
        Ok(report) => {
            out.text("verdict", "content");
            out.number("records", report.records);
            out.number("bytes", outcome.journal_bytes);
        }
        Err(failure) => out.text("verdict", &failure.to_string()),
    }
    out.close();
    out.close();
    String::from_utf8_lossy(&out.into_bytes()).into_owned() + "\n"
}
