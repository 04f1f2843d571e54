//! The life of policies: install, activate, shadow, canary, promote, roll back, pin, remove.
//!
//! Each step is a command of the engine and takes effect after its reply, by a swap of the whole
//! set: a request is decided by the set before or by the one after, never by both. One step at a
//! time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use onhand_core::{Command, Key, PolicyKind, PolicyNo, PolicyStep, PolicyView, Receipt, Step};
use onhand_plugin_bundle::{Bundle, BundleLimits, Kind, Manifest, OnFailure as OnFailureOf};
use onhand_plugin_runtime::{Limits, OnFailure, Plugin, PluginOptions, Runtime, World};
use serde_json::Value;

use crate::desk::{Desk, Shared};
use crate::error::DeskError;
use crate::follow;
use crate::guard::{GuardView, Guards, Watch};
use crate::health::{HealthNote, Role};
use crate::limits::{SHARE, check_all};
use crate::lineup::{Lineup, Lineups};
use crate::policy::{AnyPolicy, Identity, Maker, Policy, Tally};
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
}

/// Where all policies stand.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) lineups: Lineups,
    known: BTreeMap<PolicyNo, Identity>,
    /// Policies that can be asked.
    pub(crate) ready: BTreeMap<PolicyNo, AnyPolicy>,
    /// Watches of canaries, kept over swaps.
    watches: BTreeMap<PolicyNo, Arc<Watch>>,
    /// What is done when a policy fails, as its installation noted.
    on_failure: BTreeMap<PolicyNo, OnFailure>,
    pub(crate) guarded: VecDeque<HealthNote>,
}

impl Life {
    fn identity(&self, no: PolicyNo) -> Result<&Identity, DeskError> {
        self.known.get(&no).ok_or(DeskError::Unknown(no))
    }

    fn lineup(&self, no: PolicyNo) -> Result<&Lineup, DeskError> {
        Ok(self.lineups.of(self.identity(no)?.kind))
    }

