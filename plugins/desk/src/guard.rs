//! Guards of a canary: what is measured beside the one that decides, and when it is called back.
//!
//! Both sides are counted over a window of two halves: when a half is over it becomes the older
//! one, and the one before is forgotten. So a judgement sees between half a window and a whole.

use std::fmt;

use onhand_plugin_runtime::{FailureKind, Histogram, Made};
use parking_lot::Mutex;

use crate::limits::{
    Bound, GUARD_FAILURE, GUARD_P99, GUARD_PRICE, GUARD_REFUSAL, GUARD_SAMPLE, GUARD_WINDOW,
    LimitError, check_all,
};

/// A whole in ten-thousandths.
pub(crate) const WHOLE: u64 = 10_000;

/// What calls a canary back by itself.
///
/// # Example
///
/// ```
/// use onhand_desk::Guards;
///
/// let guards = Guards { failure_bp: 0, ..Guards::default() };
/// guards.check()?;
/// let never = Guards { window_ms: 10, ..guards };
/// let text = never.check().err().map(|error| error.to_string());
/// assert_eq!(text.as_deref(), Some("window_ms is 10, outside 1000..=86400000 ms"));
/// # Ok::<(), onhand_desk::limits::LimitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// See [`GUARD_FAILURE`].
    pub failure_bp: u64,
    /// See [`GUARD_REFUSAL`].
    pub refusal_bp: u64,
    /// See [`GUARD_PRICE`].
    pub price_bp: u64,
    /// See [`GUARD_P99`].
    pub p99_us: u64,
    /// See [`GUARD_WINDOW`].
    pub window_ms: u64,
    /// See [`GUARD_SAMPLE`].
    pub sample_min: u64,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            failure_bp: GUARD_FAILURE.default,
            refusal_bp: GUARD_REFUSAL.default,
            price_bp: GUARD_PRICE.default,
            p99_us: GUARD_P99.default,
            window_ms: GUARD_WINDOW.default,
            sample_min: GUARD_SAMPLE.default,
        }
    }
}

impl Guards {
    /// Returns every guard with its value, for whoever shows them.
    pub const fn all(&self) -> [(Bound, u64); 6] {
        [
            (GUARD_FAILURE, self.failure_bp),
            (GUARD_REFUSAL, self.refusal_bp),
            (GUARD_PRICE, self.price_bp),
            (GUARD_P99, self.p99_us),
            (GUARD_WINDOW, self.window_ms),
            (GUARD_SAMPLE, self.sample_min),
        ]
    }

    /// Checks every guard against its range.
    ///
    /// # Errors
    ///
    /// Returns the first one outside.
    pub fn check(&self) -> Result<(), LimitError> {
        check_all(&self.all())
    }

    /// Reads what `Display` writes; guards that are not named keep their default. `None` if a
    /// name or number is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut guards = Self::default();
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=')?;
            let value = value.parse().ok()?;
            match name {
                "failure_bp" => guards.failure_bp = value,
                "refusal_bp" => guards.refusal_bp = value,
                "price_bp" => guards.price_bp = value,
                "p99_us" => guards.p99_us = value,
                "window_ms" => guards.window_ms = value,
                "sample_min" => guards.sample_min = value,
                _ => return None,
            }
        }
        guards.check().is_ok().then_some(guards)
    }
}

/// Writes the guards as the journal's note of a canary has them.
impl fmt::Display for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all().map(|(bound, value)| format!("{}={value}", bound.name));
        f.write_str(&all.join(" "))
    }
}

/// What one side did in half a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Orders, those not counted for which no instance of the plugin was free: what the failure
    /// policy did with them says nothing of the plugin.
    pub orders: u64,
    /// Orders that the plugin failed on.
    pub failed: u64,
    /// Orders refused or denied, those that failed not counted.
    pub refused: u64,
    /// Orders with a price.
    pub priced: u64,
    /// Sum of their prices in ten-thousandths of list price.
    pub price_bp_sum: u64,
}

impl Sample {
    /// Counts one order; `decided` counts what the policy itself has decided about it.
    pub(crate) fn note(&mut self, made: Made, decided: impl FnOnce(&mut Self)) {
        match made.failure {
            Some(FailureKind::Busy) => {}
            Some(_) => {
                self.orders += 1;
                self.failed += 1;
            }
            None => {
                self.orders += 1;
                decided(self);
            }
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            orders: self.orders + other.orders,
            failed: self.failed + other.failed,
            refused: self.refused + other.refused,
            priced: self.priced + other.priced,
            price_bp_sum: self.price_bp_sum + other.price_bp_sum,
        }
    }

    fn rate(&self, of: u64) -> u64 {
        (of * WHOLE).checked_div(self.orders).unwrap_or(0)
    }

    fn price_bp(&self) -> u64 {
        self.price_bp_sum.checked_div(self.priced).unwrap_or(WHOLE)
    }
}

