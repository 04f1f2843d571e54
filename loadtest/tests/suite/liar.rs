//! The truth checks can fail: a proxy between the load tester and an honest host loses, repeats,
//! delays and falsifies what passes, and each check fires at the lie that is there for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onhand_loadtest::results::Run;
use onhand_loadtest::results::run::Verdict;
use onhand_loadtest::scenario::Scenario;
use onhand_loadtest::{Authority, RunOptions, Target, op, run, run_text};
use serde_json::{Value, json};

use crate::common::{Host, Lie, time_text};

/// What the proxy does with what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// Nothing.
    None,
    /// Closes the connection instead of passing some answers on.
    LoseAnswer,
    /// Sends some requests twice, with the same key.
    RepeatRequest,
    /// Holds every answer back for a moment.
    Delay,
    /// Doubles the units of some movements in the events.
    DoubleUnits,
    /// Refuses everything as sold out from some request on, without asking the host.
    SendAway,
    /// Refuses some requests as sold out, without asking the host.
    FalseSoldOut,
    /// Shows one unit more in stock.
    WrongStock,
    /// Shows some events that made an order twice.
    RepeatEvent,
    /// Acknowledges some requests without asking the host.
    FalseReceipt,
    /// Answers repeated requests with other bytes.
    OtherReceipt,
    /// Gives every request a customer of its own.
    OtherCustomer,
    /// Shows that reservations ended a minute late.
    LateExpiry,
    /// Shows deadlines a minute later than the receipts.
    OtherDeadline,
    /// Shows that reservations were placed an hour later.
    LatePlaced,
    /// Refuses payments in time as too late.
    RefusePayment,
    /// Adds a cent to receipts.
    CentOnReceipt,
    /// Adds a cent to events.
    CentOnEvent,
    /// Sends some requests a second time, with another key.
    GhostOrder,
    /// Takes a unit from what orders got, in the events.
    ShortOrder,
    /// Tells buyers that their payment failed, though it did not.
    SilentPlace,
    /// Exchanges two events.
    SwapEvents,
    /// Takes an order back before each reading of the stock: the shop is never at rest.
    NeverRest,
    /// Never tells what came of one purchase.
    Stubborn,
    /// Says of some purchases that they are still being carried out, until they are asked again.
    InFlight,
    /// Answers some purchases with the page of a gateway that knows no contract.
    Gateway,
}

/// A proxy before a host; it stops when dropped.
struct Liar {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
}

struct Teller {
    trick: Trick,
    upstream: SocketAddr,
    /// Requests that make or place an order, so far.
    asked: AtomicU64,
    /// Latest position that passed.
    seq: AtomicU64,
    /// Orders that passed, and the key of one purchase.
    orders: Mutex<Vec<String>>,
    key: Mutex<Option<String>>,
}

impl Teller {
    fn new(trick: Trick, upstream: SocketAddr) -> Self {
        let (asked, seq) = (AtomicU64::new(0), AtomicU64::new(0));
        let (orders, key) = (Mutex::default(), Mutex::default());
        Self { trick, upstream, asked, seq, orders, key }
    }
}

impl Liar {
    fn start(upstream: SocketAddr, trick: Trick) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let teller = Arc::new(Teller::new(trick, upstream));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let teller = Arc::clone(&teller);
                std::thread::spawn(move || stream.ok().and_then(|stream| teller.serve(stream)));
            }
        });
        Self { addr, stop }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

