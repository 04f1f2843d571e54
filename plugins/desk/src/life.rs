//! The life of policies: install, activate, shadow, canary, promote, roll back, pin, remove.
//!
//! Each step is a command of the engine and takes effect after its reply, by a swap of the whole
//! set: a request is decided by the set before or by the one after, never by both. One step at a
//! time: whoever takes one holds the turn, and the lock of the standing only to read and write it,
//! so that nobody who looks waits for the engine or a compiler.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use onhand_core::{Command, Key, PolicyKind, PolicyNo, PolicyStep, PolicyView, Receipt, Step};
use onhand_plugin_bundle::{Bundle, BundleLimits, Kind, Manifest};
use onhand_plugin_runtime::{OnFailure, World};
use parking_lot::MutexGuard;
use serde_json::Value;

use crate::desk::{Desk, Shared};
use crate::error::DeskError;
use crate::follow;
use crate::guard::{GuardView, Guards, Watch};
use crate::health::{HealthNote, Role};
use crate::limits::{CALL_BACK_PAUSE, CALL_BACK_TRIES, SHARE, check_all};
use crate::lineup::{Lineup, Lineups};
use crate::policy::{AnyPolicy, Identity, Policy, Tally};
use crate::ready::{AnyMaker, Loading, failure_of};
use crate::secret::fill_random;
use crate::set::{Route, Set, Trial};
use crate::settings::is_built_in;

/// Version that steps of built-in policies have.
const BUILT_IN_VERSION: &str = "1";
/// Most bytes of a note in the journal.
const NOTE_BYTES_MAX: usize = 255;
/// Most canaries that were called back of which health tells.
const GUARDED_MAX: usize = 16;

/// What came of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Number of the policy.
    pub no: PolicyNo,
    /// Who it is.
    pub identity: Identity,
    /// Who signed it, by the trust file; `None` if nobody had to.
    pub signer: Option<String>,
}

/// A policy with its part and its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the journal knows.
    pub view: PolicyView,
    /// Its part now.
    pub role: Role,
    /// Whether it is installed, and not removed.
    pub installed: bool,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Its latest failure since the desk was opened, with all details.
    pub last_failure: Option<String>,
}

/// The right to take a step: one at a time.
pub(crate) type Turn<'a> = MutexGuard<'a, ()>;

/// Where all policies stand.
#[derive(Default)]
pub(crate) struct Life {
    /// What the journal's steps add up to.
    pub(crate) lineups: Lineups,
    /// What of it requests are decided by: nobody is told of a step before that.
    shown: Lineups,
    known: BTreeMap<PolicyNo, Identity>,
    /// Policies that can be asked.
    pub(crate) ready: BTreeMap<PolicyNo, AnyPolicy>,
    /// What policies have done since the desk was opened, also those that were removed.
    tallies: BTreeMap<PolicyNo, Arc<Tally>>,
    /// Watches of canaries, kept over swaps.
    watches: BTreeMap<PolicyNo, Arc<Watch>>,
    /// What is done when a policy fails, as its installation noted.
    pub(crate) on_failure: BTreeMap<PolicyNo, OnFailure>,
    pub(crate) guarded: VecDeque<HealthNote>,
}

impl Life {
    pub(crate) fn identity(&self, no: PolicyNo) -> Result<&Identity, DeskError> {
        self.known.get(&no).ok_or(DeskError::Unknown(no))
    }

    /// Returns the tally of a policy, which a new installation goes on with.
    pub(crate) fn tally(&mut self, no: PolicyNo) -> Arc<Tally> {
        Arc::clone(self.tallies.entry(no).or_default())
    }

    fn lineup(&self, no: PolicyNo) -> Result<&Lineup, DeskError> {
        Ok(self.lineups.of(self.identity(no)?.kind))
    }

