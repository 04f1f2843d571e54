//! The clock is right: before a server that stalls on purpose, latency from the intended start is
//! what the arithmetic of the schedule says, however fast or slow this machine is.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use onhand_loadtest::results::run::LatencyGroup;
use onhand_loadtest::scenario::Scenario;
use onhand_loadtest::{Authority, RunOptions, Target, run, run_text};

use crate::common::{Host, Lie};
use crate::liar::Message;

/// How long the server answers no order after the first one came.
const STALL: Duration = Duration::from_millis(600);
/// Users a second, and for how long.
const RATE: u64 = 200;
const USERS: u64 = 200;

/// Passes everything on, but answers no order until [`STALL`] after the first.
fn stalling(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    let first: Arc<OnceLock<Instant>> = Arc::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let first = Arc::clone(&first);
            std::thread::spawn(move || -> Option<()> {
                let host = TcpStream::connect(upstream).ok()?;
                let (mut buyer, mut host) = (BufReader::new(stream), BufReader::new(host));
                loop {
                    let request = Message::read(&mut buyer)?;
                    if request.path() == "/v1/orders:buy" {
                        let over = *first.get_or_init(Instant::now) + STALL;
                        std::thread::sleep(over.saturating_duration_since(Instant::now()));
                    }
                    request.write(host.get_mut())?;
                    Message::read(&mut host)?.write(buyer.get_mut())?;
                }
            });
        }
    });
    addr
}

/// The request that is due `d` after the start can't be answered before the stall is over, so it
/// waits at least `STALL - d`: with 200 requests at 200/s and a stall of 600 ms, at least
/// `(600 - x) / 5 + 1` of them wait `x` ms or more, and that bounds every percentile from below.
#[test]
fn a_stall_shows_in_every_percentile_that_it_reaches() {
    let host = Host::start(Lie::None);
    let toml = format!(
        r#"
schema = 1
[target]
connections = 4
[stock]
skus = 0
[arrivals]
shape = "uniform"
[[stage]]
shape = "hold"
rate = "{RATE}/s"
for = "1s"
[actor.buyer]
flow = ["buy"]
"#
    );
    let scenario = Scenario::read(&toml, "stall.toml").expect("it is a scenario");
    let url = format!("http://{}", stalling(host.addr));
    let authority = Authority::parse(&url).expect("an address");
    let mut options = RunOptions::new(&scenario, Target::Http(authority));
    options.allow_generator_limit = true;
    let run = run(&scenario, options).expect("the run can be made").run;
    assert_eq!((run.counts.users, run.counts.sent), (USERS, USERS), "{}", run_text(&run));
    let all: &LatencyGroup = run.latency_all().expect("there are answers");
    let (intended, service) = (&all.intended, &all.service);
    // A histogram is exact to three digits.
    let at_least = |what: &str, nanos: u64, millis: u64| {
        let wanted = millis * 1_000_000 * 999 / 1_000;
        assert!(nanos >= wanted, "{what} is {nanos} ns, {millis} ms are certain");
    };
    let certain = |quantile: f64| {
        // The value with this share of requests at or below it: so many above it are certain.
        let above = USERS - (quantile * USERS as f64).ceil() as u64;
        (STALL.as_millis() as u64).saturating_sub(above * 1_000 / RATE)
    };
    assert_eq!((certain(0.5), certain(0.9), certain(0.99)), (100, 500, 590));
    at_least("p50", intended.p50_ns, certain(0.5));
    at_least("p90", intended.p90_ns, certain(0.9));
    at_least("p99", intended.p99_ns, certain(0.99));
    at_least("max", intended.max_ns, 600);
    // Four connections wait out the stall; every later request waits for one of them, which is
    // no service time: the sum of the two clocks says how much a closed loop would have hidden.
    let waited = intended.mean_ns.saturating_sub(service.mean_ns) * intended.count;
    let in_line: u64 = (4..120).map(|number| 600 - number * 1_000 / RATE).sum();
    at_least("waiting in line", waited * 1_001 / 1_000, in_line * 99 / 100);
    for (intended, service) in [
        (intended.p50_ns, service.p50_ns),
        (intended.p99_ns, service.p99_ns),
        (intended.max_ns, service.max_ns),
    ] {
        assert!(intended >= service);
    }
}
