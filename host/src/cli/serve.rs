//! `onhand serve`: opens the engine, serves it, drains it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use onhand_core::{Engine, OpenReport};
use onhand_plugin_runtime::CompilerProcess;

use super::signal::Signals;
use super::style::span;
use super::{COMPILE_COMMAND, DONE, FAILED, Failure, INTERRUPTED, note, say};
use crate::config::{HostConfig, Origin, SETTINGS, Settings};
use crate::log;
use crate::server::Server;
use crate::tls::Tls;

const EXAMPLES: &str = "\
Examples:
  onhand serve --dev --data shop                 without keys, on 127.0.0.1:8080
  ONHAND_API_KEYS=blake3:... onhand serve --data shop --listen 0.0.0.0:8080
  onhand serve --config onhand.toml --set engine.shards=4
  onhand serve --dev --data shop --set tls.cert=shop.pem --set tls.key=shop-key.pem
  onhand serve --dev --print-config              every setting, its value and where it is from

Then, in another terminal:
  curl -X PUT localhost:8080/v1/skus/mug --json '{\"price\":{\"amount\":1299,\"currency\":\"EUR\"}}'
  curl localhost:8080/v1/stock/movements -H 'Idempotency-Key: r1' \\
       --json '{\"type\":\"receive\",\"sku\":\"mug\",\"location\":1,\"quantity\":100}'
  curl localhost:8080/v1/orders:buy -H 'Idempotency-Key: o1' \\
       --json '{\"customer\":\"ann\",\"lines\":[{\"sku\":\"mug\",\"quantity\":2}]}'

Settings come from defaults, then --config FILE (TOML), then ONHAND_SECTION__NAME, then flags.
SIGHUP reads tls.cert and tls.key again, where they are set.
SIGTERM or SIGINT drains: /readyz turns red, requests in flight finish, the engine closes, exit 0.
A second signal ends at once with 130; what was acknowledged is on disk either way.";

/// Arguments of `onhand serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory; made where absent [default: onhand-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to serve [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Second address; takes /metrics and /admin/plugins off the first
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Take writes without a key; only on a loopback address
    #[arg(long)]
    dev: bool,
    /// Shards, 1 to 64, fixed when the data directory is made [default: those it has, or 1]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Threads that serve HTTP [default: one a core, at most 8]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Any other setting, such as `limits.connections_max=1000`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print every setting with its value and origin, and exit
    #[arg(long)]
    print_config: bool,
    /// With --print-config: print JSON
    #[arg(long, requires = "print_config")]
    json: bool,
}

impl Arguments {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        if let Some(file) = &self.config {
            settings.file(file)?;
        }
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        settings.environment(std::env::vars_os().filter_map(text))?;
        let mut flag = |key: &str, value: Option<String>| match value {
            Some(value) => settings.set(key, value, Origin::Flag(format!("--{key}"))),
            None => Ok(()),
        };
        let data = self.data.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        flag("data", data)?;
        flag("listen", self.listen.clone())?;
        flag("admin", self.admin.clone())?;
        flag("dev", self.dev.then(|| "true".to_owned()))?;
        flag("workers", self.workers.clone())?;
        if let Some(shards) = &self.shards {
            let origin = Origin::Flag("--shards".to_owned());
            settings.set("engine.shards", shards.clone(), origin)?;
        }
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Failure::new(super::USAGE, format!("--set is \"{pair}\", not KEY=VALUE"))
            })?;
            settings.set(key.trim(), value.trim().to_owned(), Origin::Flag("--set".to_owned()))?;
        }
        Ok(settings)
    }
}

/// Serves until a signal.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let settings = arguments.settings()?;
    if arguments.print_config {
        print(&settings, arguments.json);
        settings.check()?;
        return Ok(DONE);
    }
    let config = settings.check()?;
    let mut signals = Signals::listen()?;
    if config.server.tls.is_some() {
        signals.listen_for_hangup()?;
    }
    let listener = bind(&config.listen)?;
    let admin = config.admin.as_ref().map(bind).transpose()?;
    let (engine, report) = config.engine.builder(&config.data).open()?;
    tell_open(&config.data, &report);
    let engine = Arc::new(engine);
    let compiler = Some(compiler());
    let desk =
        config.plugins.open(&engine, &config.data, config.dev, compiler).map_err(|error| {
            Failure::new(FAILED, format!("plugins: {error}"))
                .help("--set plugins.enabled=false serves without plugins")
        })?;
    let server = Server::start(listener, admin, Arc::clone(&engine), desk, config.server.clone())?;
    tell_serving(&server, &config);
    signals.wait(|| renew(config.server.tls.as_deref()));
    log::event("draining", &[("timeout", &span(config.drain_timeout))]);
    let drained = server.drain(config.drain_timeout);
    close(engine)?;
    log::event("closed", &[("finished", if drained.finished { "all" } else { "not all" })]);
    Ok(if drained.finished { DONE } else { INTERRUPTED })
}

