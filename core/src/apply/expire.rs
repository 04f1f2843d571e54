//! Time passes: reservations whose deadline has come give their units back.

use crate::apply::{Context, change};
use crate::limits::EXPIRIES_PER_STEP_MAX;
use crate::reply::OrderStatus;
use crate::state::State;
use crate::time::Timestamp;

/// Expires what is due at `clock`, in the order of deadline and id, and sets the time that may be
/// stamped on the section.
///
/// That time is `clock`, unless more was due than one step expires: then it stays before the next
/// deadline, so that no command ever meets a reservation whose deadline has passed.
pub(crate) fn expire_due(state: &mut State, ctx: &mut Context<'_>, clock: Timestamp) {
    ctx.now = clock.max(state.now);
    let mut left = EXPIRIES_PER_STEP_MAX;
    while let Some(deadline) = state.calendar.next_due(ctx.now.millis()) {
        let mut due = std::mem::take(&mut state.scratch.due);
        due.clear();
        state.calendar.take(deadline, &mut due);
        due.retain(|slot| {
            let order = state.orders.get(*slot);
            order.status() == OrderStatus::Reserved
                && order.deadline().millis() <= deadline
                && !order.is_free()
        });
        due.sort_unstable_by_key(|slot| state.orders.get(*slot).id());
        due.dedup();
        for slot in &due {
            change::expire(state, ctx, *slot);
        }
        left = left.saturating_sub(due.len());
        state.scratch.due = due;
        if left == 0 {
            ctx.now = Timestamp::from_millis(deadline).max(state.now);
            break;
        }
    }
    state.now = ctx.now;
}

/// Moves the time of a replayed section on: its expiries stand in the journal.
pub(crate) fn pass_time(state: &mut State, now: Timestamp) {
    state.now = now;
    let mut due = still_due(state);
    while let Some(deadline) = state.calendar.next_due(now.millis()) {
        state.calendar.take(deadline, &mut due);
    }
    state.scratch.due = due;
}

/// Ends a replay. Enters those reservations again that were due in the last sections and whose
/// expiry a crash has cut off: a section is written in parts if it is large.
pub(crate) fn end_replay(state: &mut State) {
    state.replays = false;
    for slot in still_due(state) {
        let deadline = state.orders.get(slot).deadline();
        state.calendar.add(deadline.millis(), slot);
    }
}

fn still_due(state: &mut State) -> Vec<u32> {
    let mut due = std::mem::take(&mut state.scratch.due);
    due.retain(|slot| {
        let order = state.orders.get(*slot);
        order.status() == OrderStatus::Reserved && order.deadline() <= state.now && !order.is_free()
    });
    due
}
