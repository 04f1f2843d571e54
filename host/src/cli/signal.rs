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
    /// Where a hangup asks for a certificate to be read again; otherwise it ends the process.
    hangup: Option<Signal>,
}

impl Signals {
    /// Starts to listen.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate, hangup: None })
    }

    /// Listens for SIGHUP as well, from now on.
    pub(super) fn listen_for_hangup(&mut self) -> io::Result<()> {
        let _context = self.runtime.enter();
        self.hangup = Some(signal(SignalKind::hangup())?);
        Ok(())
    }

    /// Blocks until the first signal that ends; a second one ends the process with 130.
    /// Meanwhile each hangup calls `renew`.
    pub(super) fn wait(mut self, renew: impl Fn()) {
        while self.next() == Heard::Hangup {
            renew();
        }
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

    fn next(&mut self) -> Heard {
        let Self { runtime, interrupt, terminate, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Heard::End,
                _ = terminate.recv() => Heard::End,
                _ = hung_up => Heard::Hangup,
            }
        })
    }

    fn end_at_next(mut self) {
        std::thread::spawn(move || {
            while self.next() == Heard::Hangup {}
            std::process::exit(INTERRUPTED.into());
        });
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    End,
    Hangup,
}
