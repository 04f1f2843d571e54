//! A host that the load tester starts: its command, its address, its data, its output.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::Owned;
use super::disk::Disk;
use crate::error::LoadError;
use crate::http::Authority;

/// Longest time from the start of a host to its first answer; a long journal is read in it.
const START_MAX: Duration = Duration::from_mins(2);
/// How often a host that starts is asked.
const NAP: Duration = Duration::from_millis(5);
/// Time to end by itself after the run.
const END_GRACE: Duration = Duration::from_secs(10);
/// Ports that are tried for a free one.
const PORT_TRIES: u32 = 200;
/// Ports below this one need rights.
const PORT_MIN: u16 = 10_240;
/// Bytes of the host's output that an error shows.
const SHOWN_BYTES: u64 = 2_000;
/// The command of a scenario that names none.
const ORDINARY: [&str; 7] =
    ["onhand", "serve", "--dev", "--listen", "{listen}", "--data", "{data}"];

/// A host to be started: its command with a free address and a new directory for its data.
#[derive(Debug)]
pub struct HostCommand {
    words: Vec<String>,
    addr: SocketAddr,
    disk: Option<Disk>,
    dir: tempfile::TempDir,
}

impl HostCommand {
    /// Prepares a host; `words` are a program and its arguments, in which `{listen}` stands for a
    /// free address, `{port}` for its port and `{data}` for a new directory. `None` is the ordinary
    /// command. `own_disk` puts the data on a small disk of its own, which can be filled.
    ///
    /// # Errors
    ///
    /// Returns a usage error if there is no free port, no directory, or no disk where one is
    /// wanted; it says why.
    pub fn new(words: Option<&[String]>, own_disk: bool) -> Result<Self, LoadError> {
        let ordinary = || ORDINARY.map(str::to_owned).to_vec();
        let dir = tempfile::Builder::new().prefix("onhand-loadtest-").tempdir();
        let dir = dir.map_err(|e| LoadError::usage(format!("no temporary directory: {e}")))?;
        let disk = own_disk.then(|| Disk::make(dir.path())).transpose()?;
        let words = words.map_or_else(ordinary, <[String]>::to_vec);
        Ok(Self { words, addr: free_address()?, disk, dir })
    }

    /// Returns the address that the host will serve.
    pub fn authority(&self) -> Authority {
        Authority::of_addr(self.addr)
    }

    fn data(&self) -> PathBuf {
        let parent = self.disk.as_ref().map_or(self.dir.path(), Disk::path);
        parent.join("data")
    }

    fn command(&self) -> Command {
        let data = self.data();
        let fill = |word: &String| {
            word.replace("{listen}", &self.addr.to_string())
                .replace("{port}", &self.addr.port().to_string())
                .replace("{data}", &data.to_string_lossy())
        };
        let mut words = self.words.iter().map(fill);
        let mut command = Command::new(program(&words.next().unwrap_or_default()));
        command.args(words).stdin(Stdio::null());
        command
    }

    /// Starts the host and waits until it answers; `log` takes its output.
    pub(super) fn start(self, log: &Path) -> Result<Host, LoadError> {
        let opened = OpenOptions::new().create(true).append(true).read(true).open(log);
        let log = opened
            .map_err(|e| LoadError::input(format!("{} can't be written: {e}", log.display())))?;
        let mut host = Host { command: self, child: None, log, gone: Duration::ZERO };
        host.start()?;
        Ok(host)
    }
}

/// Returns the program of a name: `onhand` is the one beside this executable, where there is one.
fn program(name: &str) -> PathBuf {
    let beside = || {
        let found = std::env::current_exe().ok()?.with_file_name(name);
        found.is_file().then_some(found)
    };
    let own = if name == "onhand" { beside() } else { None };
    own.unwrap_or_else(|| PathBuf::from(name))
}