/// A message of HTTP/1.1: its first line, its other lines, its body.
#[derive(Clone)]
pub(crate) struct Message {
    first: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    pub(crate) fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "content-length" => length = value.parse().ok()?,
                _ => headers.push((name, value.to_owned())),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { first: first.trim_end().to_owned(), headers, body })
    }

    pub(crate) fn write(&self, to: &mut TcpStream) -> Option<()> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            for part in [name, ": ", value, "\r\n"] {
                text.push_str(part);
            }
        }
        let length = self.body.len().to_string();
        for part in ["content-length: ", &length, "\r\n\r\n"] {
            text.push_str(part);
        }
        let bytes = [text.as_bytes(), &self.body].concat();
        to.write_all(&bytes).ok()
    }

    /// Makes an answer of the proxy's own.
    fn answer(status: u16, body: &Value) -> Self {
        let first = format!("HTTP/1.1 {status} X");
        Self { first, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    /// Makes a request that takes an order back.
    fn cancel(order: &str) -> Self {
        let first = format!("POST /v1/orders/{order}/cancel HTTP/1.1");
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let key = format!("cancel-{order}");
        let headers = vec![header("host", "shop"), header("idempotency-key", &key)];
        Self { first, headers, body: b"{}".to_vec() }
    }

    pub(crate) fn path(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn set(&mut self, json: &Value) {
        self.body = json.to_string().into_bytes();
    }
}

impl Teller {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let _ = stream.set_nodelay(true);
        let host = TcpStream::connect(self.upstream).ok()?;
        let _ = host.set_nodelay(true);
        let (mut buyer, mut host) = (BufReader::new(stream), BufReader::new(host));
        loop {
            let request = Message::read(&mut buyer)?;
            let answer = self.tell(request, &mut host)?;
            answer.write(buyer.get_mut())?;
        }
    }

    /// Asks the host once.
    fn ask(&self, request: &Message, host: &mut BufReader<TcpStream>) -> Option<Message> {
        request.write(host.get_mut())?;
        let answer = Message::read(host)?;
        if let Some(seq) = answer.json()["seq"].as_u64() {
            self.seq.fetch_max(seq, Ordering::Relaxed);
        }
        Some(answer)
    }

    /// Returns the answer that the buyer gets; `None` closes the connection.
    fn tell(&self, mut request: Message, host: &mut BufReader<TcpStream>) -> Option<Message> {
        let path = request.path().to_owned();
        let makes = matches!(path.as_str(), "/v1/orders:buy" | "/v1/reservations");
        let pays = path == "/v1/orders";
        if path.starts_with("/v1/events") {
            let mut page = self.ask(&request, host)?;
            let mut json = page.json();
            self.falsify_events(&mut json);
            page.set(&json);
            return Some(page);
        }
        if self.trick == Trick::WrongStock && path.starts_with("/v1/stock?") {
            let mut stock = self.ask(&request, host)?;
            let mut json = stock.json();
            let more = json["data"][0]["available"].as_u64().unwrap_or(0) + 1;
            json["data"][0]["available"] = more.into();
            stock.set(&json);
            return Some(stock);
        }
        if self.trick == Trick::NeverRest && path.starts_with("/v1/stock?") {
            let order = self.orders.lock().unwrap_or_else(PoisonError::into_inner).pop();
            if let Some(order) = order {
                self.ask(&Message::cancel(&order), host)?;
            }
        }
        if !makes && !pays {
            return self.ask(&request, host);
        }
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let every = |count: u64| number % count == count - 1;
        let seq = self.seq.load(Ordering::Relaxed);
        let sold_out = || {
            let body = json!({"status": 409, "code": "sold_out", "line": 0, "asked": 1,
                              "found": 0, "seq": seq});
            Some(Message::answer(409, &body))
        };
        if self.trick == Trick::Stubborn && makes {
            let own = request.header("idempotency-key").map(str::to_owned);
            let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
            if number == 10 {
                key.clone_from(&own);
                self.ask(&request, host)?;
            }
            if *key == own {
                let body = json!({"status": 503, "code": "stopped", "seq": seq});
                return Some(Message::answer(503, &body));
            }
        }
        match self.trick {
            Trick::SendAway if makes && number > 60 => return sold_out(),
            Trick::FalseSoldOut if makes && every(20) => return sold_out(),
            Trick::FalseReceipt if makes && every(20) => {
                let order = op::order_to_text(u128::from(number) << 64);
                let body = json!({"order": order, "status": "placed", "seq": seq});
                return Some(Message::answer(201, &body));
            }
            Trick::RefusePayment if pays && every(3) => {
                let body = json!({"status": 410, "code": "reservation_expired", "seq": seq});
                return Some(Message::answer(410, &body));
            }
            Trick::OtherCustomer if makes => {
                let mut json = request.json();
                json["customer"] = format!("x{number}").into();
                request.set(&json);
            }
            Trick::RepeatRequest if every(5) => drop(self.ask(&request, host)?),
            Trick::GhostOrder if makes && every(20) => {
                let mut ghost = request.clone();
                let own = ghost.headers.iter_mut().find(|(name, _)| name == "idempotency-key");
                own?.1.push_str("-ghost");
                drop(self.ask(&ghost, host)?);
            }
            Trick::Delay => std::thread::sleep(Duration::from_millis(2)),
            _ => (),
        }
        let mut answer = self.ask(&request, host)?;
        let accepted = answer.first.contains(" 201 ");
        let mut json = answer.json();
        let first = answer.header("idempotency-replayed").is_none();
        if makes
            && accepted
            && let Some(order) = json["order"].as_str()
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders.push(order.to_owned());
        }
        match self.trick {
            Trick::InFlight if makes && accepted && first && every(5) => {
                let body = json!({"status": 409, "code": "idempotency_in_flight", "seq": seq});
                return Some(Message::answer(409, &body));
            }
            Trick::Gateway if makes && every(10) && number < 100 => {
                let mut page = Message::answer(502, &Value::Null);
                page.body = b"<html>bad gateway</html>".to_vec();
                return Some(page);
            }
            Trick::LoseAnswer if every(15) => return None,
            Trick::OtherReceipt if answer.header("idempotency-replayed").is_some() => {
                answer.body.extend_from_slice(b" ");
            }
            Trick::CentOnReceipt if makes && accepted && every(10) => {
                let total = json["total"]["amount"].as_i64()? + 1;
                json["total"]["amount"] = total.into();
                answer.set(&json);
            }
            Trick::SilentPlace if pays && accepted && every(3) => {
                let body = json!({"status": 409, "code": "state_conflict", "seq": seq});
                return Some(Message::answer(409, &body));
            }
            _ => (),
        }
        Some(answer)
    }

    fn falsify_events(&self, page: &mut Value) {
        let Some(events) = page["data"].as_array_mut() else { return };
        let made = |event: &Value| {
            event["version"] == 1
                && matches!(event["type"].as_str(), Some("order.placed" | "order.reserved"))
        };
        let later = |time: &Value, by: &str| -> Value {
            // Only the hour or the minute is changed, so that no date has to be reckoned.
            let text = time.as_str().unwrap_or_default();
            let date = &text[..11];
            let (hour, rest) = (&text[11..13], &text[13..]);
            let hour: u64 = hour.parse().unwrap_or(0);
            match (by, hour) {
                ("hour", 0..23) => format!("{date}{:02}{rest}", hour + 1).into(),
                // Midnight is near: a year more is late as well.
                _ => {
                    let year: u64 = text[..4].parse().unwrap_or(2000);
                    format!("{}{}", year + 1, &text[4..]).into()
                }
            }
        };
        match self.trick {
            Trick::SwapEvents if events.len() > 20 => events.swap(15, 16),
            Trick::RepeatEvent => {
                let at = events.iter().position(made);
                if let Some(at) = at {
                    let event = events[at].clone();
                    events.insert(at, event);
                }
            }
            _ => (),
        }
        for event in events.iter_mut() {
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            let placed = kind == "order.placed" && event["version"] != 1;
            match self.trick {
                Trick::DoubleUnits if made(event) => {
                    let units = event["movements"][0]["quantity"].as_u64().unwrap_or(0);
                    event["movements"][0]["quantity"] = (units * 2).into();
                }
                Trick::ShortOrder if made(event) => {
                    let units = event["movements"][0]["quantity"].as_u64().unwrap_or(1);
                    event["movements"][0]["quantity"] = (units - 1).into();
                }
                Trick::CentOnEvent if made(event) => {
                    let total = event["total"]["amount"].as_i64().unwrap_or(0);
                    event["total"]["amount"] = (total + 1).into();
                }
                Trick::LateExpiry if kind == "order.expired" => {
                    event["time"] = later(&event["time"], "hour");
                }
                Trick::LatePlaced if placed => event["time"] = later(&event["time"], "hour"),
                Trick::OtherDeadline if kind == "order.reserved" => {
                    event["expires_at"] = later(&event["expires_at"], "hour");
                }
                _ => (),
            }
        }
    }
}

