//! A made-up flash sale, second by second: the sample that reports and comparisons are tested on.
//!
//! A queue with one rate of service stands for the shop, so that latency, refusals and stock hang
//! together as in a real run; the host is killed once, and a promise is lost with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use onhand_loadtest::results::interval::{Clock, IntervalLog, Tags, Totals, latencies};
use onhand_loadtest::results::run::{
    ActorShare, Fairness, FaultOutcome, HotSku, Run, SCHEMA, ScenarioFacts, Spectrum, Stage, Stock,
    TargetFacts, Tool, TruthCheck, Verdict,
};
use onhand_loadtest::results::threshold::{Evidence, Threshold};
use onhand_loadtest::results::{Folder, SeriesRow, interval};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
const LENGTH: u64 = 50 * SECOND;
const UNITS: u64 = 9_000;
const LIMIT: u64 = 2;
const TTL: u64 = 9 * SECOND;
/// Requests that the shop may have under way; more wait for a connection.
const CONNECTIONS: u64 = 128;
const ACTORS: [(&str, u64); 5] =
    [("human", 74), ("bot", 12), ("double-clicker", 6), ("abandoner", 5), ("slow-payer", 3)];
const TEXT: &str = include_str!("../data/sample.toml");

/// What differs between samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests that the shop answers in a second.
    pub(crate) capacity: u64,
    /// Whether acknowledged orders are gone after the kill.
    pub(crate) loses: bool,
}

impl Sample {
    /// The shop that forgets what it promised when it is killed.
    pub(crate) const FORGETFUL: Self = Self { capacity: 2_500, loses: true };
    /// A shop that is honest and slower.
    pub(crate) const SLOWER: Self = Self { capacity: 2_100, loses: false };

    /// Makes the run and writes its folder, complete but for its reports.
    pub(crate) fn write(self, parent: &Path, name: &str) -> Folder {
        let folder = Folder::create(parent, name).expect("a new folder");
        let mut shop = Shop::new(self);
        shop.open();
        shop.record(&folder);
        folder
    }
}

/// `SplitMix64`, so that the sample is the same everywhere.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: u64) -> u64 {
        self.bits() % count
    }

    /// Returns a time around `mean` with a long tail, at most 24 times as long.
    fn around(&mut self, mean: u64) -> u64 {
        let unit = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        (mean as f64 * (0.4 - 0.6 * (1.0 - unit).max(1e-17).ln())) as u64
    }
}