    /// Returns the part of a policy, and what its guards see.
    pub(crate) fn role(&self, no: PolicyNo) -> (Role, Option<GuardView>) {
        let Ok(identity) = self.identity(no) else { return (Role::Idle, None) };
        let lineup = self.shown.of(identity.kind);
        let tried = |tried: Option<(PolicyNo, u16)>| {
            tried.filter(|(tried, _)| *tried == no).map(|(_, share)| share)
        };
        if let Some(share) = tried(lineup.canary) {
            let guards = self.watches.get(&no).map(|watch| watch.view());
            return (Role::Canary(share), guards);
        }
        if let Some(share) = tried(lineup.shadow) {
            return (Role::Shadow(share), None);
        }
        (if lineup.active == Some(no) { Role::Active } else { Role::Idle }, None)
    }

    /// Keeps what became of a call-back; it takes the place of what was said of this canary before.
    fn note_guarded(&mut self, note: HealthNote) {
        let of = |note: &HealthNote| match note {
            HealthNote::Guarded { no, .. } | HealthNote::NotCalledBack { no, .. } => Some(*no),
            _ => None,
        };
        self.guarded.retain(|other| of(other) != of(&note));
        if self.guarded.len() >= GUARDED_MAX {
            self.guarded.pop_front();
        }
        self.guarded.push_back(note);
    }
}

fn word(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::BuiltIn => "built_in",
        OnFailure::FailOpen => "fail_open",
        OnFailure::FailClosed => "fail_closed",
    }
}

/// Reads what the note of an installation says is done when the policy fails; to refuse is the
/// safe reading of a note that does not say.
fn on_failure_of(note: &str) -> OnFailure {
    match note.strip_prefix("on_failure=").and_then(|rest| rest.split(' ').next()) {
        Some("built_in") => OnFailure::BuiltIn,
        Some("fail_open") => OnFailure::FailOpen,
        _ => OnFailure::FailClosed,
    }
}

/// Returns a text as a note of the journal may have it.
fn as_note(text: &str) -> String {
    let plain = |c: char| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' };
    text.chars().take(NOTE_BYTES_MAX).map(plain).collect()
}

/// Reads the share of a shadow out of its note.
fn share_of(note: &str) -> u16 {
    let share = note.strip_prefix("share_bp=").and_then(|rest| rest.split(' ').next());
    share.and_then(|share| share.parse().ok()).unwrap_or(10_000)
}

const fn kind_of(kind: Kind) -> PolicyKind {
    match kind {
        Kind::Pricing => PolicyKind::Pricing,
        Kind::Fraud => PolicyKind::Fraud,
        Kind::Recommend => PolicyKind::Recommend,
    }
}

/// Puts the policies of a lineup into their places.
fn route<W: World>(
    lineup: &Lineup,
    life: &Life,
    pick: impl Fn(&AnyPolicy) -> Option<Arc<Policy<W>>>,
) -> Route<W> {
    let find = |no: PolicyNo| life.ready.get(&no).and_then(&pick);
    Route {
        active: lineup.active.and_then(find),
        canary: lineup.canary.and_then(|(no, share)| {
            let watch = Arc::clone(life.watches.get(&no)?);
            Some(Trial { policy: find(no)?, share, watch })
        }),
        shadow: lineup.shadow.and_then(|(no, share)| Some((find(no)?, share))),
    }
}

impl Shared {
    /// Goes on where the journal says that policies stood, and takes the configured built-in
    /// policies up.
    pub(crate) fn resume(&self) -> Result<(), DeskError> {
        let turn = self.turn.lock();
        let views = self.engine.policies();
        let mut life = self.life.lock();
        let mut steps = Vec::new();
        for view in views {
            let PolicyView { no, kind, name, version, plugin, config, .. } = view;
            for step in &view.steps {
                let shadow = step.step == Step::Shadowed;
                let share = if shadow { share_of(&step.note) } else { step.share };
                steps.push((step.seq, kind, no, step.step, share));
                if step.step == Step::Installed {
                    life.on_failure.insert(no, on_failure_of(&step.note));
                }
                if step.step == Step::Canary {
                    let guards = Guards::parse(&step.note).unwrap_or_default();
                    life.watches.insert(no, Arc::new(Watch::new(guards)));
                }
            }
            life.known.insert(no, Identity { kind, name, version, plugin, config });
        }
        life.lineups = Lineups::replay(steps);
        drop(life);
        for kind in [PolicyKind::Pricing, PolicyKind::Fraud] {
            self.take_up_built_in(&turn, kind)?;
        }
        self.arrange(&turn)
    }