/// Everybody who comes: with every habit that some check needs.
const CROWD: &str = r#"
[actor.buyer]
weight = 40
flow = ["buy"]
think = "0s"
[actor.double-clicker]
weight = 20
[actor.payer]
weight = 20
flow = ["reserve", "place"]
think = "0s"
[actor.abandoner]
weight = 10
[actor.canceller]
weight = 5
[actor.releaser]
weight = 5
"#;

/// Those who only buy.
const BUYERS: &str = "[actor.buyer]\nflow = [\"buy\"]\nthink = \"0s\"\n";

/// Runs a short sale against a host; everything but the crowd, the stock and the life of a
/// reservation is the same.
fn sale(addr: SocketAddr, name: &str, crowd: &str, units: u32, ttl: &str) -> Run {
    let toml = format!(
        r#"
schema = 1
name = "lies"
seed = 5
[target]
connections = 8
timeout = "1s"
[stock]
skus = 2
units = 500
hot_units = {units}
hot_limit = 3
[customers]
count = 120
[basket]
units = [1, 2]
[reservation]
ttl = "{ttl}"
[[stage]]
name = "sale"
shape = "hold"
rate = "600/s"
for = "500ms"
[truth]
hold_expiry_skew = "10s"
{crowd}"#
    );
    let scenario = Scenario::read(&toml, "lies.toml").expect("it is a scenario");
    let authority = Authority::parse(&format!("http://{addr}")).expect("an address");
    let mut options = RunOptions::new(&scenario, Target::Http(authority));
    options.allow_generator_limit = true;
    options.run = Some(name.to_owned());
    run(&scenario, options).expect("the sale can be run").run
}

