//! Every bound of the engine, in one place.

/// Most lines in one basket.
pub const LINES_MAX: usize = 512;
/// Most components of one kit.
pub const KIT_COMPONENTS_MAX: usize = 32;
/// Most movements that one record may carry; a basket that would need more is refused.
pub const MOVEMENTS_MAX: usize = 4_096;
/// Most entries of one import command.
pub const IMPORT_LINES_MAX: usize = 1_000;
/// Most commands in one submitted batch.
pub const BATCH_COMMANDS_MAX: usize = 8_192;
/// Most shards of one engine.
pub const SHARDS_MAX: u16 = 64;
/// Most cells of one shard: a cell number has 24 bits of index, the last one is reserved.
pub const CELLS_PER_SHARD_MAX: usize = (1 << 24) - 1;
/// Most SKUs of one engine.
pub const SKUS_MAX: usize = 1 << 24;
/// Most live orders of one shard: a slot number has 32 bits, one is reserved.
pub const ORDERS_PER_SHARD_MAX: usize = u32::MAX as usize - 1;
/// Longest time to live of a reservation: 30 days.
pub const TTL_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Longest hard cap of a reservation, extensions included: 60 days.
pub const HARD_CAP_MS_MAX: u64 = 60 * 24 * 3_600_000;
/// Most promises that one count may break, an order's line each; a larger gap is counted in steps.
pub const BREAKS_MAX: usize = 1_024;
/// Most changes of one order: its version has 16 bits in memory.
pub const ORDER_VERSION_MAX: u32 = u16::MAX as u32;
/// Most policies of one engine: pairs of plugin and configuration.
pub const POLICIES_MAX: usize = 4_096;
/// Most steps of all policies together.
pub const POLICY_STEPS_MAX: usize = 65_535;
/// Longest name of a policy in bytes.
pub const POLICY_NAME_BYTES_MAX: usize = 64;
/// Longest version of a policy in bytes.
pub const POLICY_VERSION_BYTES_MAX: usize = 32;
/// Longest note of a policy's step in bytes.
pub const POLICY_NOTE_BYTES_MAX: usize = 255;
/// Largest share of a canary: all customers, in ten-thousandths.
pub const POLICY_SHARE_MAX: u16 = 10_000;
/// Most points of a fraud policy.
pub const POLICY_POINTS_MAX: u16 = 1_000;
/// Most reservations that one batch expires before it goes on; time stands still until all that
/// are due have expired, so this bounds a pause, not correctness.
pub const EXPIRIES_PER_STEP_MAX: usize = 1_024;

const _: () = assert!(POLICIES_MAX <= u16::MAX as usize && POLICY_STEPS_MAX <= u16::MAX as usize);
const _: () = assert!(LINES_MAX <= u16::MAX as usize);
const _: () = assert!(MOVEMENTS_MAX * 12 * 2 + LINES_MAX * 28 + 192 <= u32::MAX as usize);
