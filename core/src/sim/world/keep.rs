//! What happens behind the shards: checkpoints, the archive, look-ups in it; and what a crash
//! does to them.
//!
//! The keeper of the engine runs here itself. Where its thread would sleep, the world goes on:
//! requests, shards, writer, clock, faults and crashes come at every point of its work.

use std::sync::atomic::Ordering;

use super::{Stepped, World};
use crate::command::Command;
use crate::engine::Engine;
use crate::keeper::{Keeper, look_up};
use crate::reply::Receipt;
use crate::shard::core::Archived;
use crate::view::OrderView;

/// Steps of the others after which the keeper's work is helped along.
const PATIENCE: u32 = 150;
/// Steps of the others within which the keeper must have done its work.
const PATIENCE_MAX: u32 = 5_000;

/// What the archive holds and no shard does any more.
#[derive(Debug, Default)]
pub(super) struct OnTheShelf {
    /// The commands that were carried out.
    pub(super) commands: Vec<Command>,
    pub(super) orders: Vec<OrderView>,
}

impl World<'_> {
    /// Answers one look-up, as the archive's thread does; returns whether there was one.
    pub(super) fn look_up(&mut self) -> Stepped<bool> {
        let parts = self.parts();
        let Ok(Some(wanted)) = parts.looked.try_recv() else { return Ok(false) };
        let done = look_up(&parts.engine.shelf, &parts.engine.around.handles, wanted);
        done.map_err(|error| format!("look-up: {error}"))?;
        self.summary.look_ups += 1;
        self.note(|| "looked up".to_owned());
        Ok(true)
    }

    /// Makes a checkpoint or moves settled entries to the archive, perhaps with a fault.
    pub(super) fn keep(&mut self) -> Stepped {
        let Some(mut keeper) = self.parts_mut().keeper.take() else { return Ok(()) };
        self.patience = 0;
        let kept = if self.random.percent(55) {
            self.make_checkpoint(&mut keeper)
        } else {
            self.archive(&mut keeper)
        };
        self.store.fail_after(None);
        self.store.archive().fail_puts(false);
        self.parts_mut().keeper = Some(keeper);
        kept?;
        if std::mem::take(&mut self.crash_is_due) { self.crash() } else { Ok(()) }
    }

    fn make_checkpoint(&mut self, keeper: &mut Keeper) -> Stepped {
        let fails = self.random.percent(15);
        if fails {
            self.store.fail_after(Some(self.random.below(12)));
        }
        self.note(|| format!("checkpoint begins, fails {fails}"));
        let mut stepped = Ok(());
        let made = keeper.checkpoint(&mut |_| self.meanwhile(&mut stepped));
        stepped?;
        match made {
            Ok(report) => {
                self.summary.checkpoints += 1;
                self.note(|| format!("checkpoint at {} of {} orders", report.seq, report.orders));
                Ok(())
            }
            Err(error) if fails || self.is_stopped() => {
                let kind = error.kind();
                self.note(|| format!("checkpoint failed: {kind:?}"));
                Ok(())
            }
            Err(error) => Err(format!("checkpoint failed without cause: {error}")),
        }
    }

    fn archive(&mut self, keeper: &mut Keeper) -> Stepped {
        if self.archive_fails {
            return Ok(());
        }
        let fails = self.random.percent(10);
        self.store.archive().fail_puts(fails);
        self.parts().workers.iter().for_each(crate::shard::worker::Worker::tell);
        self.note(|| format!("archive begins, fails {fails}"));
        let mut stepped = Ok(());
        let put = keeper.archive(&mut |_| self.meanwhile(&mut stepped));
        stepped?;
        match put {
            Ok(()) => {
                let evicted: u64 = self.states().iter().map(|state| state.evicted).sum();
                self.note(|| format!("archived, {evicted} have left memory"));
                Ok(())
            }
            Err(error) if fails || self.is_stopped() => {
                // As the engine does: nothing more until it is opened anew.
                self.archive_fails = true;
                let kind = error.kind();
                self.note(|| format!("archive failed: {kind:?}"));
                Ok(())
            }
            Err(error) => Err(format!("archive failed without cause: {error}")),
        }
    }

    /// One step of the others while the keeper waits; a failed check ends the keeper's work.
    fn meanwhile(&mut self, stepped: &mut Stepped) {
        if stepped.is_ok() {
            *stepped = self.others();
        }
        if stepped.is_err() || self.crash_is_due {
            self.parts().engine.around.gate.stop("the simulated machine has stopped");
        }
    }

    fn others(&mut self) -> Stepped {
        if self.crash_is_due || self.is_stopped() {
            return Ok(());
        }
        self.summary.steps += 1;
        self.patience += 1;
        if self.patience > PATIENCE_MAX {
            return Err("the keeper waits for ever".to_owned());
        }
        if self.patience > PATIENCE {
            return self.everybody();
        }
        if self.random.below(1_000) < self.crash_rate {
            self.note(|| "machine stops while the keeper works".to_owned());
            self.crash_is_due = true;
            return Ok(());
        }
        if self.random.below(1_000) < self.fault_rate {
            self.plan_fault();
        }
        match self.random.below(100) {
            0..=19 => self.submit()?,
            20..=64 => {
                let shard = self.random.below(self.summary.shards.into());
                self.step_shard(shard as usize)?;
            }
            65..=89 => self.step_writer()?,
            90..=94 => self.step_clock(),
            95..=96 => self.keep_house(),
            _ => self.look_up().map(|_| ())?,
        }
        self.read_answers()
    }

    /// Lets everybody go on without new requests or faults.
    pub(super) fn everybody(&mut self) -> Stepped {
        self.storage.clear_faults();
        self.storage.set_capacity(u64::MAX);
        while self.look_up()? {}
        for shard in 0..usize::from(self.summary.shards) {
            self.step_shard(shard)?;
        }
        while self.write()? {}
        Ok(())
    }

    /// Removes what the journal no longer needs behind its checkpoints.
    pub(super) fn remove_journal(&mut self) {
        let storage = self.storage.clone();
        let parts = self.parts_mut();
        let before = parts.engine.around.gate.remove_before.swap(0, Ordering::SeqCst);
        if before > 0 {
            // What is left over is removed when the journal is opened again.
            let _ = parts.writer.remove_before(before).run(&storage);
            self.note(|| format!("journal removed before epoch {before}"));
        }
    }

    /// What a crash may do to checkpoints and archive, as far as it can be made good: what the
    /// journal no longer has needs a checkpoint that is whole.
    pub(super) fn damage_store(&mut self) {
        if !self.random.percent(20) {
            return;
        }
        let (what, bits) = (self.random.below(5), self.random.bits());
        let may_lose = self.keeps_journal || self.store.generation_count() >= 2;
        let done = match what {
            0 if may_lose => self.store.lose_newest().is_some(),
            1 if may_lose => self.store.damage_page(bits).is_some(),
            2 if may_lose => self.store.lose_page().is_some(),
            3 if self.keeps_journal => {
                self.store.archive().lose_everything();
                true
            }
            4 if self.keeps_journal => {
                use crate::store::Archive;
                let mark = self.store.archive().high_water();
                self.store.archive().lose_tail(bits % (mark + 1));
                true
            }
            _ => false,
        };
        self.note(|| format!("store is damaged: {what} {done}"));
    }

    /// Returns what a repetition of a command would be told from the archive.
    pub(super) fn archived_receipt(&self, command: &Command) -> Option<Receipt> {
        let shelf = &self.parts().engine.shelf;
        command.key().filter(|key| shelf.may_hold(key.bits()))?;
        shelf.answer(command).ok()??.ok()
    }

    /// Returns what the archive of an engine answers about a key: the receipt or refusal of each
    /// command that was sent with it, and the order.
    pub(super) fn archived_as(&self, engine: &Engine, key: u128) -> Vec<String> {
        let sent = self.sent.get(&key).into_iter().flatten();
        let answers = sent.map(|command| format!("{:?}", engine.shelf.answer(command)));
        let order = engine.shelf.order(key, &engine.published);
        answers.chain([format!("{order:?}")]).collect()
    }

    /// Returns what has left memory, of all that clients sent.
    pub(super) fn on_the_shelf(&self) -> Stepped<OnTheShelf> {
        let mut found = OnTheShelf::default();
        let states = self.states();
        if states.iter().all(|state| state.evicted == 0) {
            return Ok(found);
        }
        let engine = &self.parts().engine;
        for (key, commands) in &self.sent {
            if !engine.shelf.may_hold(*key) || states.iter().any(|s| s.lookup(*key).is_some()) {
                continue;
            }
            let effective = commands.iter().find(|c| self.archived_receipt(c).is_some());
            let Some(command) = effective else { continue };
            found.commands.push(command.clone());
            if matches!(command, Command::Buy(_) | Command::Reserve(_)) {
                let order = engine.shelf.order(*key, &engine.published);
                let order = order.map_err(|error| format!("archived order: {error}"))?;
                found.orders.push(order.ok_or("an archived order is gone")?);
            }
        }
        let evicted: u64 = states.iter().map(|state| state.evicted).sum();
        if found.commands.len() as u64 != evicted {
            let count = found.commands.len();
            return Err(format!("{evicted} entries left memory, the archive has {count} of them"));
        }
        Ok(found)
    }
}
