//! The fold of the records: one state, one check after another.

use std::path::PathBuf;

use crate::bucket::{Bucket, CELL_SLOTS};
use crate::catalog::Catalog;
use crate::failure::{Check, broken, demand};
use crate::fast_hash::FastMap;
use crate::instruct::InFlight;
use crate::keys::KeySpool;
use crate::limits::LimitCounts;
use crate::order::Orders;
use crate::policies::Policies;
use crate::record::{BREAK, EXPIRE, KIND_NAMES, OPEN, Record};
use crate::rules::basket::Gathered;
use crate::stock::Stock;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) seq: u64,
    pub(crate) time: u64,
}

/// Units that left one location and have not all arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// Cell that they left, which counts them.
    pub(crate) cell: u32,
    /// Location that they go to.
    pub(crate) to: u32,
    pub(crate) units: u64,
}

/// Time of a shard's sections.
#[derive(Clone, Copy, Debug, Default)]
struct ShardTime {
    time: u64,
    /// Whether the last section only expired reservations, so that more at its time may follow.
    expiring: bool,
}

/// Everything that the records say so far.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) shards: u16,
    pub(crate) catalog: Catalog,
    pub(crate) policies: Policies,
    pub(crate) stock: Stock,
    pub(crate) orders: Orders,
    pub(crate) in_flight: InFlight,
    pub(crate) limits: LimitCounts,
    pub(crate) transfers: FastMap<u128, Transfer>,
    pub(crate) keys: KeySpool,
    /// Scratch memory of the last basket.
    pub(crate) gathered: Gathered,
    times: Vec<ShardTime>,
    /// Records by kind.
    pub(crate) kinds: [u64; KIND_NAMES.len()],
    pub(crate) refusals_checked: u64,
    /// Orders that a RISK record has placed.
    pub(crate) allowed: u64,
}

impl State {
    /// Makes the state before the first record; keys beyond the memory bound go under `spool`.
    pub(crate) fn new(spool: PathBuf) -> Self {
        Self {
            shards: 0,
            catalog: Catalog::new(0),
            policies: Policies::new(0),
            stock: Stock::new(0),
            orders: Orders::new(0),
            in_flight: InFlight::new(0),
            limits: LimitCounts::default(),
            transfers: FastMap::default(),
            keys: KeySpool::new(spool),
            gathered: Gathered::default(),
            times: Vec::new(),
            kinds: [0; KIND_NAMES.len()],
            refusals_checked: 0,
            allowed: 0,
        }
    }

    /// Checks a section's shard and time.
    pub(crate) fn begin_section(&mut self, shard: u16, time: u64) -> Check {
        if self.shards == 0 {
            demand!(shard == 0, "V3", "the first section is of shard {shard}, not 0");
            return Ok(());
        }
        demand!(
            shard < self.shards,
            "V3",
            "section is of shard {shard}, the engine has {} shards",
            self.shards
        );
        let ShardTime { time: last, expiring } = self.times[shard as usize];
        demand!(time >= last, "V3", "time of shard {shard} goes back from {last} to {time}");
        if expiring && time > last {
            self.orders.check_deadlines(shard, last)?;
        }
        Ok(())
    }

    /// Checks the deadlines once a section is done; `expiring` if it held EXPIRE records alone.
    pub(crate) fn end_section(&mut self, shard: u16, time: u64, expiring: bool) -> Check {
        self.times[shard as usize] = ShardTime { time, expiring };
        if expiring { Ok(()) } else { self.orders.check_deadlines(shard, time) }
    }

    /// Applies one record; returns whether it is an EXPIRE.
    pub(crate) fn apply(&mut self, place: Place, bytes: &[u8]) -> Check<bool> {
        let kind = bytes[2];
        demand!(
            (kind == OPEN) == (place.seq == 1),
            "V3",
            "record {} is of kind {}; OPEN is the first record and only that",
            place.seq,
            crate::record::name(kind)
        );
        match Record::read(bytes)? {
            Record::Open { shards } => self.open(shards),
            Record::Define(record) => self.define(place, &record, bytes)?,
            Record::Stock(record) => self.stock(place, &record)?,
            Record::Basket(record) => self.basket(place, &record)?,
            Record::FollowUp(record) if kind == BREAK => self.break_promise(place, &record)?,
            Record::FollowUp(record) => self.follow_up(place, &record)?,
            Record::Take(record) => self.take(place, &record)?,
            Record::Settle(record) => self.settle(place, &record)?,
            Record::Evict { orders } => self.evict(place, orders)?,
            Record::Refused(record) => self.refused(place, &record)?,
            Record::Policy(record) => self.policy(place, &record, bytes)?,
        }
        self.kinds[kind as usize] += 1;
        Ok(kind == EXPIRE)
    }

