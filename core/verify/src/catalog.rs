//! SKUs: fixed fields, what each shard knows of them, and the totals per SKU.

use crate::bucket::{Bucket, CELL_SLOTS};
use crate::bytes::u32_at;
use crate::failure::{Check, broken, demand};
use crate::fast_hash::FastMap;
use crate::record::{Define, KIT, QUANTITY_MAX};

/// Placement group of SKUs that are placed by location.
const BY_LOCATION: u64 = 1;

/// What one shard knows of a SKU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View {
    /// 0: not defined in this shard yet.
    pub(crate) version: u32,
    pub(crate) limit: u32,
    pub(crate) price: i64,
}

/// Units of one SKU over all cells, and what went in and out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) units: [u64; CELL_SLOTS],
    pub(crate) on_hand: u64,
    pub(crate) received: u64,
    pub(crate) adjusted_in: u64,
    pub(crate) adjusted_out: u64,
    pub(crate) shipped: u64,
    pub(crate) written_off: u64,
    pub(crate) link: u64,
    /// Lowest total of available units since the first unit came in; `None` before.
    pub(crate) available_min: Option<u64>,
}

impl Totals {
    /// Moves units between buckets and accounts, then checks conservation (I3).
    pub(crate) fn apply(&mut self, from: Bucket, to: Bucket, units: u64) -> Check {
        match from {
            Bucket::Supplier => self.received += units,
            Bucket::Adjust => self.adjusted_in += units,
            Bucket::Link => {
                demand!(
                    self.link >= units,
                    "I3",
                    "{units} units leave LINK, which holds {} of this SKU",
                    self.link
                );
                self.link -= units;
            }
            _ => {}
        }
        if let Some(slot) = from.slot() {
            self.units[slot] -= units;
        }
        match to {
            Bucket::Adjust => self.adjusted_out += units,
            Bucket::Shipped => self.shipped += units,
            Bucket::WriteOff => self.written_off += units,
            Bucket::Link => self.link += units,
            _ => {}
        }
        if let Some(slot) = to.slot() {
            self.units[slot] += units;
        }
        if from.is_on_hand() {
            self.on_hand -= units;
        }
        if to.is_on_hand() {
            self.on_hand += units;
        }
        let available = self.units[Bucket::Available as usize];
        match &mut self.available_min {
            Some(min) => *min = available.min(*min),
            None if to == Bucket::Available => self.available_min = Some(available),
            None => {}
        }
        self.check_conservation()
    }

    /// Checks `O + X + SHIPPED + WRITEOFF + LINK + adjusted out = received + adjusted in`.
    pub(crate) fn check_conservation(&self) -> Check {
        let transit = self.units[Bucket::Transit as usize];
        let held = self.on_hand + transit + self.shipped + self.written_off + self.link;
        demand!(
            held + self.adjusted_out == self.received + self.adjusted_in,
            "I3",
            "on hand {} + in transit {transit} + shipped {} + written off {} + link {} is not \
             received {} + adjusted in {} - adjusted out {}",
            self.on_hand,
            self.shipped,
            self.written_off,
            self.link,
            self.received,
            self.adjusted_in,
            self.adjusted_out
        );
        Ok(())
    }
}

/// One SKU.
#[derive(Debug)]
pub(crate) struct Sku {
    pub(crate) code: String,
    pub(crate) id: u64,
    pub(crate) kind: u8,
    pub(crate) currency: u16,
    group: u64,
    /// Components of a kit: SKU index and units each.
    pub(crate) components: Box<[(u32, u32)]>,
    /// Whether any shard's view has a limit, so that units per customer are counted.
    pub(crate) limit_counted: bool,
    /// The limit that every shard enforces: the highest of the views; `None` for no limit.
    pub(crate) limit: Option<u32>,
    /// The limit before it last became stricter, for baskets that were taken before.
    limit_before: Option<u32>,
    limit_stricter_since: u64,
    pub(crate) totals: Totals,
}

