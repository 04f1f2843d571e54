//! What goes wrong with the host while the crowd is there: killed, stopped, out of disk.
//!
//! The host is a child of the load tester, started on data of its own. A script runs beside the
//! load and does what the scenario says at its time; when it is over, the host is up again, so that
//! what stayed unanswered can be asked again and the truth be told. Payments that are lost or
//! doubled are no matter of the host; they are in `crowd`.

mod child;
mod disk;
mod host;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(feature = "peers")]
pub(crate) use child::Owned;
pub use child::end_all;
pub use host::HostCommand;

use crate::error::LoadError;
use crate::load::Beside;
use crate::results::run::{FaultOutcome, nanos};
use crate::scenario::{Fault, FaultAction};
use crate::truth::Outage;
use host::Host;

/// How often the script looks whether the load is over.
const NAP: Duration = Duration::from_millis(5);

/// The faults of the host, with the host.
#[derive(Debug)]
pub(crate) struct Script {
    host: Host,
    faults: Vec<Fault>,
    outcomes: Vec<FaultOutcome>,
    outages: Vec<Outage>,
    /// Processor time of the host during the load.
    cpu: Option<Duration>,
}

impl Script {
    /// Starts the host and waits until it answers; `log` takes its output.
    ///
    /// # Errors
    ///
    /// Returns a target error with the end of its output if it does not come up.
    pub(crate) fn start(
        command: HostCommand,
        faults: &[Fault],
        log: &Path,
    ) -> Result<Self, LoadError> {
        let of_host = |fault: &&Fault| fault.action.is_of_host();
        Ok(Self {
            host: command.start(log)?,
            faults: faults.iter().filter(of_host).copied().collect(),
            outcomes: Vec::new(),
            outages: Vec::new(),
            cpu: None,
        })
    }

    /// Does one thing to the host, ends it again, and says what came of it.
    fn put_in(&mut self, fault: Fault, over: &dyn Fn() -> bool) -> Result<String, LoadError> {
        let length = fault.length.or(fault.action.length()).unwrap_or_default();
        let begun = Instant::now();
        let wait = || {
            while begun.elapsed() < length && !over() {
                std::thread::sleep(NAP);
            }
        };
        match fault.action {
            FaultAction::KillHost => {
                self.host.kill();
                wait();
                let restarted = Instant::now();
                self.host.start()?;
                let (away, start) = (begun.elapsed(), restarted.elapsed());
                Ok(format!(
                    "killed; it answered again after {}, {} of it to start",
                    seconds(away),
                    seconds(start)
                ))
            }
            FaultAction::PauseHost => {
                let stopped = self.host.pause();
                wait();
                // A host that has ended by itself can't be resumed; the check at the end says so.
                let resumed = self.host.resume();
                let stood = seconds(begun.elapsed());
                Ok(if stopped && resumed {
                    format!("stood still for {stood}")
                } else {
                    "it had ended".to_owned()
                })
            }
            FaultAction::DiskFull => {
                let taken = self.host.fill()?;
                wait();
                self.host.free()?;
                let full = seconds(begun.elapsed());
                let taken = taken >> 20;
                if self.host.runs() {
                    return Ok(format!("full for {full} ({taken} MiB taken); the host went on"));
                }
                self.host.kill();
                self.host.start()?;
                Ok(format!(
                    "full for {full} ({taken} MiB taken); the host ended and was started again"
                ))
            }
            FaultAction::DropCallbacks | FaultAction::DoubleCallbacks => Ok(String::new()),
        }
    }
}

impl Beside for Script {
    fn run(
        &mut self,
        started: Instant,
        over: &AtomicBool,
        count: &AtomicU64,
    ) -> Result<(), LoadError> {
        let is_over = || over.load(Ordering::Relaxed);
        let before = self.host.cpu();
        for fault in std::mem::take(&mut self.faults) {
            while started.elapsed() < fault.at && !is_over() {
                std::thread::sleep(NAP);
            }
            let action = fault.action.name().to_owned();
            if is_over() {
                let outcome = "not put in: the load was over".to_owned();
                let at_ns = nanos(fault.at);
                self.outcomes.push(FaultOutcome { at_ns, to_ns: None, action, outcome });
                continue;
            }
            count.fetch_add(1, Ordering::Relaxed);
            let (at, from_ms) = (started.elapsed(), now_ms());
            let outcome = self.put_in(fault, &is_over)?;
            self.outages.push(Outage { from_ms, to_ms: now_ms() });
            let (at_ns, to_ns) = (nanos(at), Some(nanos(started.elapsed())));
            self.outcomes.push(FaultOutcome { at_ns, to_ns, action, outcome });
        }
        while !is_over() {
            std::thread::sleep(NAP);
        }
        self.cpu = Some(self.host.cpu().saturating_sub(before));
        self.host.check()
    }

    fn outcomes(&self) -> Vec<FaultOutcome> {
        self.outcomes.clone()
    }

    fn outages(&self) -> Vec<Outage> {
        self.outages.clone()
    }

    fn cpu(&self) -> Option<Duration> {
        self.cpu
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Returns the time in milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