    /// Makes the configured built-in policy decide, unless a plugin does.
    fn take_up_built_in(&self, turn: &Turn<'_>, kind: PolicyKind) -> Result<(), DeskError> {
        let life = self.life.lock();
        let active = life.lineups.of(kind).active;
        let active = active.and_then(|no| Some((no, life.known.get(&no)?.clone())));
        drop(life);
        let built_in = active.as_ref().is_none_or(|(_, active)| is_built_in(&active.plugin));
        let Some((name, config)) = self.settings.built_in(kind) else {
            if let Some((_, identity)) = active.filter(|_| built_in) {
                // Its configuration is gone, and with it what it would decide.
                let note = "no longer configured";
                self.record(turn, &identity, Step::RolledBack, 0, note)?;
                return self.take_up_built_in(turn, kind);
            }
            return Ok(());
        };
        let plugin = *blake3::hash(name.as_bytes()).as_bytes();
        let (name, version) = (name.to_owned(), BUILT_IN_VERSION.to_owned());
        let identity = Identity { kind, name, version, plugin, config };
        let known = self.life.lock().known.values().any(|known| *known == identity);
        if !known {
            self.record(turn, &identity, Step::Installed, 0, "configured")?;
        }
        let same = active.is_some_and(|(_, active)| active == identity);
        if built_in && !same {
            self.record(turn, &identity, Step::Activated, 0, "configured")?;
        }
        Ok(())
    }

    /// After a rollback: a built-in policy with a configuration of before cannot decide, so that
    /// it goes too, and the one that is configured now takes its place unless that was what went.
    fn pass_over_stale(
        &self,
        turn: &Turn<'_>,
        kind: PolicyKind,
        built_in_went: bool,
    ) -> Result<(), DeskError> {
        let mut passed = false;
        let active = || {
            let life = self.life.lock();
            life.lineups.of(kind).active.and_then(|no| life.known.get(&no).cloned())
        };
        while let Some(identity) = active() {
            let now = self.settings.built_in(kind).map(|(_, config)| config);
            if !is_built_in(&identity.plugin) || now == Some(identity.config) {
                return Ok(());
            }
            self.record(turn, &identity, Step::RolledBack, 0, "its configuration is gone")?;
            passed = true;
        }
        if passed && !built_in_went { self.take_up_built_in(turn, kind) } else { Ok(()) }
    }

    /// Carries a step out: in the journal, then in the lineup.
    fn record(
        &self,
        _turn: &Turn<'_>,
        identity: &Identity,
        step: Step,
        share: u16,
        note: &str,
    ) -> Result<PolicyNo, DeskError> {
        let mut key = [0; 16];
        fill_random(&mut key)?;
        let Identity { kind, name, version, plugin, config } = identity.clone();
        let in_journal = if step == Step::Canary { share } else { 0 };
        let command = PolicyStep {
            key: Key::new(u128::from_le_bytes(key)),
            kind,
            step,
            name,
            version,
            plugin,
            config,
            share: in_journal,
            note: as_note(note),
        };
        let reply = self.engine.execute(Command::PolicyStep(Box::new(command)));
        let no = match reply.map_err(DeskError::Engine)?.outcome.map_err(DeskError::Refused)? {
            Receipt::Policy(receipt) => receipt.policy,
            _ => unreachable!("a policy's step has a policy's receipt"),
        };
        let mut life = self.life.lock();
        life.known.insert(no, identity.clone());
        life.lineups.of_mut(kind).step(no, step, share);
        Ok(no)
    }

