//! What the machine says of itself: load, processor, memory of this process.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Returns the resident memory of this process in bytes; 0 where `/proc` does not tell.
pub fn resident_bytes() -> u64 {
    resident_bytes_of("self")
}

/// Returns the same of another process, by its id.
pub fn resident_bytes_of(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Returns processor, cores, kernel and the load average at this moment.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model.map_or("", |rest| rest.trim_start_matches([' ', '\t', ':'])),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": kernel.trim(),
        "load": load(),
    })
}

/// Returns the load average over the last minute; 0 where `/proc` does not tell.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Time that this process has spent on processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Seconds of all threads, those that have ended too, to 10 ms.
    pub all: f64,
    /// Seconds of the living threads that apply commands.
    pub shards: f64,
}

impl CpuTime {
    /// Returns the time until now; zeros where `/proc` does not tell.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name may hold spaces; fields count from the parenthesis behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let shard = tasks.map(|task| task.path()).filter(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|c| c.starts_with("onhand-shard"))
        });
        let nanos = |path: std::path::PathBuf| {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0)
        };
        Self { all: (ticks(12) + ticks(13)) / 100.0, shards: shard.map(nanos).sum::<f64>() / 1e9 }
    }

    /// Returns nanoseconds an order since `before`: of all threads, and of the shards alone.
    pub fn nanos_each(self, before: Self, orders: u64) -> [f64; 2] {
        let each = |now: f64, before: f64| (now - before) * 1e9 / orders.max(1) as f64;
        [each(self.all, before.all), each(self.shards, before.shards)]
    }
}

/// Bytes of frames in a journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameBytes {
    /// Headers and payloads.
    pub written: u64,
    /// The same with the padding to whole blocks.
    pub padded: u64,
}

/// Adds up the frames of a journal directory, as `docs/JOURNAL_FORMAT.md` lays them out.
///
/// # Errors
///
/// Returns what the file system says.
pub fn frame_bytes(journal: &Path) -> std::io::Result<FrameBytes> {
    const BLOCK: usize = 4_096;
    const HEADER: usize = 128;
    let mut sum = FrameBytes::default();
    for entry in fs::read_dir(journal)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(path)?;
        // The first block is the segment's own header.
        let mut at = BLOCK;
        while at + HEADER <= bytes.len() && bytes[at..at + 4] == *b"OHJF" {
            let mut length = [0; 4];
            length.copy_from_slice(&bytes[at + 32..at + 36]);
            let frame = HEADER + u32::from_le_bytes(length) as usize;
            let padded = frame.next_multiple_of(BLOCK);
            sum.written += frame as u64;
            sum.padded += padded as u64;
            at += padded;
        }
    }
    Ok(sum)
}
