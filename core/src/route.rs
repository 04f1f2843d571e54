//! Which shard a cell belongs to.

use crate::command::Placement;
use crate::hash::fold;
use crate::id::{LocationId, SkuId};

/// Seeds of the three kinds of placement: stored data depends on them, so they never change.
const SEEDS: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9];

/// Returns the shard of the cells of a SKU, at a location where the placement is by location.
#[inline]
pub(crate) fn cell_shard(
    placement: Placement,
    sku: SkuId,
    location: LocationId,
    shard_count: u16,
) -> u16 {
    if shard_count == 1 {
        return 0;
    }
    let (seed, value) = match placement {
        Placement::BySku => (SEEDS[0], sku.bits()),
        Placement::ByLocation => (SEEDS[1], u64::from(location.0)),
        Placement::Group(group) => (SEEDS[2], group),
    };
    (fold(value ^ seed, seed) % u64::from(shard_count)) as u16
}