    /// Makes what the lineups need ready, and swaps the set.
    fn arrange(&self, _turn: &Turn<'_>) -> Result<(), DeskError> {
        let life = self.life.lock();
        let all = [&life.lineups.pricing, &life.lineups.fraud, &life.lineups.recommend];
        let needed: Vec<PolicyNo> = all.iter().flat_map(|lineup| lineup.needed()).collect();
        all.iter().filter_map(|lineup| lineup.shadow).for_each(|(no, _)| self.shadows.ensure(no));
        let fraud = !life.lineups.fraud.needed().is_empty();
        drop(life);
        // What a step needs was made ready before it, without the turn; this finds the rest.
        self.make_ready(&needed)?;
        let mut sightings = self.sightings.lock();
        if fraud && !sightings.is_on() {
            let now_ms = self.clock.now().millis();
            if let Err(error) = follow::fill(&self.engine, now_ms, &mut sightings) {
                // Half of a day would look like a quiet one: the next step counts anew.
                sightings.stop();
                return Err(DeskError::Engine(error));
            }
        }
        drop(sightings);
        let mut life = self.life.lock();
        let lineups = &life.lineups;
        let book = self.settings.pricing.as_ref().map(|pricing| Arc::clone(&pricing.book));
        let risks = self.settings.fraud.as_ref().map(|fraud| Arc::clone(&fraud.book));
        self.swap(Set {
            pricing: route(&lineups.pricing, &life, |any| match any {
                AnyPolicy::Pricing(policy) => Some(Arc::clone(policy)),
                _ => None,
            }),
            fraud: route(&lineups.fraud, &life, |any| match any {
                AnyPolicy::Fraud(policy) => Some(Arc::clone(policy)),
                _ => None,
            }),
            recommend: route(&lineups.recommend, &life, |any| match any {
                AnyPolicy::Recommend(policy) => Some(Arc::clone(policy)),
                _ => None,
            }),
            prices: book.unwrap_or_default(),
            risks: risks.unwrap_or_default(),
        });
        life.shown = life.lineups.clone();
        Ok(())
    }

    /// Calls a canary back because of its guards, however often that takes within
    /// [`CALL_BACK_TRIES`].
    ///
    /// Where the engine never takes the step, health says so, and the guards judge anew.
    pub(crate) fn guarded(&self, no: PolicyNo, why: &str) {
        let pause = |error: &DeskError| {
            // Said at once, so that nobody believes in a call-back that has not happened yet.
            let why = format!("{why}: {error}");
            self.life.lock().note_guarded(HealthNote::NotCalledBack { no, why });
            let mut trips = self.trips.lock();
            if !self.closing.load(Ordering::SeqCst) {
                self.tripped.wait_for(&mut trips, CALL_BACK_PAUSE);
            }
            !self.closing.load(Ordering::SeqCst)
        };
        let done = persist(CALL_BACK_TRIES, || self.take_back(no, why), pause);
        let mut life = self.life.lock();
        match done {
            Ok(true) => life.note_guarded(HealthNote::Guarded { no, why: why.to_owned() }),
            // It went another way meanwhile.
            Ok(false) => life.guarded.retain(
                |note| !matches!(note, HealthNote::NotCalledBack { no: other, .. } if *other == no),
            ),
            Err(_) => {
                if let Some(watch) = life.watches.get(&no) {
                    watch.rearm();
                }
            }
        }
    }