/// What a canary's guards see now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardView {
    /// The canary within the window.
    pub canary: Sample,
    /// The one that decides, within the window.
    pub incumbent: Sample,
    /// Time that 99 of 100 calls of the canary take at most, in microseconds.
    pub p99_us: u64,
}

#[derive(Default)]
struct State {
    half_since: u64,
    /// Newer and older half, canary first.
    newer: [Sample; 2],
    older: [Sample; 2],
    noted: u64,
    tripped: bool,
}

/// Watches one canary.
pub(crate) struct Watch {
    guards: Guards,
    state: Mutex<State>,
    /// Times of the canary's calls in the newer and the older half.
    times: [Histogram; 2],
}

/// Calls between two judgements, unless something failed.
const JUDGE_EVERY: u64 = 8;

impl Watch {
    pub(crate) fn new(guards: Guards) -> Self {
        Self { guards, state: Mutex::default(), times: Default::default() }
    }

    pub(crate) const fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Notes what a call of one side did; returns why the canary must go, the first time only.
    pub(crate) fn note(
        &self,
        now_ms: u64,
        of_canary: bool,
        sample: Sample,
        nanoseconds: u64,
    ) -> Option<String> {
        let mut state = self.state.lock();
        self.turn(&mut state, now_ms);
        let side = &mut state.newer[usize::from(!of_canary)];
        *side = side.plus(sample);
        // A call for which no instance was free shows how busy the plugin is, not how slow.
        if of_canary && sample.orders > 0 {
            self.times[0].add(nanoseconds, 1);
        }
        state.noted += 1;
        if state.tripped || (!state.noted.is_multiple_of(JUDGE_EVERY) && sample.failed == 0) {
            return None;
        }
        let why = self.judge(&state)?;
        state.tripped = true;
        Some(why)
    }

    /// Makes the guards judge anew, after a canary that must go could not be called back.
    pub(crate) fn rearm(&self) {
        self.state.lock().tripped = false;
    }

    fn turn(&self, state: &mut State, now_ms: u64) {
        let half = self.guards.window_ms / 2;
        let age = now_ms.saturating_sub(state.half_since);
        if age < half {
            return;
        }
        let newer = std::mem::take(&mut state.newer);
        state.older = if age < 2 * half { newer } else { Default::default() };
        state.half_since = now_ms;
        // Two histograms only: times of the older half are forgotten with it.
        self.times[1].take_over(&self.times[0]);
        if age >= 2 * half {
            self.times[1].clear();
        }
    }

    fn sums(state: &State) -> [Sample; 2] {
        [state.newer[0].plus(state.older[0]), state.newer[1].plus(state.older[1])]
    }

    fn p99_us(&self) -> u64 {
        Histogram::percentile_of(&[&self.times[0], &self.times[1]], 99) / 1_000
    }

    fn judge(&self, state: &State) -> Option<String> {
        let Guards { failure_bp, refusal_bp, price_bp, p99_us, sample_min, .. } = self.guards;
        let [canary, incumbent] = Self::sums(state);
        if canary.orders < sample_min {
            return None;
        }
        let failed = canary.rate(canary.failed);
        if failed > failure_bp {
            return Some(format!("failure_bp is {failed}, at most {failure_bp}"));
        }
        let p99 = self.p99_us();
        if p99 > p99_us {
            return Some(format!("p99_us is {p99}, at most {p99_us}"));
        }
        if incumbent.orders < sample_min {
            return None;
        }
        let (own, other) = (canary.rate(canary.refused), incumbent.rate(incumbent.refused));
        if own.abs_diff(other) > refusal_bp {
            let text = format!("refusal_bp is {own} beside {other}, at most {refusal_bp} apart");
            return Some(text);
        }
        let (own, other) = (canary.price_bp(), incumbent.price_bp());
        let compared = canary.priced >= sample_min && incumbent.priced >= sample_min;
        (compared && own.abs_diff(other) > price_bp)
            .then(|| format!("price_bp is {own} beside {other}, at most {price_bp} apart"))
    }

    pub(crate) fn view(&self) -> GuardView {
        let state = self.state.lock();
        let [canary, incumbent] = Self::sums(&state);
        GuardView { canary, incumbent, p99_us: self.p99_us() }
    }
}

#[cfg(test)]
mod tests {
    use onhand_plugin_runtime::{By, FailureKind, Made};

    use super::{Guards, Sample, Watch};

    fn guards() -> Guards {
        Guards { sample_min: 10, window_ms: 10_000, ..Guards::default() }
    }

    fn sample(orders: u64, failed: u64, refused: u64, price_bp: u64) -> Sample {
        let priced = orders - refused;
        Sample { orders, failed, refused, priced, price_bp_sum: priced * price_bp }
    }