fn violated(run: &Run) -> Vec<&str> {
    run.violated().map(|check| check.name.as_str()).collect()
}

fn lied(trick: Trick, crowd: &str, units: u32, ttl: &str) -> Run {
    let host = Host::start(Lie::None);
    let liar = Liar::start(host.addr, trick);
    sale(liar.addr, "lies", crowd, units, ttl)
}

/// Without a lie nothing fires, and every check had something to look at.
#[test]
fn an_honest_host_behind_the_proxy_passes() {
    let run = lied(Trick::None, CROWD, FEW, "60ms");
    assert_eq!(violated(&run), [""; 0], "{}", run_text(&run));
    assert_eq!((run.exit.code, run.truth_mask()), (0, 0), "{}", run_text(&run));
    for check in &run.truth {
        let expected = match check.name.as_str() {
            "fifo_inversions" => Verdict::NotChecked,
            _ => Verdict::Holds,
        };
        assert_eq!(check.verdict, expected, "{} {:?}\n{}", check.name, check.why, run_text(&run));
    }
    let fifo = run.truth.iter().find(|check| check.name == "fifo_inversions");
    let why = fifo.and_then(|check| check.why.clone()).unwrap_or_default();
    assert!(why.contains("no waiting line"), "{why}");
}

/// What is lost on the way, repeated or delayed, is no lie: the truth holds.
#[test]
fn loss_repetition_and_delay_are_no_lies() {
    for trick in [Trick::LoseAnswer, Trick::RepeatRequest, Trick::Delay] {
        let run = lied(trick, CROWD, FEW, "60ms");
        assert_eq!(violated(&run), [""; 0], "{trick:?}\n{}", run_text(&run));
        assert_eq!(run.lost_count() > 0, trick == Trick::LoseAnswer, "{}", run_text(&run));
        assert_counts_of_load(&run);
        let settled = &run.settled;
        let asked = (settled.asked, settled.accepted + settled.refused, settled.unknown);
        assert_eq!(asked, (run.lost_count(), run.lost_count(), 0), "{}", run_text(&run));
    }
}

/// What is asked again after the load is no part of its counts: they are those of the answers that
/// were timed.
fn assert_counts_of_load(run: &Run) {
    let timed = |outcome: &str| {
        let mut groups = run.latency.iter();
        let group = groups.find(|group| group.tags().eq([("outcome", outcome)]));
        group.map_or(0, |group| group.intended.count)
    };
    let counts = &run.counts;
    let text = run_text(run);
    assert_eq!(
        (counts.accepted, run.refused_count()),
        (timed("accepted"), timed("refused")),
        "{text}"
    );
    assert_eq!(counts.answered + run.lost_count(), counts.sent, "{text}");
    assert_eq!(counts.status.values().sum::<u64>(), counts.answered, "{text}");
}

/// A request that is still being carried out, or whose answer a gateway swallowed, is asked again:
/// the order behind it is no ghost.
#[test]
fn open_answers_make_no_ghosts() {
    for (trick, code) in [(Trick::InFlight, "idempotency_in_flight"), (Trick::Gateway, "other")] {
        let run = lied(trick, CROWD, FEW, "60ms");
        assert_eq!(violated(&run), [""; 0], "{trick:?}\n{}", run_text(&run));
        let open = run.refused.get(code).copied().unwrap_or(0);
        assert!(open > 0 && run.settled.asked == open, "{trick:?}\n{}", run_text(&run));
        assert_eq!(run.settled.unknown, 0, "{trick:?}\n{}", run_text(&run));
        assert_counts_of_load(&run);
        let gateway = run.counts.status.get(&502).copied().unwrap_or(0);
        assert_eq!(gateway, if trick == Trick::Gateway { open } else { 0 });
    }
}

