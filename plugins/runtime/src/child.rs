//! Compiling in a process of its own: what a hostile component can do to a compiler, it does there.
//!
//! The host runs its own executable again. The child puts limits on itself before it reads
//! anything: processor time, address space, no files, no further rights, and the end of the host is
//! its end. It has no environment, no key and no file but three pipes. It gives compiled functions
//! back, which the host hands to the compiler by their keys as it does with those of its cache: a
//! second compilation that has little left to do, and no code that is mapped from outside.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cache::{FILE_BYTES_MAX, Functions, pack, unpack};
use crate::error::{LoadError, explain};
use crate::limits::{COMPILE_ADDRESS_BYTES, COMPILE_MS, MODULE_BYTES};
use crate::runtime::{COMPILE_STACK_BYTES, compile_only};

/// First byte of what the child answers with: compiled functions follow.
const DONE: u8 = 0;
/// First byte of what the child answers with: the compiler's complaint follows.
const REFUSED: u8 = 1;
/// Most bytes of a complaint.
const COMPLAINT_BYTES_MAX: usize = 4_096;

/// Functions by the compiler's keys.
pub(crate) type Known = BTreeMap<Vec<u8>, Vec<u8>>;

/// How a process is started that compiles: an executable that calls [`compile_child`] with its
/// standard input and output, and with the seconds that are given as its last argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerProcess {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments before the seconds.
    pub arguments: Vec<String>,
}

impl CompilerProcess {
    /// Compiles a component until a point in time; returns its functions.
    ///
    /// # Errors
    ///
    /// Returns what the compiler says, or which limit has ended it.
    pub(crate) fn compile(
        &self,
        wasm: &[u8],
        max_ms: u64,
        until: Instant,
    ) -> Result<Known, LoadError> {
        let seconds = max_ms.div_ceil(1_000);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(seconds.to_string()).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let unable = |error: io::Error| {
            LoadError::Compile(format!("the process that compiles it cannot be used: {error}"))
        };
        let mut running = Running(command.spawn().map_err(unable)?);
        let (give, take) = mpsc::sync_channel(1);
        let (input, output) = (running.0.stdin.take(), running.0.stdout.take());
        let wasm = wasm.to_vec();
        let talk = move || {
            // One that has ended early tells by its status, and its pipe is closed.
            drop(input.map(|mut input| input.write_all(&wasm)));
            let mut answer = Vec::new();
            let read =
                output.map(|output| output.take(FILE_BYTES_MAX + 1).read_to_end(&mut answer));
            drop(give.send(read.is_some_and(|read| read.is_ok()).then_some(answer)));
        };
        let name = "onhand-plugin-compile-pipe".to_owned();
        thread::Builder::new().name(name).spawn(talk).map_err(unable)?;
        let left = until.saturating_duration_since(Instant::now());
        let Ok(answer) = take.recv_timeout(left) else {
            return Err(LoadError::CompileTime { max_ms });
        };
        let status = running.end(until).map_err(unable)?;
        let Some(status) = status else { return Err(LoadError::CompileTime { max_ms }) };
        judge(answer.as_deref().unwrap_or_default(), status, seconds)
    }
}

fn judge(answer: &[u8], status: ExitStatus, seconds: u64) -> Result<Known, LoadError> {
    let refuse = |why: String| Err(LoadError::Compile(why));
    if answer.len() as u64 > FILE_BYTES_MAX {
        return refuse(format!("its compiled code is larger than {FILE_BYTES_MAX} bytes"));
    }
    if !status.success() {
        let how = how(status);
        let memory = COMPILE_ADDRESS_BYTES >> 20;
        return refuse(format!(
            "the process that compiles it was ended {how}; it has {seconds} s of processor time \
             and {memory} MiB of memory: make the component smaller"
        ));
    }
    match answer.split_first() {
        Some((&DONE, body)) => match unpack(body) {
            Some(known) => Ok(known),
            None => {
                refuse("the process that compiles it gave an answer that cannot be read".into())
            }
        },
        Some((&REFUSED, text)) => {
            let text = &text[..text.len().min(COMPLAINT_BYTES_MAX)];
            refuse(String::from_utf8_lossy(text).into_owned())
        }
        _ => refuse("the process that compiles it gave no answer".to_owned()),
    }
}

fn how(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("by signal {signal}");
    }
    match status.code() {
        Some(code) => format!("with code {code}"),
        None => "without a code".to_owned(),
    }
}

/// A child that does not outlive its parent's interest in it.
struct Running(Child);

impl Running {
    /// Waits for the end of a child that has closed its output; `None` if that takes too long.
    fn end(&mut self, until: Instant) -> io::Result<Option<ExitStatus>> {
        /// How often it is looked at: it has nothing left to do.
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is only waited for; neither can fail in a way that matters here.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Compiles what stands on the standard input, within limits that the calling process puts on
/// itself for good, and writes the compiled functions to its output: what the executable of a
/// [`CompilerProcess`] does.
///
/// # Errors
///
/// Returns a limit that cannot be set, or a pipe that is closed. That the compiler refuses the
/// component is an answer.
pub fn compile_child(
    seconds: u64,
    input: &mut impl Read,
    output: &mut impl Write,
) -> io::Result<()> {
    confine(seconds.clamp(1, COMPILE_MS.max / 1_000))?;
    let mut wasm = Vec::new();
    input.take(MODULE_BYTES.max + 1).read_to_end(&mut wasm)?;
    let thread = thread::Builder::new()
        .name("onhand-plugin-compile".to_owned())
        .stack_size(COMPILE_STACK_BYTES)
        .spawn(move || answer(&wasm))?;
    let gave_up = |_| complaint("the compiler gave up on it");
    let answer = thread.join().unwrap_or_else(gave_up);
    output.write_all(&answer)?;
    output.flush()
}

fn complaint(why: &str) -> Vec<u8> {
    [&[REFUSED], why.as_bytes()].concat()
}

fn answer(wasm: &[u8]) -> Vec<u8> {
    let functions = Arc::new(Functions::default());
    functions.begin(Known::default());
    let compiled = compile_only(&functions, wasm);
    let made = functions.end();
    match compiled {
        Ok(()) => {
            let mut answer = vec![DONE];
            pack(&made.used, &mut answer);
            answer
        }
        Err(error) => complaint(&explain(&error)),
    }
}

/// Niceness of a process that compiles: everybody else goes first.
#[cfg(target_os = "linux")]
const LEAST_PRIORITY: i32 = 19;

#[cfg(target_os = "linux")]
fn confine(seconds: u64) -> io::Result<()> {
    use rustix::process::{
        DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    };
    let limits = [
        (Resource::Cpu, seconds),
        (Resource::As, COMPILE_ADDRESS_BYTES),
        (Resource::Core, 0),
        // Neither can a file grow nor another one be opened.
        (Resource::Fsize, 0),
        (Resource::Nofile, 0),
    ];
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Where memory or processors are short it is this process that goes and waits, not the shop.
    // Neither is a condition: a container may forbid them.
    std::fs::write("/proc/self/oom_score_adj", "1000").ok();
    rustix::process::setpriority_process(None, LEAST_PRIORITY).ok();
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn confine(_seconds: u64) -> io::Result<()> {
    let why = "a process that compiles can be confined on Linux only";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}
