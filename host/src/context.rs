//! What all handlers of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use onhand_core::{Clock as _, CustomerId, Engine, SkuId, SystemClock};
use onhand_desk::{Desk, Recommendations};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::problem::Problem;
use crate::server::{ServerConfig, drained};
use crate::telemetry::Telemetry;

/// Most reads at a time that may block a thread: archived orders, explanations, events, imports.
pub(crate) const BLOCKING_MAX: usize = 64;
/// Most recommendations at a time that ask a plugin; a further one is the built-in list.
pub(crate) const RECOMMENDING_MAX: usize = 16;
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
    blocking: Arc<Semaphore>,
    recommending: Arc<Semaphore>,
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
            blocking: Arc::new(Semaphore::new(BLOCKING_MAX)),
            recommending: Arc::new(Semaphore::new(RECOMMENDING_MAX)),
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

    /// Runs what may block, or take its time, on a thread of its own, at most [`BLOCKING_MAX`] at a
    /// time.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let overloaded = || {
            Problem::new("overloaded", format!("more than {BLOCKING_MAX} reads wait for the disk"))
        };
        let engine = Arc::clone(&self.engine);
        let started = off_thread(&self.blocking, move || work(&engine)).ok_or_else(overloaded)?;
        started.await.map_err(|_| Problem::new("internal", "a read did not come to its end"))
    }

    /// Recommends: by the plugin that decides, if there is one, a thread is free for it and it
    /// answers within its deadline, else by the built-in list. Never fails.
    pub(crate) async fn recommend(
        self: &Arc<Self>,
        now_ms: u64,
        customer: CustomerId,
        basket: Vec<SkuId>,
        limit: usize,
    ) -> Recommendations {
        let deadline = match self.desk.recommend_quick(now_ms, customer, &basket, limit) {
            Ok(found) => return found,
            Err(deadline) => deadline,
        };
        let (ctx, asked) = (Arc::clone(self), basket.clone());
        let work = move || ctx.desk.recommend(now_ms, customer, &asked, limit);
        if let Some(started) = off_thread(&self.recommending, work)
            && let Ok(Ok(found)) = tokio::time::timeout(deadline, started).await
        {
            return found;
        }
        self.desk.recommend_built_in(customer, &basket, limit)
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

/// Runs work on a thread of its own if a permit is free.
///
/// The work holds its permit to its end: a caller who goes away frees no thread.
fn off_thread<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    let permit = Arc::clone(permits).try_acquire_owned().ok()?;
    Some(tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    }))
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use onhand_core::{
        Command, Currency, CustomerId, DefineSku, Engine, Key, LocationId, LotId, Money, Placement,
        Quantity, Receive, SkuId, SkuKind,
    };
    use onhand_desk::{Desk, DeskConfig};
    use onhand_plugin_bundle::{BundleBuilder, BundleLimits};
    use onhand_plugin_runtime::{Runtime, RuntimeConfig};
    use tokio::sync::{Semaphore, watch};

    use super::{BLOCKING_MAX, Context, RECOMMENDING_MAX, off_thread};
    use crate::server::ServerConfig;
    use crate::telemetry::Telemetry;

    /// A shop with one mug, whose recommendations a plugin makes within a deadline.
    fn shop(deadline_ms: u32) -> Arc<Context> {
        let (engine, _) = Engine::in_memory().open().expect("an engine");
        let mug = SkuId::from_code("MUG").expect("a code");
        let define = DefineSku {
            key: Key::from_text("define"),
            code: "MUG".to_owned(),
            kind: SkuKind::Goods,
            price: Money::new(10_00, Currency::EUR).expect("in range"),
            placement: Placement::BySku,
            limit: None,
            components: Vec::new(),
        };
        let receive = Receive {
            key: Key::from_text("receive"),
            sku: mug,
            location: LocationId(1),
            lot: LotId(0),
            quantity: Quantity::ONE,
        };
        for command in [Command::DefineSku(Box::new(define)), Command::Receive(receive)] {
            let done = engine.execute(command).expect("an engine");
            assert!(done.outcome.is_ok());
        }
        let engine = Arc::new(engine);
        let config = DeskConfig {
            runtime: Some(Runtime::new(RuntimeConfig::default()).expect("a runtime")),
            dev: true,
            ..DeskConfig::default()
        };
        let desk = Desk::open(Arc::clone(&engine), config).expect("a desk");
        let wasm = include_bytes!("../../plugins/samples/built/item-to-item.wasm");
        let manifest = format!(
            "id = \"acme/pairs\"\nversion = \"1.0.0\"\nkind = \"recommend\"\n\
             wit = \"onhand:recommend@1.0.0\"\nlicense = \"Apache-2.0\"\n\n\
             [limits]\ndeadline_ms = {deadline_ms}\n"
        );
        let bundle = BundleBuilder::new(&manifest, wasm.to_vec()).build(&BundleLimits::default());
        let policy = desk.install(bundle.expect("a bundle").bytes(), "").expect("installed").no;
        desk.activate(policy).expect("activated");
        let telemetry = Telemetry::new().expect("telemetry");
        let config = ServerConfig::default();
        let (_, draining) = watch::channel(false);
        Arc::new(Context::new(engine, desk, config, telemetry, draining, [0; 16]))
    }

    /// Returns how many SKUs are recommended, and whether a policy was asked.
    async fn known(ctx: &Arc<Context>) -> (usize, bool) {
        while ctx.desk.metrics().skus_known == 0 {
            tokio::task::yield_now().await;
        }
        let mug = SkuId::from_code("MUG").expect("a code");
        let found = ctx.recommend(0, CustomerId(1), Vec::new(), 3).await;
        assert!(found.list.iter().all(|one| one.sku == mug));
        (found.list.len(), found.policy.is_some())
    }

    /// Nor do they wait for a plugin beyond its deadline: the built-in list answers, and the late
    /// call keeps its permit to its end and no longer.
    #[test]
    fn recommendations_do_not_wait_for_a_late_plugin() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let ctx = shop(1);
            let (end, until) = mpsc::channel::<()>();
            // The one thread there is, so that the plugin is not asked before its deadline is over.
            let busy = tokio::task::spawn_blocking(move || until.recv().ok());
            assert_eq!(known(&ctx).await, (1, false));
            assert_eq!(ctx.recommending.available_permits(), RECOMMENDING_MAX - 1);
            end.send(()).expect("it waits");
            busy.await.expect("it ends");
            let all = ctx.recommending.acquire_many(RECOMMENDING_MAX as u32).await;
            assert!(all.is_ok());
        });
    }

    /// Recommendations never fail: where no thread is free to ask the plugin the built-in list
    /// answers, and reads that wait for the disk keep none from being asked.
    #[test]
    fn recommendations_are_there_without_a_permit() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let ctx = shop(60_000);
            let known = || known(&ctx);
            let reads = Arc::clone(&ctx.blocking).acquire_many_owned(BLOCKING_MAX as u32).await;
            assert_eq!(known().await, (1, true));
            let asking = Arc::clone(&ctx.recommending);
            let asking = asking.acquire_many_owned(RECOMMENDING_MAX as u32).await;
            assert_eq!(known().await, (1, false));
            assert!(reads.is_ok() && asking.is_ok());
        });
    }

    /// A permit is free again when the work has come to its end, not when its caller goes away.
    #[test]
    fn work_holds_its_permit_to_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let permits = Arc::new(Semaphore::new(1));
        let (end, until) = mpsc::channel::<()>();
        let (ended, has_ended) = mpsc::channel::<()>();
        runtime.block_on(async {
            let started = off_thread(&permits, move || {
                // Dropped when the work ends; the permit is given back right after it.
                let _ended = ended;
                until.recv().ok();
            });
            drop(started.expect("a permit is free"));
            assert_eq!(permits.available_permits(), 0, "its caller went away");
            assert!(off_thread(&permits, || ()).is_none());
            end.send(()).expect("it runs");
            assert!(has_ended.recv().is_err());
            let next = permits.acquire().await;
            assert!(next.is_ok());
        });
    }
}
