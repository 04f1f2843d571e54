//! Measures what everybody else notices while a plugin misbehaves: a host of its own process, the
//! plugin of each row of the list of abuses active in it, ordinary customers by schedule, and beside
//! them the victim for whom the plugin misbehaves, or uploads that no host may take.
//!
//! Rounds alternate: alone, abused. Latency counts from the intended start of each purchase.

#[allow(dead_code, reason = "tests look at what this does not")]
#[path = "../../../host/tests/abuse/rows.rs"]
mod rows;
#[path = "../../../plugins/runtime/tests/common/mod.rs"]
mod text;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use onhand_benches::BenchError;
use onhand_benches::machine;
use onhand_benches::summary::{Runs, latencies};
use onhand_core::CustomerId;
use onhand_plugin_bundle::{BundleBuilder, BundleLimits};
use onhand_plugin_runtime::Kind;
use rows::{DEEDS, VICTIM, uploads};
use serde_json::{Value, json};

use crate::AbuseArgs;

/// How long the host may take to start.
const START: Duration = Duration::from_secs(20);
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// One connection that speaks HTTP/1.1.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(addr: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request; returns status and body of its answer.
    fn call(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        body: &str,
    ) -> Result<(u16, String), BenchError> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status.ok_or("no answer")?, String::from_utf8(body)?))
    }

    fn well(&mut self, method: &str, path: &str, body: &Value) -> Result<Value, BenchError> {
        let (status, answer) = self.call(method, path, path, &body.to_string())?;
        if (200..300).contains(&status) {
            return Ok(serde_json::from_str(&answer)?);
        }
        Err(format!("{path}: {status} {answer}").into())
    }

    fn buy(&mut self, key: &str, customer: &str) -> Result<i64, BenchError> {
        let body = json!({"customer": customer, "lines": [{"sku": "mug", "quantity": 1}]});
        let (status, answer) = self.call("POST", "/v1/orders:buy", key, &body.to_string())?;
        let answer: Value = serde_json::from_str(&answer)?;
        match answer["total"]["amount"].as_i64() {
            Some(total) if status == 201 => Ok(total),
            _ => Err(format!("{customer}: {status} {answer}").into()),
        }
    }
}