    /// Returns the part of a policy, and what its guards see.
    pub(crate) fn role(&self, no: PolicyNo) -> (Role, Option<GuardView>) {
        let Ok(lineup) = self.lineup(no) else { return (Role::Idle, None) };
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

    fn note_guarded(&mut self, note: HealthNote) {
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

fn limits_of(manifest: &Manifest) -> Limits {
    let mut limits = Limits::default();
    let fields: [(&str, &mut u64); 14] = [
        ("fuel_per_order", &mut limits.fuel_per_order),
        ("fuel_init", &mut limits.fuel_init),
        ("deadline_ms", &mut limits.deadline_ms),
        ("memory_bytes", &mut limits.memory_bytes),
        ("table_elements", &mut limits.table_elements),
        ("output_bytes", &mut limits.output_bytes),
        ("host_calls", &mut limits.host_calls),
        ("log_lines", &mut limits.log_lines),
        ("module_bytes", &mut limits.module_bytes),
        ("functions", &mut limits.functions),
        ("function_bytes", &mut limits.function_bytes),
        ("compile_ms", &mut limits.compile_ms),
        ("instances", &mut limits.instances),
        ("calls_per_instance", &mut limits.calls_per_instance),
    ];
    for (name, field) in fields {
        *field = manifest.limit(name).unwrap_or(*field);
    }
    limits
}

const fn failure_of(manifest: &Manifest) -> OnFailure {
    match manifest.on_failure {
        OnFailureOf::BuiltIn => OnFailure::BuiltIn,
        OnFailureOf::FailOpen => OnFailure::FailOpen,
        OnFailureOf::FailClosed => OnFailure::FailClosed,
    }
}

const fn kind_of(kind: Kind) -> PolicyKind {
    match kind {
        Kind::Pricing => PolicyKind::Pricing,
        Kind::Fraud => PolicyKind::Fraud,
        Kind::Recommend => PolicyKind::Recommend,
    }
}

fn load<W: World>(runtime: &Runtime, bundle: &Bundle, config: &str) -> Result<Maker<W>, DeskError> {
    let options = PluginOptions {
        limits: limits_of(bundle.manifest()),
        config: config.to_owned(),
        on_failure: failure_of(bundle.manifest()),
    };
    Plugin::<W>::load(runtime, bundle.wasm(), options).map(Maker::Plugin).map_err(DeskError::Load)
}

fn policy<W: World>(no: PolicyNo, identity: Identity, maker: Maker<W>) -> Arc<Policy<W>> {
    Arc::new(Policy { no, identity, maker, tally: Tally::default() })
}

/// A maker of any world, before its policy has a number.
enum AnyMaker {
    Pricing(Maker<onhand_plugin_runtime::Pricing>),
    Fraud(Maker<onhand_plugin_runtime::Fraud>),
    Recommend(Maker<onhand_plugin_runtime::Recommend>),
}

impl AnyMaker {
    fn load(
        runtime: &Runtime,
        bundle: &Bundle,
        config: &str,
        kind: PolicyKind,
    ) -> Result<Self, DeskError> {
        Ok(match kind {
            PolicyKind::Pricing => Self::Pricing(load(runtime, bundle, config)?),
            PolicyKind::Fraud => Self::Fraud(load(runtime, bundle, config)?),
            PolicyKind::Recommend => Self::Recommend(load(runtime, bundle, config)?),
        })
    }

    fn built_in(kind: PolicyKind) -> Self {
        match kind {
            PolicyKind::Pricing => Self::Pricing(Maker::BuiltIn),
            PolicyKind::Fraud => Self::Fraud(Maker::BuiltIn),
            PolicyKind::Recommend => Self::Recommend(Maker::BuiltIn),
        }
    }

    fn absent(kind: PolicyKind, on_failure: OnFailure, why: String) -> Self {
        match kind {
            PolicyKind::Pricing => Self::Pricing(Maker::Absent { on_failure, why }),
            PolicyKind::Fraud => Self::Fraud(Maker::Absent { on_failure, why }),
            PolicyKind::Recommend => Self::Recommend(Maker::Absent { on_failure, why }),
        }
    }

    fn policy(self, no: PolicyNo, identity: Identity) -> AnyPolicy {
        match self {
            Self::Pricing(maker) => AnyPolicy::Pricing(policy(no, identity, maker)),
            Self::Fraud(maker) => AnyPolicy::Fraud(policy(no, identity, maker)),
            Self::Recommend(maker) => AnyPolicy::Recommend(policy(no, identity, maker)),
        }
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
        let mut life = self.life.lock();
        let views = self.engine.policies();
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
        for kind in [PolicyKind::Pricing, PolicyKind::Fraud] {
            self.take_up_built_in(&mut life, kind)?;
        }
        self.arrange(&mut life)
    }

    /// Makes the configured built-in policy decide, unless a plugin does.
    fn take_up_built_in(&self, life: &mut Life, kind: PolicyKind) -> Result<(), DeskError> {
        let active = life.lineups.of(kind).active;
        let active = active.and_then(|no| Some((no, life.known.get(&no)?.clone())));
        let built_in = active.as_ref().is_none_or(|(_, active)| is_built_in(&active.plugin));
        let Some((name, config)) = self.settings.built_in(kind) else {
            if let Some((_, identity)) = active.filter(|_| built_in) {
                // Its configuration is gone, and with it what it would decide.
                let note = "no longer configured";
                self.record(life, &identity, Step::RolledBack, 0, note)?;
                return self.take_up_built_in(life, kind);
            }
            return Ok(());
        };
        let plugin = *blake3::hash(name.as_bytes()).as_bytes();
        let (name, version) = (name.to_owned(), BUILT_IN_VERSION.to_owned());
        let identity = Identity { kind, name, version, plugin, config };
        let known = life.known.values().any(|known| *known == identity);
        if !known {
            self.record(life, &identity, Step::Installed, 0, "configured")?;
        }
        let same = active.is_some_and(|(_, active)| active == identity);
        if built_in && !same {
            self.record(life, &identity, Step::Activated, 0, "configured")?;
        }
        Ok(())
    }

    /// After a rollback: a built-in policy with a configuration of before cannot decide, so that
    /// it goes too, and the one that is configured now takes its place unless that was what went.
    fn pass_over_stale(
        &self,
        life: &mut Life,
        kind: PolicyKind,
        built_in_went: bool,
    ) -> Result<(), DeskError> {
        let mut passed = false;
        while let Some(no) = life.lineups.of(kind).active {
            let identity = life.identity(no)?.clone();
            let now = self.settings.built_in(kind).map(|(_, config)| config);
            if !is_built_in(&identity.plugin) || now == Some(identity.config) {
                return Ok(());
            }
            self.record(life, &identity, Step::RolledBack, 0, "its configuration is gone")?;
            passed = true;
        }
        if passed && !built_in_went { self.take_up_built_in(life, kind) } else { Ok(()) }
    }

    /// Carries a step out: in the journal, then in the lineup.
    fn record(
        &self,
        life: &mut Life,
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
        life.known.insert(no, identity.clone());
        life.lineups.of_mut(kind).step(no, step, share);
        Ok(no)
    }

    /// Makes what the lineups need ready, and swaps the set.
    fn arrange(&self, life: &mut Life) -> Result<(), DeskError> {
        for kind in [PolicyKind::Pricing, PolicyKind::Fraud, PolicyKind::Recommend] {
            for no in life.lineups.of(kind).needed() {
                self.make_ready(life, no)?;
            }
        }
        let fraud = !life.lineups.fraud.needed().is_empty();
        let mut sightings = self.sightings.lock();
        if fraud && !sightings.is_on() {
            let now_ms = self.clock.now().millis();
            follow::fill(&self.engine, now_ms, &mut sightings).map_err(DeskError::Engine)?;
        }
        drop(sightings);
        let lineups = &life.lineups;
        let book = self.settings.pricing.as_ref().map(|pricing| Arc::clone(&pricing.book));
        let risks = self.settings.fraud.as_ref().map(|fraud| Arc::clone(&fraud.book));
        self.swap(Set {
            pricing: route(&lineups.pricing, life, |any| match any {
                AnyPolicy::Pricing(policy) => Some(Arc::clone(policy)),
                _ => None,
            }),
            fraud: route(&lineups.fraud, life, |any| match any {
                AnyPolicy::Fraud(policy) => Some(Arc::clone(policy)),
                _ => None,
            }),
            recommend: route(&lineups.recommend, life, |any| match any {
                AnyPolicy::Recommend(policy) => Some(Arc::clone(policy)),
                _ => None,
            }),
            prices: book.unwrap_or_default(),
            risks: risks.unwrap_or_default(),
        });
        Ok(())
    }

    /// Makes a policy ready to be asked; one whose file is missing or refused is asked by its
    /// failure policy.
    fn make_ready(&self, life: &mut Life, no: PolicyNo) -> Result<(), DeskError> {
        if life.ready.contains_key(&no) {
            return Ok(());
        }
        let identity = life.identity(no)?.clone();
        let kind = identity.kind;
        let maker = if is_built_in(&identity.plugin) {
            AnyMaker::built_in(kind)
        } else {
            self.fetch(&identity).unwrap_or_else(|error| {
                let on_failure = life.on_failure.get(&no).copied();
                let on_failure = on_failure.unwrap_or(OnFailure::FailClosed);
                AnyMaker::absent(kind, on_failure, error.to_string())
            })
        };
        if let Some((_, share)) = life.lineups.of(kind).shadow.filter(|(shadow, _)| *shadow == no) {
            debug_assert!(share > 0);
            self.shadows.begin(no);
        }
        life.ready.insert(no, maker.policy(no, identity));
        Ok(())
    }

    fn fetch(&self, identity: &Identity) -> Result<AnyMaker, DeskError> {
        let Identity { kind, plugin, config, .. } = identity;
        let runtime = self.runtime.as_ref().ok_or(DeskError::NoPlugins)?;
        let gone = |what: &str| DeskError::Bundle(format!("its {what} is missing or was changed"));
        let bytes = self.shelf.bundle(plugin)?.ok_or_else(|| gone("file"))?;
        let text = self.shelf.config(plugin, config)?.ok_or_else(|| gone("configuration"))?;
        let (bundle, _) = self.trusted(&bytes)?;
        if bundle.wasm_hash() != *plugin {
            return Err(gone("component"));
        }
        AnyMaker::load(runtime, &bundle, &text, *kind)
    }

    /// Reads a bundle; returns who signed it.
    fn trusted(&self, bytes: &[u8]) -> Result<(Bundle, Option<String>), DeskError> {
        let bundle = Bundle::read(bytes, &BundleLimits::default())
            .map_err(|error| DeskError::Bundle(error.to_string()))?;
        let now_ms = self.clock.now().millis();
        let signer = match self.trust.check(&bundle, now_ms) {
            Ok(signer) => Some(signer.name.clone()),
            Err(_) if self.dev => None,
            Err(error) => return Err(DeskError::Trust(error.to_string())),
        };
        Ok((bundle, signer))
    }

    /// Calls a canary back because of its guards.
    pub(crate) fn guarded(&self, no: PolicyNo, why: &str) {
        let mut life = self.life.lock();
        let Ok(identity) = life.identity(no).cloned() else { return };
        if life.lineups.of(identity.kind).canary.is_none_or(|(canary, _)| canary != no) {
            return;
        }
        let done = self
            .record(&mut life, &identity, Step::Guarded, 0, why)
            .and_then(|_| self.arrange(&mut life));
        let why = why.to_owned();
        life.note_guarded(match done {
            Ok(()) => HealthNote::Guarded { no, why },
            Err(error) => HealthNote::NotCalledBack { no, why: format!("{why}: {error}") },
        });
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
        let maker = AnyMaker::load(runtime, &read, &config, kind)?;
        let mut life = shared.life.lock();
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
        let no = match shared.record(&mut life, &identity, Step::Installed, 0, &note) {
            Ok(no) => no,
            Err(error) => {
                if !life.known.values().any(|known| *known == identity) {
                    shared.shelf.remove(&identity.plugin, &identity.config, kept.is_none());
                }
                return Err(error);
            }
        };
        life.on_failure.insert(no, on_failure);
        life.ready.insert(no, maker.policy(no, identity.clone()));
        shared.arrange(&mut life)?;
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
        self.shared.shadows.begin(no);
        let note = format!("share_bp={share_bp}");
        let done = self.advance(no, Step::Shadowed, share_bp as u16, &note);
        if done.is_err() {
            self.shared.shadows.forget(no);
        }
        done
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
        let mut life = self.shared.life.lock();
        let before = life.lineup(no)?.canary;
        let kept = life.watches.get(&no).filter(|watch| {
            before.is_some_and(|(canary, _)| canary == no) && *watch.guards() == guards
        });
        let watch = kept.cloned().unwrap_or_else(|| Arc::new(Watch::new(guards)));
        let old = life.watches.insert(no, watch);
        let done =
            self.advance_in(&mut life, no, Step::Canary, share_bp as u16, &guards.to_string());
        if done.is_err() {
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
        let mut life = self.shared.life.lock();
        if life.lineup(no)?.canary.map(|(canary, _)| canary) != Some(no) {
            return Err(DeskError::step(no, "is no canary"));
        }
        self.advance_in(&mut life, no, Step::Promoted, 0, "")
    }

    /// Takes the last step of a policy back: a canary ends; where the policy decides, the one that
    /// did so before decides again.
    ///
    /// # Errors
    ///
    /// Returns that it is neither, that it is pinned or has a canary beside it, or what the engine
    /// says.
    pub fn rollback(&self, no: PolicyNo) -> Result<(), DeskError> {
        let mut life = self.shared.life.lock();
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
        self.shared.record(&mut life, &identity, Step::RolledBack, 0, "by an operator")?;
        self.shared.pass_over_stale(&mut life, kind, is_built_in(&identity.plugin))?;
        self.shared.arrange(&mut life)
    }

    /// Keeps the policy that decides in its place: no other one of its kind is activated, tried as
    /// a canary or promoted until it is let go.
    ///
    /// # Errors
    ///
    /// Returns that it does not decide, or that a canary runs.
    pub fn pin(&self, no: PolicyNo) -> Result<(), DeskError> {
        let mut life = self.shared.life.lock();
        let lineup = life.lineup(no)?;
        if lineup.active != Some(no) {
            return Err(DeskError::step(no, "does not decide; activate it first"));
        }
        if lineup.canary.is_some() {
            return Err(DeskError::step(no, "a canary runs beside it; end that first"));
        }
        let identity = life.identity(no)?.clone();
        self.shared.record(&mut life, &identity, Step::Pinned, 0, "")?;
        self.shared.arrange(&mut life)
    }

    /// Lets a pinned policy go.
    ///
    /// # Errors
    ///
    /// Returns that it is not pinned, or what the engine says.
    pub fn unpin(&self, no: PolicyNo) -> Result<(), DeskError> {
        let mut life = self.shared.life.lock();
        if life.lineup(no)?.pinned != Some(no) {
            return Err(DeskError::step(no, "is not pinned"));
        }
        let identity = life.identity(no)?.clone();
        self.shared.record(&mut life, &identity, Step::Unpinned, 0, "")?;
        self.shared.arrange(&mut life)
    }

    /// Ends the shadow or canary of a policy without more.
    ///
    /// # Errors
    ///
    /// Returns that it is neither, or what the engine says.
    pub fn stop(&self, no: PolicyNo) -> Result<(), DeskError> {
        let mut life = self.shared.life.lock();
        if !matches!(life.role(no).0, Role::Canary(_) | Role::Shadow(_)) {
            life.identity(no)?;
            return Err(DeskError::step(no, "is neither shadow nor canary"));
        }
        let identity = life.identity(no)?.clone();
        self.shared.record(&mut life, &identity, Step::Stopped, 0, "")?;
        self.shared.arrange(&mut life)
    }

    /// Removes a policy that has no part; what it decided stays in the journal.
    ///
    /// # Errors
    ///
    /// Returns that it is not installed or has a part, or what the engine says.
    pub fn remove(&self, no: PolicyNo) -> Result<(), DeskError> {
        let mut life = self.shared.life.lock();
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
        self.shared.record(&mut life, &identity, Step::Removed, 0, "")?;
        life.ready.remove(&no);
        life.watches.remove(&no);
        self.shared.shadows.forget(no);
        let Identity { plugin, config, .. } = identity;
        let last = !life.known.iter().any(|(other, known)| {
            *other != no
                && known.plugin == plugin
                && life.lineups.of(known.kind).installed.contains(other)
        });
        self.shared.shelf.remove(&plugin, &config, last);
        self.shared.arrange(&mut life)
    }

    /// Returns who decides, as the steps of the journal say.
    pub fn lineups(&self) -> Lineups {
        self.shared.life.lock().lineups.clone()
    }

    /// Returns every policy that the journal knows, with its part and its steps.
    pub fn list(&self) -> Vec<Listed> {
        let life = self.shared.life.lock();
        let listed = |view: PolicyView| {
            let lineup = life.lineups.of(view.kind);
            let (role, _) = life.role(view.no);
            let installed = lineup.installed.contains(&view.no);
            let pinned = lineup.pinned == Some(view.no);
            Listed { view, role, installed, pinned }
        };
        self.shared.engine.policies().into_iter().map(listed).collect()
    }

    fn advance(&self, no: PolicyNo, step: Step, share: u16, note: &str) -> Result<(), DeskError> {
        let mut life = self.shared.life.lock();
        self.advance_in(&mut life, no, step, share, note)
    }

    /// Takes a step that gives a policy a part.
    fn advance_in(
        &self,
        life: &mut Life,
        no: PolicyNo,
        step: Step,
        share: u16,
        note: &str,
    ) -> Result<(), DeskError> {
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
        // A policy that could not be asked gets no part.
        self.shared.make_ready(life, no)?;
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
        self.shared.record(life, &identity, step, share, note)?;
        self.shared.arrange(life)
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