/// Reads the certificate again, as the operator has asked for.
fn renew(tls: Option<&Tls>) {
    let Some(tls) = tls else { return };
    let cert = tls.cert().display().to_string();
    match tls.renew() {
        Ok(()) => log::event("certificate_renewed", &[("cert", &cert)]),
        Err(error) => {
            let error = error.to_string();
            log::event("certificate_not_renewed", &[("cert", &cert), ("error", &error)]);
        }
    }
}

/// Returns how this executable is run again to compile a plugin.
fn compiler() -> CompilerProcess {
    // The link leads to the very program that runs, also after an update has put another one in its
    // place: both must make the same code. Where it does not exist an upload is refused, and nothing
    // else is missing.
    let program = PathBuf::from("/proc/self/exe");
    CompilerProcess { program, arguments: vec![COMPILE_COMMAND.to_owned()] }
}

fn bind(address: &std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|e| {
        Failure::new(FAILED, format!("{address} can't be served: {e}"))
            .help("choose another address with --listen, or port 0 for a free one")
    })
}

/// Closes an engine that a server has given back.
pub(super) fn close(engine: Arc<Engine>) -> Result<(), Failure> {
    match Arc::try_unwrap(engine) {
        Ok(engine) => Ok(engine.close()?),
        Err(shared) => {
            // A read that blocks still holds it; the journal is whole without the last flush.
            shared.begin_close();
            Ok(())
        }
    }
}

fn tell_open(data: &std::path::Path, report: &OpenReport) {
    let mut fields = vec![
        ("data", data.display().to_string()),
        ("created", report.created.to_string()),
        ("checkpoint", report.checkpoint.map_or("none".to_owned(), |seq| seq.to_string())),
        ("commands_replayed", report.commands_replayed.to_string()),
        ("durable_seq", report.durable_seq.to_string()),
        ("live_orders", report.live_orders.to_string()),
        ("clean", report.clean.to_string()),
        ("took", span(report.elapsed)),
    ];
    if let Some(torn) = &report.torn_tail {
        let (file, offset, bytes) = (torn.file.display(), torn.offset, torn.bytes);
        fields.push(("torn_tail", format!("{bytes} bytes of {file} from byte {offset} dropped")));
    }
    fields.extend(report.notes.iter().map(|text| ("note", text.clone())));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
    log::event("opened", &fields);
}

fn tell_serving(server: &Server, config: &HostConfig) {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", server.addr());
    let admin = server.admin_addr().map_or("same".to_owned(), |addr| format!("http://{addr}"));
    let keys = if config.dev { "none needed (--dev)" } else { "needed for writes" };
    log::event("serving", &[("address", &address), ("admin", &admin), ("keys", keys)]);
    if config.server.tls.is_none() && !config.listen.ip().is_loopback() {
        note(
            "onhand: this address speaks plain HTTP; set tls.cert and tls.key, or put TLS in \
             front of it\n",
        );
    }
}

fn print(settings: &Settings, json: bool) {
    let shown = settings.shown();
    if json {
        let mut out = crate::wire::encode::Writer::new();
        out.open();
        for (key, value, origin) in &shown {
            out.open_in(key);
            out.text("value", value);
            out.text("origin", origin);
            out.close();
        }
        out.close();
        say(&(String::from_utf8_lossy(&out.into_bytes()).into_owned() + "\n"));
        return;
    }
    let width = shown.iter().map(|(key, value, _)| key.len() + value.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value, origin) in &shown {
        let pad = " ".repeat(width - key.len() - value.len());
        let help = SETTINGS.iter().find(|s| s.key == *key).map_or("", |s| s.help);
        let _ = writeln!(text, "{key} = {value}{pad}  # {origin}; {help}");
    }
    say(&text);
}
