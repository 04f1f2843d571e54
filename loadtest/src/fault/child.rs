//! Processes that the load tester starts: each leads a group of its own, and none outlives it.
//!
//! A group is ended when its owner is dropped, so also after an error or a panic, and by
//! [`end_all`] before the process leaves at once. Only a load tester that is itself killed can't
//! clean up.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often a process is asked whether it has ended.
const NAP: Duration = Duration::from_millis(5);

/// What must be cleaned up before the process leaves.
#[derive(Default)]
struct Open {
    groups: Vec<Pid>,
    mounts: Vec<PathBuf>,
}

static OPEN: Mutex<Option<Open>> = Mutex::new(None);

fn open() -> MutexGuard<'static, Option<Open>> {
    // The lists are valid between any two statements.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every process that was started and takes every disk back; for those who leave at once.
pub fn end_all() {
    let Some(Open { groups, mounts }) = open().take() else { return };
    for group in groups {
        let _ = kill_process_group(group, Signal::KILL);
    }
    mounts.iter().for_each(|mount| unmount_now(mount));
}

/// Notes a mounted disk, so that [`end_all`] takes it back.
pub(super) fn note_mount(mount: &Path) {
    open().get_or_insert_default().mounts.push(mount.to_owned());
}

/// Takes a disk back.
pub(super) fn unmount(mount: &Path) {
    open().get_or_insert_default().mounts.retain(|noted| noted != mount);
    unmount_now(mount);
}

fn unmount_now(mount: &Path) {
    // Lazily: who still has a file open keeps it, and the name is free at once.
    let _ = Command::new("umount").arg("-l").arg(mount).status();
}

/// A process with its group.
#[derive(Debug)]
pub(crate) struct Owned {
    child: Child,
    group: Pid,
    status: Option<ExitStatus>,
    /// Whether the group was killed: its number may be another's by now.
    over: bool,
}

impl Owned {
    /// Starts a command as the leader of a new group.
    ///
    /// # Errors
    ///
    /// The program can't be started.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = Pid::from_child(&child);
        open().get_or_insert_default().groups.push(group);
        Ok(Self { child, group, status: None, over: false })
    }

    /// Returns how the process has ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Sends a signal to the group, unless its leader has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        self.ended().is_none() && kill_process_group(self.group, signal).is_ok()
    }

    /// Kills the group and waits for its leader.
    pub(crate) fn kill(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        // Also when the leader has ended: others of the group may be left.
        let _ = kill_process_group(self.group, Signal::KILL);
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
        open().get_or_insert_default().groups.retain(|group| *group != self.group);
    }

    /// Asks the leader to end by a signal, and kills the group if it has not within `grace`.
    pub(crate) fn end(&mut self, signal: Signal, grace: Duration) {
        let asked = Instant::now();
        // What stands still hears nothing.
        if self.signal(signal) && self.signal(Signal::CONT) {
            while self.ended().is_none() && asked.elapsed() < grace {
                std::thread::sleep(NAP);
            }
        }
        self.kill();
    }

    /// Returns the processor time of the process and of all that descend from it.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of_tree(self.group.as_raw_nonzero().get())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sums the processor time of a process and its descendants; what the system does not tell is 0.
///
/// Source: `proc_pid_stat(5)`: fields 4 (parent) and 14 to 17 (own time and that of children
/// waited for), in clock ticks.
fn cpu_of_tree(root: i32) -> Duration {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut ticks: HashMap<i32, u64> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let text = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything, so what follows its end is read.
        let fields: Vec<&str> =
            text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse().ok());
        let parent = number(4).and_then(|parent: u64| i32::try_from(parent).ok()).unwrap_or(0);
        children.entry(parent).or_default().push(pid);
        ticks.insert(pid, (14..=17).filter_map(number).sum());
    }
    let (mut sum, mut left) = (0, vec![root]);
    // A process has one parent, so each is taken once.
    while let Some(pid) = left.pop() {
        sum += ticks.remove(&pid).unwrap_or(0);
        left.extend(children.remove(&pid).unwrap_or_default());
    }
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(sum.saturating_mul(1_000_000_000) / per_second)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// A group ends with its owner, the children of its leader included.
    #[test]
    fn a_group_ends_with_its_owner() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut owned = Owned::start(&mut command).expect("a shell is there");
        let mut said = io::BufReader::new(owned.child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        io::BufRead::read_line(&mut said, &mut line).expect("the shell says the number");
        let sleeper = PathBuf::from(format!("/proc/{}/stat", line.trim()));
        assert!(owned.ended().is_none() && sleeper.exists());
        assert!(owned.signal(Signal::STOP), "it can be paused");
        drop(owned);
        // It is gone, or dead and waits for somebody to ask how it ended.
        let begun = Instant::now();
        loop {
            let stat = std::fs::read_to_string(&sleeper).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{stat}");
        }
    }

    /// Processor time of a process is found where it is burnt: in a child.
    #[test]
    fn processor_time_is_summed_over_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'while :; do :; done' & wait"]);
        let owned = Owned::start(&mut command).expect("a shell is there");
        let begun = Instant::now();
        while owned.cpu().is_zero() {
            assert!(begun.elapsed() < Duration::from_mins(1), "a loop takes no processor time");
        }
    }
}
