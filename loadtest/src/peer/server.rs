//! Servers of peers: found on this machine, started in a temporary directory, ended with the run.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Peer, PeerKind, SWEEP_TIME_MAX, postgres, redis};
use crate::drive::runtime;
use crate::error::LoadError;
use crate::fault::Owned;
use crate::load::Beside;
use crate::op::Loss;
use crate::results::run::FaultOutcome;
use crate::truth::Outage;

/// Longest time from the start of a server to its first answer.
const START_MAX: Duration = Duration::from_mins(1);
/// How often a server that starts is asked.
const NAP: Duration = Duration::from_millis(10);
/// How often the shop's worker looks for reservations that are due.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// Time to end by itself.
const END_GRACE: Duration = Duration::from_secs(10);
/// Bytes of the server's output that an error shows.
const SHOWN_BYTES: usize = 1_000;

/// A server of a peer with its shop; it ends when dropped.
#[derive(Debug)]
pub struct PeerServer {
    child: Owned,
    peer: Peer,
    /// Processor time of the server during the load.
    cpu: Option<Duration>,
    dir: tempfile::TempDir,
}

impl PeerServer {
    /// Starts a server for so many connections and makes the shop in it.
    ///
    /// # Errors
    ///
    /// Returns a usage error that names the Debian package where the server is not installed, and a
    /// target error with its last words if it does not come up.
    pub fn start(kind: PeerKind, connections: usize) -> Result<Self, LoadError> {
        let dir = tempfile::Builder::new().prefix("onhand-loadtest-").tempdir();
        let dir = dir.map_err(|e| LoadError::usage(format!("no temporary directory: {e}")))?;
        let account = Account::of(kind)?;
        account.own(dir.path())?;
        let socket = match kind {
            PeerKind::Redis => dir.path().join("redis.sock"),
            PeerKind::Postgres => dir.path().join(".s.PGSQL.5432"),
        };
        let mut command = match kind {
            PeerKind::Redis => redis::server(&program(kind, "redis-server")?, dir.path(), &socket),
            PeerKind::Postgres => {
                let data = dir.path().join("data");
                make_cluster(&account, &data)?;
                postgres::server(&program(kind, "postgres")?, &data, dir.path(), connections)
            }
        };
        account.enter(&mut command);
        let log = File::create(dir.path().join("log"));
        let output = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = output.map_err(|e| LoadError::usage(format!("no log: {e}")))?;
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = Owned::start(&mut command);
        let child = child.map_err(|e| LoadError::target(format!("{}: {e}", kind.name())))?;
        let peer = Peer { kind, socket };
        let mut server = Self { child, peer, cpu: None, dir };
        server.wait()?;
        server.make_shop()?;
        Ok(server)
    }

    /// Returns the way to the shop.
    pub fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// Waits until the server answers.
    fn wait(&mut self) -> Result<(), LoadError> {
        let begun = Instant::now();
        let runtime = runtime()?;
        let mut shop = self.peer.shop();
        // No SKU is there, nor any table; an answer of any kind will do.
        while let Err(loss) = runtime.block_on(shop.ping()) {
            if self.child.ended().is_some() || begun.elapsed() > START_MAX {
                let said = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
                let said = &said[said.len().saturating_sub(SHOWN_BYTES)..];
                let said = String::from_utf8_lossy(said);
                let (name, loss) = (self.peer.kind.name(), loss.name());
                let text = format!("{name} does not come up ({loss}); it said: {}", said.trim());
                return Err(LoadError::target(text));
            }
            shop.socket().disconnect();
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    fn make_shop(&self) -> Result<(), LoadError> {
        let made = runtime()?.block_on(self.peer.shop().make());
        let name = self.peer.kind.name();
        made.map_err(|text| LoadError::target(format!("{name} takes no shop: {text}")))
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        // A fast shutdown for both: no new connections, no waiting for those that are there.
        self.child.end(Signal::INT, END_GRACE);
    }
}

impl Beside for PeerServer {
    fn run(&mut self, _: Instant, over: &AtomicBool, _: &AtomicU64) -> Result<(), LoadError> {
        let before = self.child.cpu();
        let runtime = runtime()?;
        let mut shop = self.peer.shop();
        while !over.load(Ordering::Relaxed) {
            let swept = runtime.block_on(shop.expire(SWEEP_TIME_MAX));
            match swept {
                // More may be due.
                Ok(ended) if ended > 0 => (),
                Ok(_) | Err(Loss::Malformed) => std::thread::sleep(SWEEP_EVERY),
                Err(loss) => return Err(super::lost(loss)),
            }
        }
        self.cpu = Some(self.child.cpu().saturating_sub(before));
        Ok(())
    }

    fn outcomes(&self) -> Vec<FaultOutcome> {
        Vec::new()
    }

    fn outages(&self) -> Vec<Outage> {
        Vec::new()
    }

    fn cpu(&self) -> Option<Duration> {
        self.cpu
    }
}

/// Finds a program on the path, or where Debian puts it.
fn program(kind: PeerKind, name: &str) -> Result<PathBuf, LoadError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(name));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).collect();
    versions.sort();
    let found = on_path.chain(versions.into_iter().rev()).find(|path| path.is_file());
    found.ok_or_else(|| {
        let package = kind.package();
        LoadError::usage(format!("{name} is not installed: apt-get install {package}"))
    })
}

/// Makes the directory of a new cluster.
fn make_cluster(account: &Account, data: &Path) -> Result<(), LoadError> {
    let mut command = Command::new(program(PeerKind::Postgres, "initdb")?);
    // Nobody but this user reaches the socket, so no password is asked.
    command.arg("-D").arg(data).args(["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    command.args(["-U", postgres::USER]).stdin(Stdio::null());
    if let Some(parent) = data.parent() {
        command.current_dir(parent);
    }
    account.enter(&mut command);
    let made = command.output().map_err(|e| LoadError::target(format!("initdb: {e}")))?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr);
    Err(LoadError::target(format!("initdb says: {}", said.trim())))
}

/// The user that a server runs as: `PostgreSQL` refuses to run as root.
struct Account(Option<(u32, u32)>);

impl Account {
    fn of(kind: PeerKind) -> Result<Self, LoadError> {
        if kind == PeerKind::Redis || !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = users.lines().find_map(|line| {
            let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let none = || LoadError::usage("postgres does not run as root, and has no user `postgres`");
        Ok(Self(Some(found.ok_or_else(none)?)))
    }

    /// Gives a directory to the user.
    fn own(&self, dir: &Path) -> Result<(), LoadError> {
        let Some((user, group)) = self.0 else { return Ok(()) };
        let owned = std::os::unix::fs::chown(dir, Some(user), Some(group));
        owned.map_err(|e| LoadError::usage(format!("{} can't be given away: {e}", dir.display())))
    }

    fn enter(&self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }
}