/// Users a second at a time: a waiting room, an opening with a spike, a wave when reservations
/// expire, and an ebb.
fn arrivals(at: u64) -> f64 {
    let wave = |start: f64, peak: f64, half: f64| {
        let since = at as f64 / SECOND as f64 - start;
        let rise = (since / 0.4).clamp(0.0, 1.0);
        peak * rise * 0.5_f64.powf(since.max(0.0) / half)
    };
    match at / SECOND {
        0..6 => 60.0 + 15.0 * at as f64 / SECOND as f64,
        6..38 => 90.0 + wave(6.0, 1_900.0, 4.0) + wave(21.0, 700.0, 3.0),
        _ => 60.0,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: u64,
    number: u64,
    user: usize,
    step: u8,
}

struct User {
    actor: usize,
    came: u64,
    served: Option<u64>,
    orders: u64,
}

struct Shop {
    sample: Sample,
    random: Random,
    due: BinaryHeap<Reverse<Due>>,
    users: Vec<User>,
    free_at: u64,
    /// Units free, and units held with the end of the hold.
    free: u64,
    sold: u64,
    held: BinaryHeap<Reverse<(u64, usize)>>,
    gone: HashMap<usize, u64>,
    sold_out_at: Option<u64>,
    rows: Vec<SeriesRow>,
    answers: Vec<(u64, u64)>,
    log: BTreeMap<(u64, Tags), Histogram<u64>>,
    lag: Histogram<u64>,
    run: Run,
}

impl Shop {
    fn new(sample: Sample) -> Self {
        let seconds = LENGTH / SECOND;
        let row = |second| SeriesRow { second, ..SeriesRow::default() };
        Self {
            sample,
            random: Random(7),
            due: BinaryHeap::new(),
            users: Vec::new(),
            free_at: 0,
            free: UNITS,
            sold: 0,
            held: BinaryHeap::new(),
            gone: HashMap::new(),
            sold_out_at: None,
            rows: (0..seconds).map(row).collect(),
            answers: Vec::new(),
            log: BTreeMap::new(),
            lag: latencies(),
            run: Run { schema: SCHEMA, tool: Tool::this(), elapsed_ns: LENGTH, ..Run::default() },
        }
    }

    fn open(&mut self) {
        let mut wanted = 0.0;
        for at in (0..LENGTH - 2 * SECOND).step_by(MILLI as usize) {
            wanted += arrivals(at) / 1_000.0;
            while wanted >= 1.0 {
                wanted -= 1.0;
                self.arrive(at + self.users.len() as u64 * 37 % MILLI);
            }
        }
        let mut last = 0;
        while let Some(Reverse(due)) = self.due.pop() {
            for second in last / SECOND..due.at / SECOND {
                self.end_second(second);
            }
            last = last.max(due.at);
            self.ask(due);
        }
        for second in last / SECOND..LENGTH / SECOND {
            self.end_second(second);
        }
    }

    fn arrive(&mut self, at: u64) {
        let mut draw = self.random.below(100);
        let mut actor = 0;
        while draw >= ACTORS[actor].1 {
            draw -= ACTORS[actor].1;
            actor += 1;
        }
        self.row(at).users += 1;
        self.users.push(User { actor, came: at, served: None, orders: 0 });
        self.push(at, self.users.len() - 1, 0);
    }

    fn push(&mut self, at: u64, user: usize, step: u8) {
        if at < LENGTH - SECOND {
            let number = self.due.len() as u64 + self.answers.len() as u64;
            self.due.push(Reverse(Due { at, number, user, step }));
        }
    }

    fn row(&mut self, at: u64) -> &mut SeriesRow {
        let last = self.rows.len() - 1;
        &mut self.rows[((at / SECOND) as usize).min(last)]
    }

    /// Releases the holds that have ended by now.
    fn expire(&mut self, now: u64) {
        while self.held.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            let Some(Reverse((_, user))) = self.held.pop() else { return };
            if self.gone.remove(&user).is_some() {
                self.free += 1;
            }
        }
    }

    fn end_second(&mut self, second: u64) {
        let end = (second + 1) * SECOND;
        self.expire(end);
        let (free, sold, held) = (self.free, self.sold, self.gone.len() as u64);
        let in_flight = self.answers.iter().filter(|(sent, done)| *sent < end && end <= *done);
        let in_flight = in_flight.count() as u64;
        let Some(row) = self.rows.get_mut(second as usize) else { return };
        (row.available, row.sold, row.reserved) = (Some(free), Some(sold), Some(held));
        row.in_flight = in_flight;
    }

    /// Sends one request and lets the shop answer it.
    fn ask(&mut self, due: Due) {
        let killed = (10 * SECOND, 11 * SECOND + 400 * MILLI);
        let turn = due.at.max(self.free_at);
        let each = SECOND / self.sample.capacity;
        let wait = turn - due.at;
        // So many requests are under way at most; the rest of the wait is for a connection.
        let inside = wait.min(CONNECTIONS * each);
        let sent = due.at + (wait - inside);
        let work = self.random.around(700_000);
        let mut done = turn + work;
        self.free_at = turn + each;
        // What was under way when the host was killed has no answer, and is asked again.
        let under_way = due.at < killed.0 && killed.0 <= done;
        if under_way && self.run.counts.reconnects < CONNECTIONS {
            self.free_at = self.free_at.max(killed.1);
            self.lose(sent.min(killed.0 - 1), killed.0);
            self.push(killed.1 + work, due.user, due.step);
            return;
        }
        if (killed.0..killed.1).contains(&done) {
            self.free_at = self.free_at.max(killed.1);
            done = killed.1 + work;
        }
        self.answer(due, sent, done);
    }

    fn lose(&mut self, sent: u64, at: u64) {
        self.row(sent).sent += 1;
        self.run.counts.sent += 1;
        self.run.counts.reconnects += 1;
        self.row(at).lost += 1;
        *self.run.lost.entry("connection".to_owned()).or_default() += 1;
        self.answers.push((sent, at));
    }

    fn answer(&mut self, due: Due, sent: u64, done: u64) {
        self.expire(done);
        let actor = ACTORS[self.users[due.user].actor].0;
        let think = self.random.around(if actor == "bot" { 4 * MILLI } else { 1_100 * MILLI });
        let (op, refused) = match (actor, due.step) {
            ("human" | "abandoner" | "slow-payer", 0) => ("browse", None),
            ("abandoner" | "slow-payer", 1) => ("reserve", self.reserve(due.user, done)),
            ("slow-payer", 2) => ("place", self.place(due.user, done)),
            ("double-clicker", 1) => ("buy", self.again(due.user)),
            _ => ("buy", self.buy(due.user, done)),
        };
        let next = match (actor, due.step, refused) {
            ("human" | "abandoner" | "slow-payer", 0, _) | ("bot", 0..6, _) => Some(done + think),
            ("slow-payer", 1, None) => Some(done + TTL - 3 * SECOND + 4 * think),
            ("double-clicker", 0, _) => Some(due.at + 90 * MILLI),
            // Some come back when reservations expire.
            ("human", 1, Some("insufficient_stock")) if due.user.is_multiple_of(5) => {
                Some(done + TTL)
            }
            _ => None,
        };
        if let Some(next) = next {
            self.push(next, due.user, due.step + 1);
        }
        self.count(due, (sent, done), op, refused);
    }

    fn count(&mut self, due: Due, (sent, done): (u64, u64), op: &str, refused: Option<&str>) {
        self.answers.push((sent, done));
        self.run.counts.sent += 1;
        self.run.counts.answered += 1;
        self.row(sent).sent += 1;
        let status = if refused.is_some() { 409 } else { 200 };
        *self.run.counts.status.entry(status).or_default() += 1;
        let row = self.row(done);
        match refused {
            None => row.accepted += 1,
            Some(code) => {
                row.refused += 1;
                match code {
                    "insufficient_stock" => row.refused_sold_out += 1,
                    "limit_exceeded" => row.refused_limit += 1,
                    _ => row.refused_other += 1,
                }
                *self.run.refused.entry(code.to_owned()).or_default() += 1;
            }
        }
        if refused.is_none() {
            self.run.counts.accepted += 1;
        }
        let lag = self.random.around(35_000);
        self.lag.record(lag).expect("it is within the bounds");
        if sent == due.at && lag > 450_000 {
            self.row(sent).late += 1;
            self.run.generator.late += 1;
        }
        self.run.generator.backlogged += u64::from(sent > due.at);
        let stage = stages().into_iter().rfind(|stage| stage.from_ns <= due.at);
        let tags = Tags {
            op: op.to_owned(),
            outcome: if refused.is_some() { "refused" } else { "accepted" }.to_owned(),
            stage: stage.map_or(String::new(), |stage| stage.name),
            ..Tags::of(Clock::Intended)
        };
        let service = Tags { clock: Clock::Service, ..tags.clone() };
        for (tags, since) in [(tags, due.at), (service, sent)] {
            let second = (done / SECOND).min(LENGTH / SECOND - 1);
            let histogram = self.log.entry((second, tags)).or_insert_with(latencies);
            histogram.record(done - since).expect("it is within the bounds");
        }
    }

    fn take(&mut self, now: u64) -> bool {
        let there = self.free > 0;
        self.free -= u64::from(there);
        if self.free == 0 {
            self.sold_out_at.get_or_insert(now);
        }
        there
    }

    fn buy(&mut self, user: usize, now: u64) -> Option<&'static str> {
        if self.users[user].orders >= LIMIT {
            return Some("limit_exceeded");
        }
        if !self.take(now) {
            return Some("insufficient_stock");
        }
        self.sell(user, now);
        None
    }

    fn sell(&mut self, user: usize, now: u64) {
        self.sold += 1;
        self.run.counts.orders += 1;
        let user = &mut self.users[user];
        user.orders += 1;
        user.served.get_or_insert(now);
    }

    /// The second of two clicks gets the first one's answer.
    fn again(&mut self, user: usize) -> Option<&'static str> {
        self.run.counts.replayed += 1;
        (self.users[user].orders == 0).then_some("insufficient_stock")
    }

    fn reserve(&mut self, user: usize, now: u64) -> Option<&'static str> {
        if !self.take(now) {
            return Some("insufficient_stock");
        }
        self.gone.insert(user, now);
        self.held.push(Reverse((now + TTL, user)));
        None
    }

    fn place(&mut self, user: usize, now: u64) -> Option<&'static str> {
        if self.gone.remove(&user).is_none() {
            return Some("reservation_expired");
        }
        self.sell(user, now);
        None
    }

    fn record(mut self, folder: &Folder) {
        let started = SystemTime::UNIX_EPOCH + Duration::from_hours(498_659);
        let path = folder.file("latency.hlog");
        let mut log = IntervalLog::create(&path, started).expect("a new log");
        for ((second, tags), histogram) in &self.log {
            let from = Duration::from_secs(*second);
            log.add(tags, from, Duration::from_secs(1), histogram).expect("it is written");
        }
        log.finish().expect("it is complete");
        let totals = Totals::read(&path).expect("it is read back");
        self.percentiles();
        self.facts();
        let (fairness, truth) = (self.fairness(), self.truth());
        let mut run = std::mem::take(&mut self.run);
        run.latency = totals.groups();
        run.counts.users = self.users.len() as u64;
        run.generator.lag = Spectrum::of(&self.lag);
        (run.fairness, run.truth) = (Some(fairness), truth);
        let (put_in, sold, reserved) = (UNITS, self.sold, self.gone.len() as u64);
        let sold_out_at_ns = self.sold_out_at;
        let sku_hot = Some(HotSku { code: "CONSOLE-6".to_owned(), put_in, sold_out_at_ns });
        run.stock = Some(Stock { put_in, sold, reserved, left: self.free, sku_hot });
        let expressions = [
            "truth.oversold == 0",
            "http.5xx == 0",
            "buy.intended.p99 < 2.5s",
            "buy.intended.p99[20s..50s] < 250ms",
            "refused.reservation_expired.share < 1%",
            "fairness.bot_share < 20%",
        ];
        let latencies = interval::LogFile(path);
        for expression in expressions {
            let threshold = Threshold::parse(expression).expect("an expression");
            let evidence = Evidence { run: &run, series: &self.rows, latencies: &latencies };
            let outcome = threshold.evaluate(evidence);
            run.thresholds.push(outcome);
        }
        run.exit = run.judge(false);
        folder.complete(&run, &self.rows).expect("it is written");
        for (name, text) in totals.percentile_files() {
            folder.write(&name, text.as_bytes()).expect("it is written");
        }
    }

    /// Fills the percentiles of each second in.
    fn percentiles(&mut self) {
        for row in &mut self.rows {
            let of = |clock: Clock| {
                let mut sum = latencies();
                let second = self
                    .log
                    .iter()
                    .filter(|((second, tags), _)| *second == row.second && tags.clock == clock);
                second.for_each(|(_, histogram)| sum.add(histogram).expect("equal bounds"));
                let at = |q: f64| (!sum.is_empty()).then(|| sum.value_at_quantile(q) / 1_000);
                (at(0.5), at(0.99))
            };
            (row.intended_p50_us, row.intended_p99_us) = of(Clock::Intended);
            (row.service_p50_us, row.service_p99_us) = of(Clock::Service);
        }
    }

    fn facts(&mut self) {
        let run = &mut self.run;
        "2026-11-20T11:00:00Z".clone_into(&mut run.date);
        run.scenario = ScenarioFacts {
            name: "flash-sale".to_owned(),
            hash: "5f1c9e0b7a3d4482a6e1c07d9b24f3868d1e5a9073bc46f2e8a0d715c93b604e".to_owned(),
            seed: 7,
            text: TEXT.to_owned(),
        };
        let (url, ack) = ("http://127.0.0.1:8080".to_owned(), "group".to_owned());
        run.target = TargetFacts { url, ack, ..TargetFacts::default() };
        run.machine.cores = 2;
        "Example CPU @ 2.50GHz".clone_into(&mut run.machine.cpu);
        "linux 6.12.0".clone_into(&mut run.machine.kernel);
        run.machine.memory_bytes = 24 << 30;
        run.stages = stages();
        run.generator.threads = 1;
        run.generator.connections = CONNECTIONS;
        run.generator.cpu_share = Some(0.31);
        run.generator.host_cpu_share = Some(1.12);
        let action = "kill-host".to_owned();
        let outcome = "killed and started again; answering after 1.40 s".to_owned();
        run.faults =
            vec![FaultOutcome { at_ns: 10 * SECOND, to_ns: Some(11 * SECOND), action, outcome }];
    }

    fn fairness(&self) -> Fairness {
        let wait = |wanted: Option<usize>| {
            let served = self.users.iter().filter(|user| wanted.is_none_or(|a| a == user.actor));
            let mut waits: Vec<u64> =
                served.filter_map(|user| user.served.map(|at| at - user.came)).collect();
            waits.sort_unstable();
            waits.get(waits.len() * 99 / 100).copied()
        };
        let of_actor = |actor: usize| {
            let users = || self.users.iter().filter(move |user| user.actor == actor);
            ActorShare {
                actor: ACTORS[actor].0.to_owned(),
                users: users().count() as u64,
                orders: users().map(|user| user.orders).sum(),
                wait_p99_ns: wait(Some(actor)),
            }
        };
        let by_actor: Vec<ActorShare> = (0..ACTORS.len()).map(of_actor).collect();
        let orders: u64 = by_actor.iter().map(|actor| actor.orders).sum();
        let bot_share = Some(by_actor[1].orders as f64 / orders as f64);
        let mut served: Vec<(u64, u64)> =
            self.users.iter().filter_map(|user| Some((user.came, user.served?))).collect();
        served.sort_unstable();
        let served: Vec<u64> = served.iter().step_by(7).map(|(_, at)| *at).collect();
        let (mut agree, mut pairs) = (0_i64, 0_i64);
        for (at, earlier) in served.iter().enumerate() {
            for later in &served[at + 1..] {
                agree += if later >= earlier { 1 } else { -1 };
                pairs += 1;
            }
        }
        let kendall_tau = Some(agree as f64 / pairs as f64);
        Fairness { kendall_tau, bot_share, by_actor, wait_p99_ns: wait(None) }
    }

    fn truth(&self) -> Vec<TruthCheck> {
        let (orders, answered) = (self.run.counts.orders, self.run.counts.answered);
        let sold_out = self.run.refused.get("insufficient_stock").copied().unwrap_or(0);
        let lost = if self.sample.loses { 3 } else { 0 };
        let checks: [(&str, &str, u64, u64, Option<&str>); 10] = [
            ("oversold", "no unit is promised twice", orders, 0, None),
            ("undersold", "sold, reserved and left add up to what was put in", 1, 0, None),
            (
                "duplicates",
                "a request makes at most one order, however often it is sent",
                orders,
                0,
                None,
            ),
            (
                "lost_acknowledgements",
                "every order that a customer was told of exists",
                orders,
                lost,
                None,
            ),
            (
                "receipts",
                "a request that is sent again gets the same receipt",
                self.run.counts.replayed,
                0,
                None,
            ),
            ("limits", "no customer holds more than the limit", orders, 0, None),
            (
                "false_sold_out",
                "nobody is told \u{201c}sold out\u{201d} while units are there",
                sold_out,
                0,
                None,
            ),
            ("expiry_skew", "reservations end within 50 ms of their deadline", 431, 0, None),
            (
                "totals",
                "each receipt's total is the sum of its lines, to the cent",
                answered,
                0,
                None,
            ),
            (
                "fifo_inversions",
                "who came first is served first",
                0,
                0,
                Some("the host serves no queue, so there is no order to keep"),
            ),
        ];
        let mut found = Vec::new();
        for (bit, (name, claim, checked, violations, why)) in checks.into_iter().enumerate() {
            let mut evidence = Vec::new();
            if violations > 0 {
                evidence.push(
                    "ord_01k9m3v7q2 was acknowledged at 9.98 s and is in no event".to_owned(),
                );
                evidence.push(
                    "ord_01k9m3v7r8 was acknowledged at 9.99 s and is in no event".to_owned(),
                );
                evidence.push(
                    "ord_01k9m3v7rd was acknowledged at 10.00 s and is in no event".to_owned(),
                );
            }
            let verdict = match (why, violations) {
                (Some(_), _) => Verdict::NotChecked,
                (None, 0) => Verdict::Holds,
                (None, _) => Verdict::Violated,
            };
            let (name, claim, why) = (name.to_owned(), claim.to_owned(), why.map(str::to_owned));
            let bit = bit as u8;
            found.push(TruthCheck {
                name,
                claim,
                bit,
                verdict,
                checked,
                violations,
                evidence,
                why,
            });
        }
        found
    }
}

fn stages() -> Vec<Stage> {
    let stage = |name: &str, shape: &str, from: u64, to: u64, rates: (f64, f64)| Stage {
        name: name.to_owned(),
        shape: shape.to_owned(),
        from_ns: from * SECOND,
        to_ns: to * SECOND,
        rate_from: rates.0,
        rate_to: rates.1,
    };
    vec![
        stage("waiting", "ramp", 0, 6, (60.0, 150.0)),
        stage("opening", "flash", 6, 21, (90.0, 1_900.0)),
        stage("second wave", "flash", 21, 38, (90.0, 700.0)),
        stage("ebb", "hold", 38, 50, (60.0, 60.0)),
    ]
}