/// Returns a free address on the loopback, outside the ports that the system gives to connections:
/// while a host is away, a connection to such a port might meet itself.
fn free_address() -> Result<SocketAddr, LoadError> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let low = range.ok().and_then(|text| text.split_whitespace().next()?.parse::<u16>().ok());
    let end = low.filter(|low| *low > PORT_MIN).unwrap_or(32_768);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut rng = crate::rng::Rng::of_item(
        since.unwrap_or_default().as_nanos() as u64,
        std::process::id().into(),
    );
    for _ in 0..PORT_TRIES {
        let port = PORT_MIN + rng.below(u64::from(end - PORT_MIN)) as u16;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    Err(LoadError::usage(format!("no free port from {PORT_MIN} to {end} for the host")))
}

/// A host that was started; it ends when dropped.
#[derive(Debug)]
pub(super) struct Host {
    command: HostCommand,
    child: Option<Owned>,
    log: File,
    /// Processor time of those that were killed.
    gone: Duration,
}

impl Host {
    /// Starts the host on its data and waits until it answers.
    ///
    /// # Errors
    ///
    /// Returns a target error with the end of its output if it does not.
    pub(super) fn start(&mut self) -> Result<(), LoadError> {
        let output = || self.log.try_clone().map(Stdio::from);
        let started = output().and_then(|out| {
            let mut command = self.command.command();
            Owned::start(command.stdout(out).stderr(output()?))
        });
        let name = &self.command.words[0];
        let child =
            started.map_err(|e| LoadError::target(format!("{name} can't be started: {e}")))?;
        let child = self.child.insert(child);
        let begun = Instant::now();
        while !answers(self.command.addr) {
            if let Some(status) = child.ended() {
                let text = format!("the host ended while it started ({status})");
                return Err(self.failed(&text));
            }
            if begun.elapsed() > START_MAX {
                let seconds = START_MAX.as_secs();
                return Err(self.failed(&format!("the host does not answer after {seconds} s")));
            }
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    fn failed(&self, what: &str) -> LoadError {
        let said = self.last_words();
        let said = if said.is_empty() { "nothing".to_owned() } else { said };
        LoadError::target(format!("{what}; it said: {said}"))
    }

    /// Returns the end of the host's output.
    fn last_words(&self) -> String {
        let read = || {
            let mut log = self.log.try_clone()?;
            let end = log.seek(SeekFrom::End(0))?;
            log.seek(SeekFrom::Start(end.saturating_sub(SHOWN_BYTES)))?;
            let mut bytes = Vec::new();
            log.take(SHOWN_BYTES).read_to_end(&mut bytes)?;
            std::io::Result::Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        read().unwrap_or_default()
    }

    /// Fails if the host has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), LoadError> {
        let status = self.child.as_mut().and_then(Owned::ended);
        status.map_or(Ok(()), |status| {
            Err(self.failed(&format!("the host ended by itself ({status})")))
        })
    }

    /// Kills the host with all its processes.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.gone += child.cpu();
            child.kill();
        }
    }

    /// Returns whether the host runs.
    pub(super) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.ended().is_none())
    }

    /// Stops the host where it is.
    pub(super) fn pause(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.signal(Signal::STOP))
    }

    /// Lets a stopped host go on.
    pub(super) fn resume(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.signal(Signal::CONT))
    }

    /// Fills the disk of the host and returns how many bytes that took.
    pub(super) fn fill(&self) -> Result<u64, LoadError> {
        let none = || LoadError::usage("disk-full: the host has no disk of its own");
        self.command.disk.as_ref().ok_or_else(none)?.fill()
    }

    /// Gives the disk back what was taken.
    pub(super) fn free(&self) -> Result<(), LoadError> {
        self.command.disk.as_ref().map_or(Ok(()), Disk::free)
    }

    /// Returns the processor time of the host since its first start.
    pub(super) fn cpu(&self) -> Duration {
        self.gone + self.child.as_ref().map_or(Duration::ZERO, Owned::cpu)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.end(Signal::TERM, END_GRACE);
        }
    }
}

/// Returns whether a host is ready: it answers `GET /readyz`, and not that it is busy with starting.
fn answers(addr: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let text = format!("GET /readyz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes())?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        std::io::Result::Ok(head)
    };
    ask().is_ok_and(|head| head.starts_with(b"HTTP/1.") && !head.ends_with(b" 503"))
}