/// One purchase of which nobody ever hears more is unknown, and so is whether its order is a ghost;
/// all else is known.
#[test]
fn what_stays_unknown_is_told() {
    let run = lied(Trick::Stubborn, BUYERS, MANY, "60ms");
    let text = run_text(&run);
    assert_eq!((violated(&run), run.settled.unknown), (vec![], 1), "{text}");
    let ghosts = run.truth.iter().find(|check| check.name == "ghost_orders").expect("it is there");
    assert_eq!(ghosts.verdict, Verdict::NotChecked, "{text}");
    let why = ghosts.why.clone().unwrap_or_default();
    assert!(why.contains("1 orders belong to no accepted request"), "{why}");
}

/// A shop in which stock moves while it is read is judged at the position of each reading.
#[test]
fn a_shop_that_never_rests_is_judged() {
    let run = lied(Trick::NeverRest, BUYERS, MANY, "60ms");
    assert_eq!(violated(&run), [""; 0], "{}", run_text(&run));
}

/// Units of the hot SKU that are gone soon, and that are never gone.
const FEW: u32 = 150;
const MANY: u32 = 100_000;

/// A lie with what shows it: crowd, units, life of reservations; the check that finds it, and those
/// that it may touch as well.
type Shown = (Trick, &'static str, u32, &'static str, &'static str, &'static [&'static str]);

const LIES: [Shown; 18] = [
    (
        Trick::DoubleUnits,
        CROWD,
        FEW,
        "60ms",
        "oversold",
        &["stock_balance", "customer_limit", "order_whole", "false_sold_out", "undersold"],
    ),
    (Trick::SendAway, BUYERS, MANY, "60ms", "undersold", &["false_sold_out"]),
    (Trick::WrongStock, CROWD, FEW, "60ms", "stock_balance", &[]),
    (
        Trick::RepeatEvent,
        CROWD,
        FEW,
        "60ms",
        "duplicate_orders",
        &["oversold", "stock_balance", "customer_limit", "placed_as_told"],
    ),
    (
        Trick::FalseReceipt,
        CROWD,
        FEW,
        "60ms",
        "lost_acknowledgements",
        &["duplicate_orders", "receipts_identical", "ghost_orders", "late_payments"],
    ),
    (Trick::OtherReceipt, CROWD, FEW, "60ms", "receipts_identical", &[]),
    (Trick::OtherCustomer, CROWD, MANY, "60ms", "customer_limit", &[]),
    (Trick::FalseSoldOut, BUYERS, MANY, "60ms", "false_sold_out", &["undersold"]),
    (Trick::LateExpiry, CROWD, MANY, "60ms", "expiry_skew", &[]),
    (Trick::OtherDeadline, CROWD, MANY, "60ms", "expiry_skew", &[]),
    (Trick::LatePlaced, CROWD, MANY, "60s", "late_payments", &["expiry_skew"]),
    (Trick::RefusePayment, CROWD, MANY, "60s", "late_payments", &[]),
    (Trick::CentOnReceipt, CROWD, FEW, "60ms", "totals_exact", &["receipts_identical"]),
    (Trick::CentOnEvent, CROWD, FEW, "60ms", "totals_exact", &[]),
    (Trick::GhostOrder, CROWD, MANY, "60ms", "ghost_orders", &[]),
    (Trick::ShortOrder, CROWD, MANY, "60ms", "order_whole", &["oversold", "stock_balance"]),
    (Trick::SilentPlace, CROWD, MANY, "60s", "placed_as_told", &[]),
    (Trick::SwapEvents, CROWD, FEW, "60ms", "feed_order", &["oversold", "false_sold_out"]),
];

/// Each lie makes the check fire that is there for it, with evidence and the exit of a violated
/// truth, its bit in the mask, and no check that it has nothing to do with.
fn check_lie(run: &Run, lie: Shown) {
    let (trick, .., name, also) = lie;
    let names = violated(run);
    assert!(names.contains(&name), "{trick:?} gave {names:?}\n{}", run_text(run));
    let touched = |other: &&str| *other == name || also.contains(other);
    assert!(names.iter().all(touched), "{trick:?} gave {names:?}\n{}", run_text(run));
    assert_eq!(run.exit.code, 5, "{trick:?}");
    let check = run.truth.iter().find(|check| check.name == name).expect("it is there");
    assert!(!check.evidence.is_empty() && run.truth_mask() & 1 << check.bit != 0, "{trick:?}");
}

#[test]
fn each_check_fires() {
    for lie in LIES {
        let (trick, crowd, units, ttl, ..) = lie;
        check_lie(&lied(trick, crowd, units, ttl), lie);
    }
}

/// The command `onhand`, where it was built beside these tests or `LOADTEST_HOST_BIN` names it.
struct RealHost {
    child: std::process::Child,
    addr: SocketAddr,
    _data: tempfile::TempDir,
}

impl RealHost {
    fn start() -> Option<Self> {
        let beside = || {
            let here = std::env::current_exe().ok()?;
            let found = here.parent()?.parent()?.join("onhand");
            found.is_file().then_some(found)
        };
        let named = std::env::var_os("LOADTEST_HOST_BIN").map(std::path::PathBuf::from);
        let binary = named.or_else(beside)?;
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let addr = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let mut command = std::process::Command::new(binary);
        command.args(["serve", "--dev", "--listen", &addr.to_string(), "--data"]);
        command.arg(data.path()).stdout(std::process::Stdio::null());
        let child = command.stderr(std::process::Stdio::null()).spawn();
        let mut host = Self { child: child.expect("the host starts"), addr, _data: data };
        while TcpStream::connect(addr).is_err() {
            let ended = host.child.try_wait().expect("the host can be asked");
            assert!(ended.is_none(), "the host ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(host)
    }
}

impl Drop for RealHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same with the real host, where it is built: honest it passes, and each lie is found.
#[test]
fn each_check_fires_before_the_real_host() {
    let Some(host) = RealHost::start() else {
        eprintln!("skipped: no `onhand` beside the tests; build it, or set LOADTEST_HOST_BIN");
        return;
    };
    let tell = |trick: Trick, crowd: &str, units: u32, ttl: &str| {
        let liar = Liar::start(host.addr, trick);
        sale(liar.addr, &format!("{trick:?}"), crowd, units, ttl)
    };
    for trick in [Trick::None, Trick::LoseAnswer, Trick::RepeatRequest] {
        let run = tell(trick, CROWD, FEW, "60ms");
        assert_eq!(violated(&run), [""; 0], "{trick:?}\n{}", run_text(&run));
    }
    for lie in LIES {
        let (trick, crowd, units, ttl, ..) = lie;
        check_lie(&tell(trick, crowd, units, ttl), lie);
    }
}

/// A host without an event feed is told from a liar: what needs the feed is not checked, and the
/// reason stands beside it.
#[test]
fn a_host_without_events_is_not_judged_by_them() {
    let host = Host::start(Lie::None);
    let hidden = Arc::new(Mutex::new(0_u32));
    let proxy = Hiding::start(host.addr, Arc::clone(&hidden));
    let run = sale(proxy, "lies", CROWD, FEW, "60ms");
    assert!(*hidden.lock().unwrap_or_else(PoisonError::into_inner) > 0);
    assert_eq!(run.exit.code, 0, "{}", run_text(&run));
    for check in &run.truth {
        // Who states no prices may have been given others, by a policy that only events name.
        let alone = ["receipts_identical", "duplicate_orders"];
        let expected =
            if alone.contains(&check.name.as_str()) { Verdict::Holds } else { Verdict::NotChecked };
        assert_eq!(check.verdict, expected, "{}", check.name);
    }
    assert!(run.stock.is_none());
}

/// A proxy that knows no events.
struct Hiding;

impl Hiding {
    fn start(upstream: SocketAddr, hidden: Arc<Mutex<u32>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let teller = Arc::new(Teller::new(Trick::None, upstream));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (teller, hidden) = (Arc::clone(&teller), Arc::clone(&hidden));
                std::thread::spawn(move || -> Option<()> {
                    let host = TcpStream::connect(teller.upstream).ok()?;
                    let (mut buyer, mut host) = (BufReader::new(stream), BufReader::new(host));
                    loop {
                        let request = Message::read(&mut buyer)?;
                        let answer = if request.path().starts_with("/v1/events") {
                            *hidden.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                            Message::answer(404, &json!({"status": 404, "code": "not_found"}))
                        } else {
                            teller.tell(request, &mut host)?
                        };
                        answer.write(buyer.get_mut())?;
                    }
                });
            }
        });
        addr
    }
}

/// The proxy's clock is that of the contract.
#[test]
fn times_have_the_form_of_the_contract() {
    assert_eq!(time_text(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(time_text(1_709_164_800_123), "2024-02-29T00:00:00.123Z");
}
