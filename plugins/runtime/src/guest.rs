//! What one instance has of the host: its memory limits, and the log with its budget.

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{ResourceLimiter, StoreContextMut, StoreLimits, StoreLimitsBuilder, Trap};

use crate::error::plain;
use crate::kind::Kind;
use crate::limits::{LOG_FUEL, LOG_LINE_BYTES, Limits, MEMORIES_PER_INSTANCE, TABLES_PER_INSTANCE};

/// One line that a plugin has logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 0 error, 1 warning, 2 information, 3 detail; other numbers as they came.
    pub level: u32,
    /// Text in one line, control characters escaped, at most
    /// [`LOG_LINE_BYTES`](crate::limits::LOG_LINE_BYTES).
    pub text: String,
}

/// Memory and tables of one instance: what it may have, and the most that it had.
pub(crate) struct Room {
    limits: StoreLimits,
    pub(crate) memory_bytes: u64,
    pub(crate) table_elements: u64,
}

impl ResourceLimiter for Room {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = self.limits.memory_growing(current, desired, maximum)?;
        if grows {
            self.memory_bytes = self.memory_bytes.max(desired as u64);
        }
        Ok(grows)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = self.limits.table_growing(current, desired, maximum)?;
        if grows {
            self.table_elements = self.table_elements.max(desired as u64);
        }
        Ok(grows)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}

/// State of one instance on the host's side.
pub(crate) struct Guest {
    pub(crate) room: Room,
    host_calls_left: u64,
    lines_left: u64,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) dropped: u64,
}

impl Guest {
    pub(crate) fn new(limits: &Limits, core_instances: u64) -> Self {
        let limits = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes as usize)
            .table_elements(limits.table_elements as usize)
            .instances(core_instances as usize)
            .memories(MEMORIES_PER_INSTANCE as usize)
            .tables(TABLES_PER_INSTANCE as usize)
            .build();
        let room = Room { limits, memory_bytes: 0, table_elements: 0 };
        Self { room, host_calls_left: 0, lines_left: 0, lines: Vec::new(), dropped: 0 }
    }

    /// Returns how often a call has called the host so far.
    pub(crate) fn host_calls(&self, limits: &Limits) -> u64 {
        limits.host_calls - self.host_calls_left
    }

    /// Gives a call its budget.
    pub(crate) fn refill(&mut self, limits: &Limits) {
        self.host_calls_left = limits.host_calls;
        self.lines_left = limits.log_lines;
    }
}

/// The plugin has called the host more often than it may.
#[derive(Debug)]
pub(crate) struct HostCallsSpent;

impl std::fmt::Display for HostCallsSpent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("host calls spent")
    }
}

impl std::error::Error for HostCallsSpent {}

/// Takes a line: counts it, charges it, and keeps it while there is room.
fn log(
    mut store: StoreContextMut<'_, Guest>,
    (level, message): (u32, WasmStr),
) -> wasmtime::Result<()> {
    let guest = store.data_mut();
    let Some(left) = guest.host_calls_left.checked_sub(1) else {
        return Err(wasmtime::Error::new(HostCallsSpent));
    };
    guest.host_calls_left = left;
    let keep = guest.lines_left > 0;
    let message = message.to_str(&store)?;
    let cost = LOG_FUEL + message.len() as u64;
    let text = keep.then(|| plain(&message, LOG_LINE_BYTES));
    let fuel = store.get_fuel()?;
    if fuel < cost {
        store.set_fuel(0)?;
        return Err(wasmtime::Error::new(Trap::OutOfFuel));
    }
    store.set_fuel(fuel - cost)?;
    let guest = store.data_mut();
    if let Some(text) = text {
        guest.lines_left -= 1;
        guest.lines.push(LogLine { level, text });
    } else {
        guest.dropped += 1;
    }
    Ok(())
}

/// Returns all that a plugin of a kind may import.
pub(crate) fn linker(engine: &wasmtime::Engine, kind: Kind) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance(&kind.log_import())?.func_wrap("log", log)?;
    Ok(linker)
}