impl Sku {
    /// Returns whether this is a kit, which has no cells of its own.
    pub(crate) const fn is_kit(&self) -> bool {
        self.kind == KIT
    }

    /// Returns the limit that a basket had to obey whose units were taken from `taken_seq` on.
    pub(crate) fn limit_at(&self, taken_seq: u64) -> Option<u32> {
        if taken_seq < self.limit_stricter_since {
            match (self.limit, self.limit_before) {
                (Some(now), Some(before)) => Some(now.max(before)),
                _ => None,
            }
        } else {
            self.limit
        }
    }
}

/// A definition in shard 0 that some shards do not have yet.
#[derive(Debug)]
struct Pending {
    digest: [u8; 32],
    shards_left: u16,
}

/// All SKUs.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) skus: Vec<Sku>,
    views: Vec<Vec<View>>,
    ids: FastMap<u64, u32>,
    pending: FastMap<(u32, u32), Pending>,
}

impl Catalog {
    pub(crate) fn new(shards: u16) -> Self {
        let views = (0..shards).map(|_| Vec::new()).collect();
        Self { skus: Vec::new(), views, ids: FastMap::default(), pending: FastMap::default() }
    }

    /// Returns what a shard knows of a SKU.
    pub(crate) fn view(&self, shard: u16, sku: u32) -> Check<View> {
        let view = self.views[shard as usize].get(sku as usize).copied().unwrap_or_default();
        demand!(view.version > 0, "V4", "SKU index {sku} is not defined in shard {shard}");
        Ok(view)
    }

    /// Returns how many definitions have not reached every shard.
    pub(crate) fn pending_copies(&self) -> usize {
        self.pending.len()
    }

    /// Takes a definition; returns whether units of the SKU must be counted from now on.
    pub(crate) fn define(
        &mut self,
        shard: u16,
        seq: u64,
        define: &Define<'_>,
        record: &[u8],
    ) -> Check<bool> {
        demand!(
            define.copy == (shard != 0),
            "V4",
            "DEFINE_SKU in shard {shard} has the copy flag {}",
            u8::from(define.copy)
        );
        let digest = content_digest(record);
        if define.copy {
            self.take_copy(define, digest)?;
        } else {
            self.take_original(define, digest)?;
        }
        self.set_view(shard, define)?;
        Ok(self.refresh_limit(seq, define.sku))
    }

    fn take_original(&mut self, define: &Define<'_>, digest: [u8; 32]) -> Check {
        demand!(define.key != 0, "I7", "idempotency key of DEFINE_SKU is 0");
        demand!(
            define.limit == 0 || (define.kind != KIT && define.group != BY_LOCATION),
            "V4",
            "SKU of kind {} and placement group {} has a limit of {}",
            define.kind,
            define.group,
            define.limit
        );
        let known = self.skus.len();
        demand!(
            define.sku as usize <= known,
            "V4",
            "SKU index is {}, the next one is {known}",
            define.sku
        );
        let components = self.components(define)?;
        match self.skus.get(define.sku as usize) {
            Some(sku) => check_fixed(sku, define, &components)?,
            None => self.add(define, components)?,
        }
        let shards_left = self.views.len() as u16 - 1;
        if shards_left > 0 {
            let pending = Pending { digest, shards_left };
            self.pending.insert((define.sku, define.version), pending);
        }
        Ok(())
    }

    fn take_copy(&mut self, define: &Define<'_>, digest: [u8; 32]) -> Check {
        let at = (define.sku, define.version);
        let Some(pending) = self.pending.get_mut(&at) else {
            let (sku, version) = at;
            return Err(broken(
                "V4",
                format!("copy of SKU index {sku} version {version} has no definition in shard 0"),
            ));
        };
        demand!(
            pending.digest == digest,
            "V4",
            "copy of SKU index {} version {} differs from the definition in shard 0",
            define.sku,
            define.version
        );
        pending.shards_left -= 1;
        if pending.shards_left == 0 {
            self.pending.remove(&at);
        }
        Ok(())
    }

