//! Every bound of the desk: name, unit, default, range.

use std::time::Duration;

use onhand_plugin_runtime::limits::bound;
pub use onhand_plugin_runtime::limits::{Bound, LimitError, check_all};

/// Most baskets that are decided together.
pub const BATCH_MAX: usize = 256;
/// Most fuel that deciding takes on a caller's own thread, by the limits of the plugins that are
/// asked: about a millisecond, and ten of code that is made to be slow. Baskets that may take more
/// go to the desk's threads.
pub const HERE_FUEL_MAX: u64 = 1_000_000;
/// Longest deadline of a plugin that is called on a caller's own thread, in milliseconds: what fuel
/// does not see holds that thread up for so long at most, in each call.
pub const HERE_DEADLINE_MS_MAX: u64 = 250;
/// Most coupons of one basket; further ones are [`AskError::Coupons`](crate::AskError::Coupons).
pub const COUPONS_MAX: usize = onhand_policy::fact::COUPONS_MAX;
/// Most characters of a quote's token: 512 lines and 32 coupons fit.
pub const TOKEN_CHARS_MAX: usize = 16_384;
/// Most examples that a divergence report keeps.
pub const EXAMPLES_MAX: usize = 20;
/// Most shadow batches that wait; a further one is counted and dropped.
pub const SHADOW_QUEUE_MAX: usize = 256;
/// Most lines of the shadow batches that wait, some 50 bytes each; of a request for recommendations,
/// its items and candidates. A batch that would be more is counted and dropped.
pub const SHADOW_LINES_MAX: usize = 1 << 18;
const _: () = assert!(BATCH_MAX * onhand_core::limits::LINES_MAX <= SHADOW_LINES_MAX);
/// Most lines of the inputs of each kind that are kept, some 50 bytes each; of requests for
/// recommendations, their items and candidates. The oldest inputs give way.
pub const RECORDED_LINES_MAX: usize = 1 << 18;
const _: () = assert!(BATCH_MAX * onhand_core::limits::LINES_MAX <= RECORDED_LINES_MAX);
/// Most keys that are remembered, so that a repetition is not counted as another order.
pub const KEYS_MAX: usize = 16_384;
/// Most reserved baskets that are remembered until they are placed; older ones are read again.
pub const RESERVED_MAX: usize = 65_536;
/// Most times that the step is tried which calls a canary back; then health says that it goes on,
/// and its guards judge anew.
pub const CALL_BACK_TRIES: u32 = 60;
/// Pause between two such tries.
pub const CALL_BACK_PAUSE: Duration = Duration::from_secs(1);
/// Most events of the past that recommendations are learned from at the start.
pub const LEARN_EVENTS_MAX: u64 = 20_000_000;
/// Most events of the last day that the fraud check is filled from at the start.
pub const VELOCITY_EVENTS_MAX: u64 = 2_000_000;
/// Most customers whose purchases are remembered for recommendations.
pub const HISTORIES_MAX: usize = 65_536;
/// Most purchases that are remembered of one customer.
pub const HISTORY_MAX: usize = 64;
/// Most candidates that a recommendation plugin is told about.
pub const CANDIDATES_MAX: usize = 512;
/// Most SKUs of a basket that recommendations look at; of more the last are used.
pub const BASKET_MAX: usize = 512;
/// Most recommendations of one request.
pub const PICKS_MAX: usize = onhand_policy::fact::PICKS_MAX as usize;
/// Most bytes of a configuration in TOML.
pub const SETTINGS_BYTES_MAX: usize = 8 << 20;

/// Threads that take baskets from the queue.
pub const THREADS: Bound = bound("threads", "threads", 2, 1, 64);
/// Baskets that may wait in the queue.
pub const QUEUE: Bound = bound("queue_max", "baskets", 4_096, 1, 1 << 20);
/// Inputs of each kind that are kept with their answers, fewer if they are more lines than
/// [`RECORDED_LINES_MAX`]; 0 keeps none.
pub const RECORDED: Bound = bound("recorded_max", "inputs", 1_000, 0, 100_000);
/// Subjects of each kind whose orders the fraud check counts, about 500 bytes each.
pub const SUBJECTS: Bound = bound("subjects_max", "subjects", 65_536, 1, 1 << 24);
/// How long a quote holds.
pub const QUOTE_MS: Bound = bound("quote_ms", "ms", 600_000, 1_000, 86_400_000);
/// How long a purchase under challenge or review is reserved.
pub const REVIEW_MS: Bound =
    bound("review_ms", "ms", 86_400_000, 1, onhand_core::limits::TTL_MS_MAX);

/// Share of the customers, in ten-thousandths.
pub const SHARE: Bound = bound("share_bp", "ten-thousandths", 500, 1, 10_000);
/// Guard of a canary: orders that the plugin fails on.
pub const GUARD_FAILURE: Bound =
    bound("failure_bp", "ten-thousandths of the orders", 100, 0, 10_000);
/// Guard of a canary: how much more or less often it refuses than the one that decides.
pub const GUARD_REFUSAL: Bound =
    bound("refusal_bp", "ten-thousandths of the orders", 500, 0, 10_000);
/// Guard of a canary: how far its mean price is from that of the one that decides.
pub const GUARD_PRICE: Bound = bound("price_bp", "ten-thousandths of list price", 1_000, 0, 10_000);
/// Guard of a canary: time that 99 of 100 of its calls take at most.
pub const GUARD_P99: Bound = bound("p99_us", "us", 20_000, 1, 60_000_000);
/// Window over which guards look back.
pub const GUARD_WINDOW: Bound = bound("window_ms", "ms", 300_000, 1_000, 86_400_000);
/// Least orders on each side before guards judge.
pub const GUARD_SAMPLE: Bound = bound("sample_min", "orders", 100, 1, 1_000_000);