/// A host in a process of its own, ended with the value.
struct Host {
    process: Child,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Host {
    fn start(arguments: &AbuseArgs) -> Result<Self, BenchError> {
        let dir = tempfile::Builder::new().prefix("onhand-abuse-").tempdir_in(&arguments.data)?;
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(&arguments.host)
            .args(["serve", "--dev", "--listen", &addr.to_string(), "--data"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", arguments.host.display()))?;
        let host = Self { process, addr, _dir: dir };
        let begun = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if begun.elapsed() > START {
                return Err("the host does not start".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut client = Client::connect(addr)?;
        let price = json!({"price": {"amount": 1_000, "currency": "EUR"}});
        client.well("PUT", "/v1/skus/mug", &price)?;
        let stock =
            json!({"type": "receive", "sku": "mug", "location": 1, "quantity": 100_000_000});
        client.well("POST", "/v1/stock/movements", &stock)?;
        Ok(host)
    }

    fn resident_bytes(&self) -> u64 {
        machine::resident_bytes_of(&self.process.id().to_string())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It keeps nothing that is needed again.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is done beside the others' purchases.
enum Abuse {
    /// An active plugin does it when the victim orders.
    Order { wasm: Vec<u8>, limits: String },
    /// It is uploaded again and again while a good plugin decides.
    Upload { bundle: String },
}

fn bundle(wasm: Vec<u8>, limits: &str) -> Result<String, BenchError> {
    use base64::Engine as _;
    let manifest = format!(
        "id = \"acme/villain\"\nversion = \"1.0.0\"\nkind = \"pricing\"\n\
         wit = \"onhand:pricing@1.0.0\"\nlicense = \"Apache-2.0\"\non_failure = \"built_in\"\n\
         [limits]\n{limits}\n"
    );
    let bundle = BundleBuilder::new(&manifest, wasm).build(&BundleLimits::default())?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bundle.bytes()))
}

fn villain(deed: &str, more: &str) -> Result<Vec<u8>, BenchError> {
    let victim = CustomerId::from_text(VICTIM).0 as i64;
    let text = text::bad(deed).with(more).wat();
    Ok(wat::parse_str(text.replace("(i64.const 666)", &format!("(i64.const {victim})")))?)
}

/// Returns every abuse with its row and name.
fn all() -> Result<Vec<(u32, String, Abuse)>, BenchError> {
    let mut all = Vec::new();
    for deed in DEEDS {
        let wasm = villain(deed.text, deed.more)?;
        let abuse = Abuse::Order { wasm, limits: deed.limits.to_owned() };
        all.push((deed.row, deed.name.to_owned(), abuse));
    }
    for upload in uploads(&text::text(Kind::Pricing).wat()) {
        let bundle = bundle(upload.wasm, upload.limits)?;
        all.push((upload.row, format!("upload: {}", upload.name), Abuse::Upload { bundle }));
    }
    Ok(all)
}

/// Measures every abuse.
pub(crate) fn abuse(arguments: &AbuseArgs) -> Result<Value, BenchError> {
    let mut figures = json!({ "machine": machine::describe(), "rate": arguments.rate });
    let mut table = Vec::new();
    for (row, name, abuse) in all()? {
        if !name.contains(&arguments.only) {
            continue;
        }
        let found = measure(arguments, &abuse).map_err(|error| format!("{name}: {error}"))?;
        let Measured { alone, abused, ratio, mispriced, done, grown_bytes } = found;
        eprintln!(
            "| {row} | {name} | {} | {} | {} | {done} | {mispriced} | {:.1} MiB |",
            alone.text(1.0, "ms"),
            abused.text(1.0, "ms"),
            ratio.text(1.0, "x"),
            grown_bytes as f64 / f64::from(1 << 20),
        );
        table.push(json!({
            "row": row,
            "name": name,
            "p99_alone_ms": alone.json(),
            "p99_abused_ms": abused.json(),
            "ratio": ratio.json(),
            "abuses": done,
            "others_mispriced": mispriced,
            "grown_bytes": grown_bytes,
            "load": machine::load(),
        }));
    }
    figures["rows"] = table.into();
    Ok(figures)
}

#[derive(Default)]
struct Measured {
    alone: Runs,
    abused: Runs,
    ratio: Runs,
    /// Purchases of others at another price than the plugin's.
    mispriced: u64,
    /// Misdeeds in all rounds.
    done: u64,
    grown_bytes: u64,
}

fn measure(arguments: &AbuseArgs, abuse: &Abuse) -> Result<Measured, BenchError> {
    let host = Host::start(arguments)?;
    let mut client = Client::connect(host.addr)?;
    let active = match abuse {
        Abuse::Order { wasm, limits } => bundle(wasm.clone(), limits)?,
        Abuse::Upload { .. } => bundle(villain("", "")?, "")?,
    };
    let installed = client.well("POST", "/admin/plugins", &json!({ "bundle": active }))?;
    let path = format!("/admin/plugins/{}/activate", installed["policy"]);
    client.well("POST", &path, &json!({}))?;
    let mut found = Measured::default();
    let one = |run: usize, abuse| part(arguments, &host, &format!("{run}"), abuse);
    one(0, None)?;
    let before = host.resident_bytes();
    for round in 1..=arguments.rounds {
        // What goes first changes, so that a machine that grows slower favours neither.
        let (alone, abused) = if round % 2 == 0 {
            let alone = one(2 * round, None)?;
            (alone, one(2 * round + 1, Some(abuse))?)
        } else {
            let abused = one(2 * round, Some(abuse))?;
            (one(2 * round + 1, None)?, abused)
        };
        let p99 = |part: &Part| part.latency.value_at_quantile(0.99) as f64 / 1e6;
        found.alone.0.push(p99(&alone));
        found.abused.0.push(p99(&abused));
        found.ratio.0.push(p99(&abused) / p99(&alone));
        found.mispriced += alone.mispriced + abused.mispriced;
        found.done += abused.done;
    }
    found.grown_bytes = host.resident_bytes().saturating_sub(before);
    Ok(found)
}

struct Part {
    latency: Histogram<u64>,
    mispriced: u64,
    done: u64,
}

/// Lets the others buy by schedule, and the abuser do what he does beside them.
fn part(
    arguments: &AbuseArgs,
    host: &Host,
    run: &str,
    abuse: Option<&Abuse>,
) -> Result<Part, BenchError> {
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let start = Instant::now() + Duration::from_millis(20);
    let mut all = Part { latency: latencies(), mispriced: 0, done: 0 };
    let others = std::thread::scope(|scope| {
        let other =
            |number| scope.spawn(move || buy_by_schedule(arguments, host, run, number, start));
        let others: Vec<_> = (0..arguments.connections).map(other).collect();
        let (stop, done) = (&stop, &done);
        let abuser = abuse
            .map(|abuse| scope.spawn(move || misbehave(arguments, host, run, abuse, stop, done)));
        let others: Result<Vec<Part>, BenchError> =
            others.into_iter().map(|one| one.join().map_err(|_| "a thread panicked")?).collect();
        stop.store(true, Ordering::Relaxed);
        if let Some(abuser) = abuser {
            abuser.join().map_err(|_| "the abuser panicked")??;
        }
        others
    })?;
    for other in others {
        all.latency.add(&other.latency)?;
        all.mispriced += other.mispriced;
    }
    all.done = done.load(Ordering::Relaxed);
    Ok(all)
}

fn buy_by_schedule(
    arguments: &AbuseArgs,
    host: &Host,
    run: &str,
    number: u64,
    start: Instant,
) -> Result<Part, BenchError> {
    let mut client = Client::connect(host.addr)?;
    let mut part = Part { latency: latencies(), mispriced: 0, done: 0 };
    let each = arguments.connections as f64 / arguments.rate;
    let count = (arguments.seconds / each) as u64;
    let first = number as f64 / arguments.rate;
    for at in 0..count {
        let due = start + Duration::from_secs_f64(first + at as f64 * each);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let total = client.buy(&format!("{run}-{number}-{at}"), &format!("{number} {at}"))?;
        part.latency.saturating_record(due.elapsed().as_nanos() as u64);
        part.mispriced += u64::from(total != 900);
    }
    Ok(part)
}

fn misbehave(
    arguments: &AbuseArgs,
    host: &Host,
    run: &str,
    abuse: &Abuse,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> Result<(), BenchError> {
    let mut client = Client::connect(host.addr)?;
    let pause = Duration::from_secs_f64(1.0 / arguments.abuse_rate);
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match abuse {
            Abuse::Order { .. } => {
                client.buy(&format!("{run}-victim-{at}"), VICTIM)?;
            }
            Abuse::Upload { bundle } => {
                let body = json!({ "bundle": bundle }).to_string();
                let (status, answer) = client.call("POST", "/admin/plugins", "none", &body)?;
                if status != 422 {
                    return Err(format!("{status} {answer}").into());
                }
            }
        }
        at += 1;
        done.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(pause.saturating_sub(begun.elapsed()));
    }
    Ok(())
}