    fn components(&self, define: &Define<'_>) -> Check<Box<[(u32, u32)]>> {
        let count = define.components.len() / 8;
        demand!(
            (define.kind == KIT) == (count > 0),
            "V4",
            "SKU of kind {} has {count} components",
            define.kind
        );
        let mut out: Vec<(u32, u32)> = Vec::with_capacity(count);
        for bytes in define.components.chunks_exact(8) {
            let (index, quantity) = (u32_at(bytes, 0), u32_at(bytes, 4));
            let known = self.skus.get(index as usize);
            demand!(
                known.is_some_and(|sku| !sku.is_kit()),
                "V4",
                "component has SKU index {index}, which is not defined or a kit"
            );
            demand!(
                (1..=QUANTITY_MAX).contains(&quantity),
                "I13",
                "quantity of a component is {quantity}, outside 1..={QUANTITY_MAX}"
            );
            demand!(
                !out.iter().any(|(other, _)| *other == index),
                "V4",
                "component with SKU index {index} stands twice"
            );
            out.push((index, quantity));
        }
        Ok(out.into_boxed_slice())
    }

    fn add(&mut self, define: &Define<'_>, components: Box<[(u32, u32)]>) -> Check {
        let other = self.ids.insert(define.id, define.sku);
        demand!(other.is_none(), "V4", "SKU id {:#x} has two SKU indexes", define.id);
        self.skus.push(Sku {
            code: String::from_utf8_lossy(define.code).into_owned(),
            id: define.id,
            kind: define.kind,
            currency: define.currency,
            group: define.group,
            components,
            limit_counted: false,
            limit: None,
            limit_before: None,
            limit_stricter_since: 0,
            totals: Totals::default(),
        });
        Ok(())
    }

    fn set_view(&mut self, shard: u16, define: &Define<'_>) -> Check {
        let views = &mut self.views[shard as usize];
        let index = define.sku as usize;
        if views.len() <= index {
            views.resize(index + 1, View::default());
        }
        let before = views[index].version;
        demand!(
            before.checked_add(1) == Some(define.version),
            "I14",
            "version of SKU index {} in shard {shard} is {}, the one before is {before}",
            define.sku,
            define.version
        );
        let (version, limit, price) = (define.version, define.limit, define.price);
        views[index] = View { version, limit, price };
        Ok(())
    }

    /// Recomputes the limit in force; returns whether counting starts with this definition.
    fn refresh_limit(&mut self, seq: u64, index: u32) -> bool {
        let mut highest = Some(0);
        let mut any = false;
        for views in &self.views {
            let Some(view) = views.get(index as usize).filter(|view| view.version > 0) else {
                continue;
            };
            any |= view.limit > 0;
            highest = match (highest, view.limit) {
                (None, _) | (_, 0) => None,
                (Some(high), limit) => Some(high.max(limit)),
            };
        }
        let sku = &mut self.skus[index as usize];
        let stricter = match (sku.limit, highest) {
            (None, Some(_)) => true,
            (Some(before), Some(now)) => now < before,
            (_, None) => false,
        };
        if stricter {
            sku.limit_before = sku.limit;
            sku.limit_stricter_since = seq;
        }
        sku.limit = highest;
        let starts = any && !sku.limit_counted;
        sku.limit_counted = any;
        starts
    }
}

fn check_fixed(sku: &Sku, define: &Define<'_>, components: &[(u32, u32)]) -> Check {
    let same = sku.code.as_bytes() == define.code
        && sku.id == define.id
        && sku.kind == define.kind
        && sku.currency == define.currency
        && sku.group == define.group
        && *sku.components == *components;
    demand!(
        same,
        "V4",
        "definition changes code, id, kind, currency, placement group or components of SKU {}",
        sku.code
    );
    Ok(())
}

/// Digest of all that a copy must share with its original: everything but the flags.
pub(crate) fn content_digest(record: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&record[..3]);
    hasher.update(&record[4..]);
    *hasher.finalize().as_bytes()
}
