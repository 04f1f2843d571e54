//! `onhand demo`: a flash sale on this machine through real HTTP, and the truth about it.

mod picture;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use onhand_core::{Engine, EngineBuilder, OpenReport};
use onhand_desk::{Desk, DeskConfig};
use onhand_loadtest::scenario::{Scenario, Setting};
use onhand_loadtest::{Authority, LoadReport, RunOptions, Target};
use onhand_verify::{Options, Report};

use self::picture::Picture;
use super::serve::close;
use super::signal::Signals;
use super::{DONE, FAILED, Failure, INTERRUPTED, UNTRUE, note};
use crate::server::{Server, ServerConfig};

const EXAMPLES: &str = "\
Examples:
  onhand demo                               five seconds of sale, in a temporary directory
  onhand demo --seconds 30 --data shop      keep the data directory
  onhand demo --stay                        serve the shop afterwards, to play with
  onhand demo --json | jq .truth            for a script

What it does: starts an engine with its journal on disk and a host on a free port of 127.0.0.1,
stocks a catalogue with one hot SKU (limited to 2 a customer), lets buyers in who click twice, walk
away and fill baskets that can't be had, and compares every answer with the host's events.
Then it closes the engine and lets the independent verifier read the journal from the first record.
Exit codes: 0 every truth holds, 1 failed, 5 a truth is violated, 130 interrupted.";

/// How long the host may take to finish what is in flight.
const DRAIN: Duration = Duration::from_secs(10);

/// Arguments of `onhand demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Length of the sale
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Data directory to use and keep [default: a temporary one, removed]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve the shop afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Units of the hot SKU
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    stock: u32,
    /// Connections of the buyers
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    connections: u32,
    /// Shards of the engine [default: those of the data directory, or 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// Seed of the buyers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object; progress goes to standard error
    #[arg(long)]
    json: bool,
}

/// The sale, as a scenario of the load tester.
const SALE: &str = include_str!("sale.toml");
/// SKUs beside the hot one, as the scenario says.
const SKUS: u32 = 300;

/// Where the demo keeps its data.
enum Home {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// What the sale told of itself.
struct Sale {
    load: LoadReport,
    /// What the codes of its SKUs begin with.
    run: String,
    /// Code of the hot SKU.
    hot_sku: String,
}

/// What the demo found out.
struct Outcome {
    sale: Sale,
    verified: Result<Report, onhand_verify::Failure>,
    journal_bytes: u64,
    drained: bool,
}

impl Outcome {
    fn holds(&self) -> bool {
        self.sale.load.truth_holds() && self.verified.is_ok() && self.drained
    }
}

/// Runs the demo.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    Signals::listen()?.set(Arc::clone(&stop));
    let home = match &arguments.data {
        Some(dir) => Home::Kept(dir.clone()),
        None => Home::Temporary(tempfile::Builder::new().prefix("onhand-demo-").tempdir()?),
    };
    let picture = Picture::new(arguments.json);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], arguments.port)))
        .map_err(|e| Failure::new(FAILED, format!("127.0.0.1:{}: {e}", arguments.port)))?;
    let (engine, opened) = open(home.path(), arguments.shards)?;
    let (server, engine) = start(listener, engine)?;
    let addr = server.addr();
    picture.begin(arguments, addr, &home, &opened);
    let sale = sell(arguments, addr, &engine, &stop, &picture);
    picture.loaded();
    let drained = server.drain(DRAIN).finished;
    let journal_bytes = engine.metrics().journal_bytes;
    close(engine)?;
    let sale = sale?;
    picture.verifying();
    let verified = onhand_verify::verify(home.path(), Options::default());
    let outcome = Outcome { sale, verified, journal_bytes, drained };
    picture.result(arguments, &outcome);
    let code = if !outcome.holds() {
        UNTRUE
    } else if stop.load(Ordering::SeqCst) {
        INTERRUPTED
    } else {
        DONE
    };
    if code != DONE || !arguments.stay {
        picture.farewell(&home, &outcome);
        return Ok(code);
    }
    stay(arguments, &home, addr, &outcome, &stop, &picture)
}

fn open(dir: &Path, shards: Option<u16>) -> Result<(Engine, OpenReport), Failure> {
    let builder = Engine::builder(dir);
    let builder = shards.into_iter().fold(builder, EngineBuilder::shards);
    Ok(builder.open()?)
}

/// Serves an engine to this machine, without keys.
fn start(listener: TcpListener, engine: Engine) -> Result<(Server, Arc<Engine>), Failure> {
    let engine = Arc::new(engine);
    let config = ServerConfig { open_writes: true, ..ServerConfig::default() };
    // Nobody asks the demo for recommendations, so that nothing is learned beside the sale.
    let desk = DeskConfig { learn: false, ..DeskConfig::default() };
    let desk = Desk::open(Arc::clone(&engine), desk).map_err(std::io::Error::other)?;
    let server = Server::start(listener, None, Arc::clone(&engine), desk, config)?;
    Ok((server, engine))
}

/// Lets the buyers in and checks the truth.
fn sell(
    arguments: &Arguments,
    addr: SocketAddr,
    engine: &Engine,
    stop: &Arc<AtomicBool>,
    picture: &Picture,
) -> Result<Sale, Failure> {
    let failed = |e: onhand_loadtest::LoadError| Failure::new(FAILED, e.to_string());
    let settings = [
        Setting::new(&["stage", "0", "for"], format!("{}s", arguments.seconds)),
        Setting::new(&["stock", "hot_units"], i64::from(arguments.stock)),
        Setting::new(&["target", "connections"], i64::from(arguments.connections)),
    ];
    let scenario = Scenario::read_with(SALE, "sale.toml", &settings).map_err(failed)?;
    let authority = Authority::parse(&format!("http://{addr}")).map_err(failed)?;
    let mut options = RunOptions::new(&scenario, Target::Http(authority));
    options.load.seed = arguments.seed;
    options.load.stop = Arc::clone(stop);
    options.load.progress = Some(picture.progress());
    // A second sale in a kept directory needs names of its own.
    let run = match engine.durable_seq() {
        0..=FRESH_SEQ_MAX => "sale".to_owned(),
        seq => format!("sale-{seq}"),
    };
    options.run = Some(run.clone());
    let outcome = onhand_loadtest::run(&scenario, options).map_err(failed)?;
    let load = outcome.report.ok_or_else(|| Failure::new(FAILED, "the sale told nothing"))?;
    let hot_sku = load.hot.as_ref().map_or_else(String::new, |(code, _)| code.clone());
    Ok(Sale { load: *load, run, hot_sku })
}

/// Highest position of a data directory that nothing was sold from yet.
const FRESH_SEQ_MAX: u64 = 64;

/// Opens the shop again, as after a restart, and serves it until a signal.
fn stay(
    arguments: &Arguments,
    home: &Home,
    addr: SocketAddr,
    outcome: &Outcome,
    stop: &AtomicBool,
    picture: &Picture,
) -> Result<u8, Failure> {
    let listener = TcpListener::bind(addr)
        .map_err(|e| Failure::new(FAILED, format!("{addr} can't be served again: {e}")))?;
    let (engine, opened) = open(home.path(), arguments.shards)?;
    let (server, engine) = start(listener, engine)?;
    picture.stay(server.addr(), home, outcome, &opened);
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50));
    }
    note("\nclosing\n");
    let finished = server.drain(DRAIN).finished;
    close(engine)?;
    Ok(if finished { DONE } else { FAILED })
}