    /// Takes the step that calls a canary back; `false` if the policy is none any more.
    fn take_back(&self, no: PolicyNo, why: &str) -> Result<bool, DeskError> {
        let turn = self.turn.lock();
        let life = self.life.lock();
        let Ok(identity) = life.identity(no).cloned() else { return Ok(false) };
        if life.lineups.of(identity.kind).canary.is_none_or(|(canary, _)| canary != no) {
            return Ok(false);
        }
        drop(life);
        self.record(&turn, &identity, Step::Guarded, 0, why)?;
        self.arrange(&turn)?;
        Ok(true)
    }
}

/// Tries so many times, with a pause after each failure; one that returns `false` is the end of it.
fn persist<T, E>(
    tries: u32,
    mut attempt: impl FnMut() -> Result<T, E>,
    mut pause: impl FnMut(&E) -> bool,
) -> Result<T, E> {
    let mut left = tries;
    loop {
        left = left.saturating_sub(1);
        match attempt() {
            Err(error) if pause(&error) && left > 0 => {}
            done => return done,
        }
    }
}

impl Desk {
    /// Installs a plugin: checks its bundle, signature and configuration, loads it, calls it once,
    /// keeps it, and notes it in the journal. Nobody is asked by it yet.
    ///
    /// `config` is JSON that fits the manifest's schema; empty for `{}`. The same plugin with the
    /// same configuration may be installed again, which mends a missing file.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong; nothing was kept then.
    pub fn install(&self, bundle: &[u8], config: &str) -> Result<Installed, DeskError> {
        let shared = &*self.shared;
        let runtime = shared.runtime.as_ref().ok_or(DeskError::NoPlugins)?;
        let (read, signer) = shared.trusted(bundle)?;
        let manifest = read.manifest();
        let config = canonical(config, manifest)?;
        let kind = kind_of(manifest.kind);
        let identity = Identity {
            kind,
            name: manifest.id.clone(),
            version: manifest.version.clone(),
            plugin: read.wasm_hash(),
            config: *blake3::hash(config.as_bytes()).as_bytes(),
        };
        let threads = shared.threads;
        let loading = Loading { runtime, bundle: &read, config: &config, threads };
        let maker = AnyMaker::load(kind, &loading)?;
        let turn = shared.turn.lock();
        let kept = shared.shelf.bundle(&identity.plugin)?;
        let kept = kept.map(|kept| Bundle::read(&kept, &BundleLimits::default()));
        if matches!(&kept, Some(Ok(kept)) if kept.hash() != read.hash()) {
            let why = "another bundle of the same component is installed; remove that first";
            return Err(DeskError::Bundle(why.to_owned()));
        }
        shared.shelf.keep(&identity.plugin, bundle, &identity.config, &config)?;
        let on_failure = failure_of(manifest);
        let by = signer.as_deref().map_or(String::new(), |name| format!(" signed by {name}"));
        let note = format!("on_failure={}{by}", word(on_failure));
        let no = match shared.record(&turn, &identity, Step::Installed, 0, &note) {
            Ok(no) => no,
            Err(error) => {
                if !shared.life.lock().known.values().any(|known| *known == identity) {
                    shared.shelf.remove(&identity.plugin, &identity.config, kept.is_none());
                }
                return Err(error);
            }
        };
        let mut life = shared.life.lock();
        life.on_failure.insert(no, on_failure);
        let tally = life.tally(no);
        life.ready.insert(no, maker.policy(no, identity.clone(), tally));
        drop(life);
        shared.arrange(&turn)?;
        Ok(Installed { no, identity, signer })
    }

    /// Makes a policy decide for all at once.
    ///
    /// # Errors
    ///
    /// Returns that it is not installed, that another one is pinned, or what the engine says.
    pub fn activate(&self, no: PolicyNo) -> Result<(), DeskError> {
        self.advance(no, Step::Activated, 0, "")
    }

