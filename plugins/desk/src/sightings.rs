//! What was seen lately of customers, addresses and devices: velocity, fed by asks and events.

use std::collections::VecDeque;

use foldhash::HashSet;
use onhand_core::{CustomerId, Key, Money, Timestamp};
use onhand_policy::fact::FraudHeader;
use onhand_policy::fraud::{DAY_BUCKET_MS, Sighting, Stage, Velocity};

use crate::limits::KEYS_MAX;

/// Velocity, and the keys that were counted lately.
pub(crate) struct Sightings {
    subjects_max: u32,
    /// `None` until a fraud policy needs it.
    velocity: Option<Velocity>,
    /// Latest time seen.
    now_ms: u64,
    /// Look-ups only.
    keys: HashSet<Key>,
    order: VecDeque<Key>,
    /// Position up to which committed orders were counted when it was filled.
    pub(crate) filled_to: u64,
}

impl Sightings {
    /// Makes windows for so many subjects, which is in range; nothing is counted yet.
    pub(crate) fn new(subjects_max: u32) -> Self {
        Self {
            subjects_max,
            velocity: None,
            now_ms: 0,
            keys: HashSet::default(),
            order: VecDeque::new(),
            filled_to: 0,
        }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.velocity.is_some()
    }

    /// Starts to count.
    pub(crate) fn start(&mut self, filled_to: u64) {
        self.velocity = Velocity::new(self.subjects_max).ok();
        self.filled_to = filled_to;
    }

    /// Counts no more, and forgets what was counted.
    pub(crate) fn stop(&mut self) {
        *self = Self::new(self.subjects_max);
    }

    /// Takes note of a time; windows start anew if the clock was an hour or more ahead of it,
    /// which would make everything since then look like one moment.
    fn at(&mut self, now_ms: u64) {
        if self.now_ms > now_ms.saturating_add(DAY_BUCKET_MS) && self.velocity.is_some() {
            self.velocity = Velocity::new(self.subjects_max).ok();
            self.now_ms = now_ms;
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Fills headers with what was seen before each of them, and counts them as attempts.
    pub(crate) fn attempted(
        &mut self,
        headers: &mut [FraudHeader],
        keys: impl Iterator<Item = Key>,
    ) {
        for (header, key) in headers.iter_mut().zip(keys) {
            self.at(header.now);
            let again = !self.is_new(key);
            let Some(velocity) = &mut self.velocity else { return };
            if again {
                velocity.fill(header);
            } else {
                velocity.attempt(header);
            }
        }
    }

    fn is_new(&mut self, key: Key) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }

    /// Counts a committed order, and the attempt before it if that was before the start.
    ///
    /// Times beyond `now_ms`, the clock of today, count as of it.
    pub(crate) fn committed(
        &mut self,
        customer: CustomerId,
        amount: Money,
        time: Timestamp,
        now_ms: u64,
        attempted: bool,
    ) {
        let now = time.millis().min(now_ms);
        let Some(velocity) = &mut self.velocity else { return };
        self.now_ms = self.now_ms.max(now);
        let sighting = Sighting { customer, address: 0, device: 0, now, amount };
        if attempted {
            velocity.observe(&sighting, Stage::Attempted);
        }
        velocity.observe(&sighting, Stage::Committed);
    }
}

#[cfg(test)]
mod tests {
    use onhand_core::{Currency, CustomerId, Key, Money, Timestamp};
    use onhand_policy::fact::FraudHeader;

    use super::Sightings;

    fn seen(sightings: &mut Sightings, now: u64, key: u128) -> u32 {
        let mut headers = [FraudHeader { customer: 7, now, currency: 978, ..Default::default() }];
        sightings.attempted(&mut headers, [Key::new(key)].into_iter());
        headers[0].customer_orders_hour
    }

    /// A repetition is told what was seen, and is not counted again.
    #[test]
    fn a_repetition_is_no_other_order() {
        let mut sightings = Sightings::new(8);
        sightings.start(0);
        let counts: Vec<u32> = [1, 1, 1, 2, 3].map(|key| seen(&mut sightings, 1_000, key)).into();
        assert_eq!(counts, [0, 1, 1, 1, 2]);
    }

    /// A clock that was far ahead neither stops the windows nor is believed of an event.
    #[test]
    fn a_future_time_does_not_stop_the_windows() {
        let hour = 3_600_000;
        let mut sightings = Sightings::new(8);
        sightings.start(0);
        seen(&mut sightings, 1_000 * hour, 1);
        assert_eq!(seen(&mut sightings, 10 * hour, 2), 0);
        assert_eq!(seen(&mut sightings, 10 * hour, 3), 1);
        let amount = Money::new(5, Currency::EUR).expect("little");
        let future = Timestamp::from_millis(900 * hour);
        sightings.committed(CustomerId(7), amount, future, 10 * hour, false);
        assert_eq!(seen(&mut sightings, 12 * hour, 4), 0);
    }
}