    /// Notes the incumbent once and the canary until it is judged.
    fn verdict(canary: Sample, incumbent: Sample, nanoseconds: u64) -> Option<String> {
        let watch = Watch::new(guards());
        assert_eq!(watch.note(0, false, incumbent, 1_000), None);
        (0..8).find_map(|_| watch.note(0, true, canary, nanoseconds))
    }

    /// Each guard trips on its own figure and names it with its bound.
    #[test]
    fn each_guard_trips_by_itself() {
        let calm = sample(100, 0, 0, 9_000);
        assert_eq!(verdict(calm, calm, 1_000), None);
        let text = verdict(sample(100, 2, 0, 9_000), calm, 1_000);
        assert_eq!(text.as_deref(), Some("failure_bp is 200, at most 100"));
        let text = verdict(sample(100, 0, 6, 9_000), calm, 1_000);
        assert_eq!(text.as_deref(), Some("refusal_bp is 600 beside 0, at most 500 apart"));
        let text = verdict(sample(100, 0, 0, 7_900), calm, 1_000);
        assert_eq!(text.as_deref(), Some("price_bp is 7900 beside 9000, at most 1000 apart"));
        let text = verdict(calm, calm, 40_000_000);
        assert!(text.is_some_and(|text| text.starts_with("p99_us is ")));
    }

    /// The older half of a window has its times as they were: what takes long once in 150 calls takes
    /// so long for less than one in 100, however many calls there were.
    #[test]
    fn the_older_half_keeps_its_times() {
        let watch = Watch::new(guards());
        let calm = sample(1, 0, 0, 9_000);
        for call in 0..30_000 {
            let slow = call % 150 == 149;
            assert_eq!(watch.note(0, true, calm, if slow { 40_000_000 } else { 1_000 }), None);
        }
        let before = watch.view().p99_us;
        assert_eq!(watch.note(5_000, true, calm, 1_000), None);
        assert_eq!(watch.view().p99_us, before);
    }

    /// Below the least sample nothing is judged, and a window that is over is forgotten.
    #[test]
    fn small_samples_and_old_windows_do_not_count() {
        let watch = Watch::new(guards());
        assert_eq!(watch.note(0, true, sample(9, 9, 0, 9_000), 1), None);
        assert_eq!(watch.note(30_000, true, sample(9, 9, 0, 9_000), 1), None);
        assert!(watch.note(30_001, true, sample(1, 1, 0, 9_000), 1).is_some());
        assert_eq!(watch.note(30_002, true, sample(90, 90, 0, 9_000), 1), None, "once");
        assert_eq!(watch.view().canary.orders, 100);
    }

    /// Orders for which no instance was free count for nothing: what the failure policy did with
    /// them is no answer of the plugin.
    #[test]
    fn waiting_for_an_instance_is_no_answer() {
        let made = |failure| Made { by: By::FailClosed, fuel: 0, failure };
        let mut busy = Sample::default();
        (0..100).for_each(|_| busy.note(made(Some(FailureKind::Busy)), |s| s.refused += 1));
        assert_eq!(busy, Sample::default());
        let calm = sample(100, 0, 0, 9_000);
        let watch = Watch::new(guards());
        assert_eq!(watch.note(0, false, calm, 1_000), None);
        for _ in 0..16 {
            assert_eq!(watch.note(0, true, busy, 60_000_000), None);
        }
        assert_eq!(watch.note(0, true, calm, 1_000), None);
        let mut failed = Sample::default();
        failed.note(made(Some(FailureKind::Trap)), |s| s.refused += 1);
        assert_eq!((failed.orders, failed.failed, failed.refused), (1, 1, 0));
    }

    /// Guards that have tripped judge again once they are told to.
    #[test]
    fn rearmed_guards_trip_again() {
        let watch = Watch::new(guards());
        let bad = sample(100, 100, 0, 9_000);
        assert!(watch.note(0, true, bad, 1).is_some());
        assert!(watch.note(0, true, bad, 1).is_none());
        watch.rearm();
        assert!(watch.note(0, true, bad, 1).is_some());
    }

    /// What the journal keeps of guards reads back as they were.
    #[test]
    fn guards_are_read_back_from_their_note() {
        let odd = Guards { failure_bp: 7, p99_us: 9, ..guards() };
        assert_eq!(Guards::parse(&odd.to_string()), Some(odd));
        assert_eq!(Guards::parse(""), Some(Guards::default()));
        for bad in ["failure_bp", "failure_bp=x", "colour=1", "window_ms=1"] {
            assert_eq!(Guards::parse(bad), None, "{bad}");
        }
        let most = Guards {
            failure_bp: 10_000,
            refusal_bp: 10_000,
            price_bp: 10_000,
            p99_us: 60_000_000,
            window_ms: 86_400_000,
            sample_min: 1_000_000,
        };
        assert!(most.to_string().len() <= 200);
    }
}
