//! Looks at the stock of the SKU that everybody wants while the load runs, for whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use crate::drive::runtime;
use crate::load::Prepared;
use crate::session::Session;

/// How often somebody looks.
const EVERY: Duration = Duration::from_secs(1);
/// Stands for a stock that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Somebody who looks once a second, until dropped.
pub(crate) struct Lookout {
    left: Arc<AtomicU64>,
    put_in: u64,
    over: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    /// Begins to look at a SKU of a run; `None` if that can't be.
    pub(crate) fn start(mut session: Session, sku: u32, prepared: &Prepared) -> Option<Self> {
        let (left, over) = (Arc::new(AtomicU64::new(UNKNOWN)), Arc::new(Notify::new()));
        let (seen, ended) = (Arc::clone(&left), Arc::clone(&over));
        let catalogue = Arc::clone(&prepared.catalogue);
        let put_in = catalogue.sku(sku).put_in;
        let look = async move {
            loop {
                // A target that does not answer now may do so later.
                let levels = session.stock(&[sku], 0, &catalogue).await.ok();
                let level = levels.as_ref().and_then(|levels| levels.first());
                seen.store(level.map_or(UNKNOWN, |level| level.available), Ordering::Relaxed);
                tokio::time::sleep(EVERY).await;
            }
        };
        let looked = move || {
            if let Ok(runtime) = runtime() {
                runtime.block_on(async {
                    tokio::select! {
                        () = ended.notified() => (),
                        () = look => (),
                    }
                });
            }
        };
        let thread = std::thread::Builder::new().name("lookout".into()).spawn(looked).ok()?;
        Some(Self { left, put_in, over, thread: Some(thread) })
    }

    /// Returns units left and put in, where they are known.
    pub(crate) fn stock(&self) -> Option<(u64, u64)> {
        let left = self.left.load(Ordering::Relaxed);
        (left != UNKNOWN).then_some((left, self.put_in))
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        // The permit stays if nobody waits yet.
        self.over.notify_one();
        if let Some(thread) = self.thread.take() {
            // A look that panicked has told nothing; the run goes on without.
            drop(thread.join());
        }
    }
}