    /// Asks a policy beside the one that decides, for a share of the customers in
    /// ten-thousandths; [`Desk::divergence`] compares. It takes the place of another shadow.
    ///
    /// # Errors
    ///
    /// As [`Desk::activate`]; a share outside [`SHARE`].
    pub fn shadow(&self, no: PolicyNo, share_bp: u64) -> Result<(), DeskError> {
        check_all(&[(SHARE, share_bp)])?;
        let note = format!("share_bp={share_bp}");
        self.advance(no, Step::Shadowed, share_bp as u16, &note)?;
        // Only now: a step that is refused leaves the report of a running shadow as it was.
        self.shared.shadows.begin(no);
        Ok(())
    }

    /// Lets a policy decide for a share of the customers in ten-thousandths, until it is promoted,
    /// rolled back, or called back by its guards. A canary may be given another share.
    ///
    /// # Errors
    ///
    /// As [`Desk::activate`]; a share or a guard outside its range.
    pub fn canary(&self, no: PolicyNo, share_bp: u64, guards: Guards) -> Result<(), DeskError> {
        check_all(&[(SHARE, share_bp)])?;
        guards.check()?;
        self.shared.make_ready(&[no])?;
        let turn = self.shared.turn.lock();
        let mut life = self.shared.life.lock();
        let before = life.lineup(no)?.canary;
        let kept = life.watches.get(&no).filter(|watch| {
            before.is_some_and(|(canary, _)| canary == no) && *watch.guards() == guards
        });
        let watch = kept.cloned().unwrap_or_else(|| Arc::new(Watch::new(guards)));
        let old = life.watches.insert(no, watch);
        drop(life);
        let done = self.advance_in(&turn, no, Step::Canary, share_bp as u16, &guards.to_string());
        if done.is_err() {
            let mut life = self.shared.life.lock();
            match old {
                Some(old) => life.watches.insert(no, old),
                None => life.watches.remove(&no),
            };
        }
        done
    }

    /// Makes a canary decide for all.
    ///
    /// # Errors
    ///
    /// Returns that it is none, or what the engine says.
    pub fn promote(&self, no: PolicyNo) -> Result<(), DeskError> {
        let turn = self.shared.turn.lock();
        let canary = self.shared.life.lock().lineup(no)?.canary;
        if canary.map(|(canary, _)| canary) != Some(no) {
            return Err(DeskError::step(no, "is no canary"));
        }
        self.advance_in(&turn, no, Step::Promoted, 0, "")
    }

    /// Takes the last step of a policy back: a canary ends; where the policy decides, the one that
    /// did so before decides again.
    ///
    /// # Errors
    ///
    /// Returns that it is neither, that it is pinned or has a canary beside it, or what the engine
    /// says.
    pub fn rollback(&self, no: PolicyNo) -> Result<(), DeskError> {
        let before = self.shared.life.lock().lineup(no)?.before.last().copied();
        self.shared.make_ready(before.as_slice())?;
        let turn = self.shared.turn.lock();
        let life = self.shared.life.lock();
        let lineup = life.lineup(no)?;
        let kind = life.identity(no)?.kind;
        let canary = lineup.canary.map(|(canary, _)| canary);
        if canary != Some(no) && lineup.active != Some(no) {
            return Err(DeskError::step(no, "neither decides nor is a canary"));
        }
        if let Some(other) = canary.filter(|canary| *canary != no) {
            let why = format!("has canary {} beside it; end that first", other.0);
            return Err(DeskError::step(no, why));
        }
        if lineup.pinned == Some(no) {
            return Err(DeskError::step(no, "is pinned; unpin it first"));
        }
        let identity = life.identity(no)?.clone();
        drop(life);
        self.shared.record(&turn, &identity, Step::RolledBack, 0, "by an operator")?;
        self.shared.pass_over_stale(&turn, kind, is_built_in(&identity.plugin))?;
        self.shared.arrange(&turn)
    }

