//! Signals that end a command: the first asks it to finish, the second ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::INTERRUPTED;

/// Listens for SIGINT and SIGTERM from now on.
pub(super) struct Signals {
    runtime: tokio::runtime::Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts to listen.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Blocks until the first signal; a second one ends the process with 130.
    pub(super) fn wait(mut self) {
        self.next();
        self.end_at_next();
    }

    /// Sets a flag at the first signal; a second one ends the process with 130.
    pub(super) fn set(mut self, flag: Arc<AtomicBool>) {
        std::thread::spawn(move || {
            self.next();
            flag.store(true, Ordering::SeqCst);
            self.end_at_next();
        });
    }

    fn next(&mut self) {
        let Self { runtime, interrupt, terminate } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        });
    }

    fn end_at_next(mut self) {
        std::thread::spawn(move || {
            self.next();
            std::process::exit(INTERRUPTED.into());
        });
    }
}