    fn open(&mut self, shards: u16) {
        self.shards = shards;
        self.catalog = Catalog::new(shards);
        self.policies = Policies::new(shards);
        self.stock = Stock::new(shards);
        self.orders = Orders::new(shards);
        self.in_flight = InFlight::new(shards);
        self.times = vec![ShardTime::default(); shards as usize];
    }

    /// Notes an idempotency key; one that stands twice is found at the end, or at once if it is
    /// a live order's.
    pub(crate) fn note_key(&mut self, place: Place, key: u128) -> Check {
        demand!(key != 0, "I7", "idempotency key is 0");
        self.keys
            .add(key, place.seq)
            .map_err(|error| broken("I7", format!("idempotency keys can't be spooled: {error}")))
    }

    /// Checks that nothing is in flight when the engine says that it closed cleanly.
    pub(crate) fn check_closed(&self) -> Check {
        let (tentative, open) = (self.stock.tentative, self.in_flight.open);
        demand!(tentative == 0, "V5", "{tentative} units are tentative at a clean close");
        demand!(open == 0, "V5", "{open} instructions are open at a clean close");
        let breaks = self.in_flight.breaks_open;
        demand!(breaks == 0, "V5", "{breaks} broken promises have not reached their orders");
        let copies = self.catalog.pending_copies();
        demand!(
            copies == 0,
            "V5",
            "{copies} SKU definitions have not reached every shard at a clean close"
        );
        let copies = self.policies.pending_copies();
        demand!(
            copies == 0,
            "V5",
            "{copies} steps of policies have not reached every shard at a clean close"
        );
        let link: u64 = self.catalog.skus.iter().map(|sku| sku.totals.link).sum();
        demand!(link == 0, "V5", "{link} units are between two cells at a clean close");
        Ok(())
    }

    /// Adds everything up once more: cells to SKUs (I1, I3), orders and baskets to cells (I4).
    pub(crate) fn check_sums(&self) -> Check {
        self.check_sku_sums()?;
        self.check_cell_sums()
    }

    fn check_sku_sums(&self) -> Check {
        let mut sums = vec![[0_u64; CELL_SLOTS]; self.catalog.skus.len()];
        for (shard, cells) in self.stock.shards().iter().enumerate() {
            for (index, cell) in cells.iter().enumerate() {
                cell.check((shard as u32) << 24 | index as u32)?;
                for (sum, units) in sums[cell.sku as usize].iter_mut().zip(cell.units) {
                    *sum += units;
                }
            }
        }
        for (sku, sum) in self.catalog.skus.iter().zip(sums) {
            sku.totals.check_conservation()?;
            demand!(
                sku.totals.units == sum,
                "I3",
                "SKU {} counts {:?} units by bucket, its cells add up to {sum:?}",
                sku.code,
                sku.totals.units
            );
        }
        Ok(())
    }

    /// A cell's R, C and T are what orders and baskets hold of it; an instruction that is still
    /// open is counted at the order already and at the cell not yet.
    fn check_cell_sums(&self) -> Check {
        let mut sums: Vec<Vec<[i128; 3]>> =
            self.stock.shards().iter().map(|cells| vec![[0; 3]; cells.len()]).collect();
        let mut add = |cell: u32, bucket: Bucket, units: i128| {
            let place = match bucket {
                Bucket::Tentative => 0,
                Bucket::Reserved => 1,
                Bucket::Committed => 2,
                _ => return,
            };
            sums[(cell >> 24) as usize][(cell & crate::record::CELL_ANY) as usize][place] += units;
        };
        #[expect(clippy::iter_over_hash_type, reason = "sums do not depend on the order")]
        for order in self.orders.live.values() {
            let bucket = if order.placed { Bucket::Committed } else { Bucket::Reserved };
            for holding in order.holdings.as_slice() {
                add(holding.cell, bucket, i128::from(holding.units));
            }
        }
        #[expect(clippy::iter_over_hash_type, reason = "sums do not depend on the order")]
        for tentative in self.in_flight.tentatives.values() {
            for (_, cell, units) in &tentative.units {
                add(*cell, Bucket::Tentative, i128::from(*units));
            }
        }
        for instruction in self.in_flight.all_open() {
            for movement in &instruction.movements {
                let units = i128::from(movement.quantity);
                if movement.from != Bucket::Tentative && movement.from != Bucket::Link {
                    add(movement.cell, movement.from, units);
                }
                if movement.from != Bucket::Link {
                    add(movement.cell, movement.to, -units);
                }
            }
        }
        for (shard, cells) in self.stock.shards().iter().enumerate() {
            for (index, cell) in cells.iter().enumerate() {
                let found = [1, 2, 3].map(|slot: usize| i128::from(cell.units[slot]));
                let sum = sums[shard][index];
                demand!(
                    found == sum,
                    "I4",
                    "cell {shard}:{index} counts T, R, C {found:?}; baskets, reservations and \
                     commitments add up to {sum:?}"
                );
            }
        }
        Ok(())
    }
}
