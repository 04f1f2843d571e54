//! What all handlers of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use onhand_core::{Clock as _, Engine, SystemClock};
use onhand_desk::Desk;
use tokio::sync::{Semaphore, watch};

use crate::problem::Problem;
use crate::server::{ServerConfig, drained};
use crate::telemetry::Telemetry;

/// Most reads at a time that may block a thread: archived orders, explanations, events, imports.
pub(crate) const BLOCKING_MAX: usize = 64;
/// How often a waiting read looks at the durable position.
const SEQ_LOOK_EVERY: Duration = Duration::from_millis(2);

/// Returns the time at which policies decide, in milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    SystemClock.now().millis()
}

/// What all handlers of one server share.
pub(crate) struct Context {
    pub(crate) engine: Arc<Engine>,
    pub(crate) desk: Desk,
    pub(crate) config: ServerConfig,
    pub(crate) telemetry: Telemetry,
    pub(crate) draining: AtomicBool,
    /// Turns true when the server drains; waiting reads then answer at once.
    pub(crate) drain: watch::Receiver<bool>,
    /// Names this run of the server in the request ids that it makes.
    nonce: [u8; 16],
    requests: AtomicU64,
    blocking: Semaphore,
    waiting: AtomicUsize,
    in_flight: AtomicUsize,
}

impl Context {
    pub(crate) fn new(
        engine: Arc<Engine>,
        desk: Desk,
        config: ServerConfig,
        telemetry: Telemetry,
        drain: watch::Receiver<bool>,
        nonce: [u8; 16],
    ) -> Self {
        Self {
            engine,
            desk,
            config,
            telemetry,
            draining: AtomicBool::new(false),
            drain,
            nonce,
            requests: AtomicU64::new(0),
            blocking: Semaphore::new(BLOCKING_MAX),
            waiting: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn begin(&self) -> Counted<'_> {
        Counted::new(&self.in_flight)
    }

    /// Returns how many requests are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Makes a request id that no other request of this run has.
    pub(crate) fn request_id(&self) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(24);
        id.push_str("req_");
        let run = u64::from_be_bytes([0, 0, 0, 0, 0, self.nonce[0], self.nonce[1], self.nonce[2]]);
        for (value, digits) in [(run, 6), (number, 12)] {
            for place in (0..digits).rev() {
                id.push(char::from(HEX[(value >> (place * 4) & 15) as usize]));
            }
        }
        id
    }

    /// Returns 128 bits that no other request of any run has, for a write without a key.
    pub(crate) fn fresh_bits(&self) -> u128 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.nonce);
        hasher.update(&self.requests.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        u128::from_be_bytes(bits)
    }

    /// Runs what may block, or take its time, on a thread of its own, at most [`BLOCKING_MAX`] at a time.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.blocking.try_acquire().map_err(|_| {
            Problem::new("overloaded", format!("more than {BLOCKING_MAX} reads wait for the disk"))
        })?;
        let engine = Arc::clone(&self.engine);
        let done = tokio::task::spawn_blocking(move || work(&engine)).await;
        drop(permit);
        done.map_err(|_| Problem::new("internal", "a read did not come to its end"))
    }

    /// Waits until the durable position is at least `seq`; `false` if the time ran out first.
    pub(crate) async fn reached(&self, seq: u64, wait: Duration) -> Result<bool, Problem> {
        if self.engine.durable_seq() >= seq {
            return Ok(true);
        }
        let _waiting = Counted::new(&self.waiting);
        let max = self.config.waiting_max;
        if self.waiting.load(Ordering::Relaxed) > max {
            return Err(Problem::new("overloaded", format!("more than {max} reads wait")));
        }
        let mut drain = self.drain.clone();
        let look = async {
            while self.engine.durable_seq() < seq {
                tokio::time::sleep(SEQ_LOOK_EVERY).await;
            }
        };
        Ok(tokio::select! {
            () = look => true,
            () = tokio::time::sleep(wait) => false,
            () = drained(&mut drain) => false,
        })
    }
}

/// Counts one up, and down again when dropped, also where the client has left.
pub(crate) struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(counter: &'c AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