    /// Keeps the policy that decides in its place: no other one of its kind is activated, tried as
    /// a canary or promoted until it is let go.
    ///
    /// # Errors
    ///
    /// Returns that it does not decide, or that a canary runs.
    pub fn pin(&self, no: PolicyNo) -> Result<(), DeskError> {
        let turn = self.shared.turn.lock();
        let life = self.shared.life.lock();
        let lineup = life.lineup(no)?;
        if lineup.active != Some(no) {
            return Err(DeskError::step(no, "does not decide; activate it first"));
        }
        if lineup.canary.is_some() {
            return Err(DeskError::step(no, "a canary runs beside it; end that first"));
        }
        let identity = life.identity(no)?.clone();
        drop(life);
        self.shared.record(&turn, &identity, Step::Pinned, 0, "")?;
        self.shared.arrange(&turn)
    }

    /// Lets a pinned policy go.
    ///
    /// # Errors
    ///
    /// Returns that it is not pinned, or what the engine says.
    pub fn unpin(&self, no: PolicyNo) -> Result<(), DeskError> {
        let turn = self.shared.turn.lock();
        let life = self.shared.life.lock();
        if life.lineup(no)?.pinned != Some(no) {
            return Err(DeskError::step(no, "is not pinned"));
        }
        let identity = life.identity(no)?.clone();
        drop(life);
        self.shared.record(&turn, &identity, Step::Unpinned, 0, "")?;
        self.shared.arrange(&turn)
    }

    /// Ends the shadow or canary of a policy without more.
    ///
    /// # Errors
    ///
    /// Returns that it is neither, or what the engine says.
    pub fn stop(&self, no: PolicyNo) -> Result<(), DeskError> {
        let turn = self.shared.turn.lock();
        let life = self.shared.life.lock();
        if !matches!(life.role(no).0, Role::Canary(_) | Role::Shadow(_)) {
            life.identity(no)?;
            return Err(DeskError::step(no, "is neither shadow nor canary"));
        }
        let identity = life.identity(no)?.clone();
        drop(life);
        self.shared.record(&turn, &identity, Step::Stopped, 0, "")?;
        self.shared.arrange(&turn)
    }

    /// Removes a policy that has no part; what it decided stays in the journal.
    ///
    /// # Errors
    ///
    /// Returns that it is not installed or has a part, or what the engine says.
    pub fn remove(&self, no: PolicyNo) -> Result<(), DeskError> {
        let turn = self.shared.turn.lock();
        let life = self.shared.life.lock();
        let lineup = life.lineup(no)?;
        if !lineup.installed.contains(&no) {
            return Err(DeskError::Unknown(no));
        }
        if lineup.in_use(no) {
            return Err(DeskError::step(no, "has a part; roll it back, stop or unpin it first"));
        }
        let identity = life.identity(no)?.clone();
        if is_built_in(&identity.plugin) {
            return Err(DeskError::step(no, "is built in; take its configuration away instead"));
        }
        drop(life);
        self.shared.record(&turn, &identity, Step::Removed, 0, "")?;
        let mut life = self.shared.life.lock();
        life.ready.remove(&no);
        life.watches.remove(&no);
        self.shared.shadows.forget(no);
        let Identity { plugin, config, .. } = identity;
        let last = !life.known.iter().any(|(other, known)| {
            *other != no
                && known.plugin == plugin
                && life.lineups.of(known.kind).installed.contains(other)
        });
        drop(life);
        self.shared.shelf.remove(&plugin, &config, last);
        self.shared.arrange(&turn)
    }

    /// Returns who decides, as the steps of the journal say.
    pub fn lineups(&self) -> Lineups {
        self.shared.life.lock().shown.clone()
    }

    /// Returns every policy that the journal knows, with its part and its steps.
    pub fn list(&self) -> Vec<Listed> {
        let views = self.shared.engine.policies();
        let life = self.shared.life.lock();
        let listed = |view: PolicyView| {
            let lineup = life.lineups.of(view.kind);
            let (role, _) = life.role(view.no);
            let installed = lineup.installed.contains(&view.no);
            let pinned = lineup.pinned == Some(view.no);
            let last_failure = life.ready.get(&view.no).and_then(AnyPolicy::last_failure);
            Listed { view, role, installed, pinned, last_failure }
        };
        views.into_iter().map(listed).collect()
    }

    fn advance(&self, no: PolicyNo, step: Step, share: u16, note: &str) -> Result<(), DeskError> {
        self.shared.make_ready(&[no])?;
        let turn = self.shared.turn.lock();
        self.advance_in(&turn, no, step, share, note)
    }

    /// Takes a step that gives a policy a part.
    fn advance_in(
        &self,
        turn: &Turn<'_>,
        no: PolicyNo,
        step: Step,
        share: u16,
        note: &str,
    ) -> Result<(), DeskError> {
        let life = self.shared.life.lock();
        let lineup = life.lineup(no)?;
        if !lineup.installed.contains(&no) {
            return Err(DeskError::Unknown(no));
        }
        if let Some(pinned) = lineup.pinned.filter(|_| step != Step::Shadowed) {
            let why = format!("policy {} is pinned; unpin it first", pinned.0);
            return Err(DeskError::step(no, why));
        }
        if lineup.active == Some(no) {
            return Err(DeskError::step(no, "decides already"));
        }
        if let Some((canary, _)) = lineup.canary.filter(|(canary, _)| *canary != no)
            && step != Step::Shadowed
        {
            let why = format!("policy {} is a canary; end that first", canary.0);
            return Err(DeskError::step(no, why));
        }
        let identity = life.identity(no)?.clone();
        if is_built_in(&identity.plugin)
            && self.shared.settings.built_in(identity.kind).map(|(_, hash)| hash)
                != Some(identity.config)
        {
            return Err(DeskError::step(no, "is built in, with a configuration of before"));
        }
        drop(life);
        // A policy that could not be asked gets no part.
        self.shared.make_ready(&[no])?;
        let mut life = self.shared.life.lock();
        let absent = match life.ready.get(&no) {
            Some(AnyPolicy::Pricing(policy)) => policy.absent(),
            Some(AnyPolicy::Fraud(policy)) => policy.absent(),
            Some(AnyPolicy::Recommend(policy)) => policy.absent(),
            None => None,
        };
        if let Some(why) = absent.map(str::to_owned) {
            life.ready.remove(&no);
            return Err(DeskError::step(no, format!("{why}; install it again")));
        }
        drop(life);
        self.shared.record(turn, &identity, step, share, note)?;
        self.shared.arrange(turn)
    }
}

/// Returns a configuration in its canonical text, once it fits the manifest.
fn canonical(config: &str, manifest: &Manifest) -> Result<String, DeskError> {
    let config = if config.trim().is_empty() { "{}" } else { config };
    let value: Value =
        serde_json::from_str(config).map_err(|error| DeskError::Config(error.to_string()))?;
    if let Some(schema) = &manifest.config_schema {
        let faults = schema.check(&value);
        if !faults.is_empty() {
            let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
            return Err(DeskError::Config(texts.join("; ")));
        }
    }
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::persist;

    /// What is refused a few times is done in the end; what is always refused is given up after so
    /// many tries, or when the desk closes.
    #[test]
    fn a_refused_step_is_tried_again() {
        let after = |refusals: u32, open: u32| {
            let (mut tried, mut paused) = (0, 0);
            let attempt = || {
                tried += 1;
                if tried > refusals { Ok(()) } else { Err(tried) }
            };
            let pause = |_: &u32| {
                paused += 1;
                paused < open
            };
            let done = persist(5, attempt, pause);
            (done, tried, paused)
        };
        assert_eq!(after(0, 9), (Ok(()), 1, 0));
        assert_eq!(after(4, 9), (Ok(()), 5, 4));
        assert_eq!(after(5, 9), (Err(5), 5, 5));
        assert_eq!(after(9, 2), (Err(2), 2, 2));
    }
}
