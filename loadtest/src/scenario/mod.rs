//! Scenarios: who comes, when, what they do, and what must hold, read from a TOML file.
//!
//! [`Scenario::read`] checks everything, so what it returns can be run. Its form is published as
//! `loadtest/schema/scenario-1.json` and described in `docs/LOADTEST.md`.

mod actor;
mod check;
mod error;
mod ready;
#[cfg(feature = "schema")]
mod schema;
mod setting;
mod stage;
mod value;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "workers")]
use crate::crew::Steady;
use crate::crowd::Connections;
use crate::error::LoadError;
use crate::http::{HttpVersion, Trust, Wire};
use crate::load::AckLevel;
use crate::replay::Placement;
use crate::results::threshold::Threshold;
use crate::schedule::{Form, Shape};

pub use actor::{ACTORS_MAX, ActorKind};
pub use error::ScenarioError;
pub use ready::{READY, Ready, ready};
#[cfg(feature = "schema")]
pub use schema::schema_json;
pub use setting::{SETTINGS_MAX, Setting};
pub use stage::STAGES_MAX;
pub use value::time as time_of;

pub(crate) use actor::{Actor, Basket, Flow, Think};
pub(crate) use check::HOT_SKU_NAME;
pub(crate) use value::nearest;

/// Version of the form that this build reads.
pub const SCHEMA: u32 = 1;
/// Largest scenario file in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Name of the stage that is measured in a run at one steady rate.
#[cfg(any(feature = "report", feature = "workers"))]
pub(crate) const MEASURED: &str = "measured";

/// A scenario that was read and checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name for reports.
    pub name: String,
    /// What it is about, for people; may be empty.
    pub description: String,
    /// The file as it was written.
    pub text: String,
    /// Seed of all that is random; `None` takes the time.
    pub seed: Option<u64>,
    /// Where the load goes; `None` leaves it to the command.
    pub url: Option<String>,
    /// Command of a host that the load tester starts; `None` takes the ordinary one where it has
    /// to start one.
    pub command: Option<Vec<String>>,
    /// Environment variable that holds the API key.
    pub key_env: String,
    /// How the target is spoken to.
    pub wire: Wire,
    /// What is worth knowing although the scenario can be run.
    pub notes: Vec<String>,
    /// Whether the truth is checked.
    pub truth: bool,
    /// Thresholds: expression and what holds, such as `buy.intended.p99` and `<50ms`.
    pub slo: Vec<(String, String)>,
    /// What goes wrong on purpose, in order of time.
    pub faults: Vec<Fault>,
    pub(crate) drive: DriveTerms,
    pub(crate) stock: StockTerms,
    /// Customers to draw from; 0 makes every user one of its own.
    pub(crate) customers: u32,
    pub(crate) ttl: Duration,
    pub(crate) shape: Shape,
    pub(crate) live_users: usize,
    pub(crate) stages: Vec<StageTerms>,
    pub(crate) actors: Vec<Actor>,
    pub(crate) expiry_skew: Duration,
    pub(crate) allowed: BTreeMap<String, u64>,
    /// The one rate that replaces the stages of the text, where one does.
    #[cfg(feature = "workers")]
    pub(crate) steady: Option<Steady>,
}

/// How the load is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriveTerms {
    pub(crate) ack: AckLevel,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) pipeline: usize,
    pub(crate) timeout: Duration,
}

/// What is for sale.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StockTerms {
    pub(crate) skus: u32,
    pub(crate) units: u32,
    pub(crate) hot_units: u32,
    pub(crate) hot_limit: Option<u32>,
    pub(crate) currency: String,
    pub(crate) price: i64,
    /// Exponent of Zipf's law; 0 draws evenly.
    pub(crate) zipf: f64,
    pub(crate) hot_share: f64,
}

/// A stage with its place in time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StageTerms {
    pub(crate) name: String,
    pub(crate) arrivals: StageArrivals,
    /// Length; of a trace without one, the longest run.
    pub(crate) length: Duration,
}

/// How users come in a stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StageArrivals {
    /// By a rate.
    Rate(Form),
    /// From a file.
    Trace {
        /// The file, as the scenario names it.
        file: PathBuf,
        /// How many times as fast as recorded; `None` as fast as answers come.
        speed: Option<f64>,
        /// Orders a second, against the recorded times.
        rate: Option<f64>,
        /// The first orders only.
        orders: Option<u64>,
        /// Which cells the host keeps together.
        placement: Placement,
        /// Whether the orders are read before the first is sent.
        preload: bool,
    },
    /// As fast as answers come.
    Max,
}

impl StageArrivals {
    /// Returns the name of the shape.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Rate(Form::Ramp { .. }) => "ramp",
            Self::Rate(Form::Hold { .. }) => "hold",
            Self::Rate(Form::Flash { .. }) => "flash",
            Self::Trace { .. } => "trace",
            Self::Max => "max",
        }
    }
}

/// Something that goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// When, from the start of the load.
    pub at: Duration,
    /// What.
    pub action: FaultAction,
    /// How long; `None` takes [`FaultAction::length`].
    pub length: Option<Duration>,
    /// Share of the callbacks that it hits, above 0 to 1.
    pub share: f64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// The host is killed and started again on the same data.
    KillHost,
    /// The host is stopped and continued.
    PauseHost,
    /// The disk of the host is full.
    DiskFull,
    /// Payments are confirmed by nobody: `place` is never sent.
    DropCallbacks,
    /// Payments are confirmed twice with the same key.
    DoubleCallbacks,
}

impl FaultAction {
    /// Every action, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::KillHost,
        Self::PauseHost,
        Self::DiskFull,
        Self::DropCallbacks,
        Self::DoubleCallbacks,
    ];

    /// Returns the name that scenarios use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillHost => "kill-host",
            Self::PauseHost => "pause-host",
            Self::DiskFull => "disk-full",
            Self::DropCallbacks => "drop-callbacks",
            Self::DoubleCallbacks => "double-callbacks",
        }
    }

    /// Returns whether it happens to the host, so that the load tester must have started it.
    pub const fn is_of_host(self) -> bool {
        matches!(self, Self::KillHost | Self::PauseHost | Self::DiskFull)
    }

    /// Returns how long it lasts unless a scenario says otherwise; `None` is to the end.
    pub const fn length(self) -> Option<Duration> {
        match self {
            Self::KillHost => Some(Duration::ZERO),
            Self::PauseHost => Some(Duration::from_secs(1)),
            Self::DiskFull => Some(Duration::from_secs(2)),
            Self::DropCallbacks | Self::DoubleCallbacks => None,
        }
    }
}

impl Scenario {
    /// Reads and checks a scenario; `shown` names the file in errors.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with line and column, the value, what is allowed, and what may have
    /// been meant.
    pub fn read(text: &str, shown: &str) -> Result<Self, ScenarioError> {
        let file: wire::File = toml::from_str(text)
            .map_err(|e| ScenarioError::of_toml(shown, text, e.message(), e.span()))?;
        let name = Path::new(shown).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let checked = check::check(&file, name.as_deref().unwrap_or("scenario"));
        let mut scenario = checked.map_err(|wrong| ScenarioError::of_value(shown, text, wrong))?;
        text.clone_into(&mut scenario.text);
        Ok(scenario)
    }

    /// Reads the scenario of a file, or a ready one by its name; files of it are looked up beside
    /// it.
    ///
    /// # Errors
    ///
    /// Returns an input error if there is no such file, and otherwise as [`Scenario::read`].
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::open_with(path, &[])
    }

    /// As [`Scenario::read`], with settings against those of the text.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the text or with a setting.
    pub fn read_with(text: &str, shown: &str, settings: &[Setting]) -> Result<Self, LoadError> {
        // The text as it stands is read first: its faults have a line and a column there.
        let plain = Self::read(text, shown).map_err(|e| LoadError::input(e.to_string()))?;
        if settings.is_empty() {
            return Ok(plain);
        }
        let text = setting::apply(text, settings)?;
        let read = Self::read(&text, shown);
        read.map_err(|e| LoadError::usage(format!("with what was set: {}", e.message())))
    }

    /// As [`Scenario::open`], with settings against those of the file.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the file or with a setting.
    pub fn open_with(path: &Path, settings: &[Setting]) -> Result<Self, LoadError> {
        let shown = path.display().to_string();
        if let Some(ready) = ready(&shown).filter(|_| !path.exists()) {
            return Self::read_with(ready.text, &format!("{}.toml", ready.name), settings);
        }
        let wrong = |what: String| LoadError::input(format!("scenario {shown}: {what}"));
        let length = std::fs::metadata(path).map_err(|e| {
            let names: Vec<_> = READY.iter().map(|ready| ready.name).collect();
            let near = value::nearest(&shown, names.iter().copied());
            let hint = near.map_or_else(
                || format!("a file, or one of {}", names.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            wrong(format!("{e}; {hint}"))
        })?;
        if length.len() > FILE_BYTES_MAX {
            return Err(wrong(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let mut scenario = Self::read_with(&text, &shown, settings)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        if let Trust::Ca(ca) = &mut scenario.wire.trust {
            *ca = beside.join(&ca);
        }
        for stage in &mut scenario.stages {
            if let StageArrivals::Trace { file, .. } = &mut stage.arrivals {
                *file = beside.join(&file);
            }
        }
        Ok(scenario)
    }

    /// Returns whether recorded orders are sent.
    pub(crate) fn is_trace(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage.arrivals, StageArrivals::Trace { .. }))
    }

    /// Reads a threshold and checks that what it names exists in a run of this scenario.
    ///
    /// # Errors
    ///
    /// The expression is malformed, or names a stage, a kind of user, a check, a request or an
    /// outcome that no run of it has.
    pub(crate) fn threshold(&self, text: &str) -> Result<Threshold, LoadError> {
        let threshold = Threshold::parse(text)?;
        let stages: Vec<&str> = self.stages.iter().map(|stage| stage.name.as_str()).collect();
        let mut actors: Vec<&str> = self.actors.iter().map(|actor| actor.name.as_str()).collect();
        if self.stages.iter().any(|stage| matches!(stage.arrivals, StageArrivals::Trace { .. })) {
            actors = vec![crate::replay::ACTOR];
        }
        threshold.check_names(&stages, &actors)?;
        Ok(threshold)
    }

    /// Returns about how many connections are made in the busiest stretch of so many seconds whose
    /// ports may be kept when they are closed; `None` without a schedule.
    pub(crate) fn connections_within(&self, seconds: f64) -> Option<f64> {
        let of_actor = |actor: &Actor| match (actor.connections, self.wire.http) {
            // They are reset.
            (Connections::KeepAlive | Connections::PerUser, _) | (_, HttpVersion::Two) => 0.0,
            (Connections::PerRequest, HttpVersion::One) => {
                actor.flow.len() as f64 * (f64::from(actor.tabs) + actor.double_click)
            }
        };
        let weights: f64 = self.actors.iter().map(|actor| actor.weight).sum();
        let sum: f64 = self.actors.iter().map(|actor| actor.weight * of_actor(actor)).sum();
        Some(crate::sale::curve(self)?.busiest(seconds) * sum / weights)
    }

    /// Returns whether it is about a host that the load tester starts itself.
    pub fn starts_host(&self) -> bool {
        self.command.is_some() || self.faults.iter().any(|fault| fault.action.is_of_host())
    }

    /// Returns this crowd at one steady rate of users: a stage to warm up, then one that is
    /// measured. Faults are left out.
    ///
    /// # Errors
    ///
    /// Returns a usage error for a trace, whose pace is recorded.
    #[cfg(any(feature = "report", feature = "workers"))]
    pub(crate) fn at_rate(
        &self,
        rate: f64,
        warm_up: Duration,
        measured: Duration,
    ) -> Result<Self, LoadError> {
        if self.stages.iter().any(|stage| matches!(stage.arrivals, StageArrivals::Trace { .. })) {
            let text = format!("{} replays a trace, which has no rate to be changed", self.name);
            return Err(LoadError::usage(text));
        }
        let stage = |name: &str, length| StageTerms {
            name: name.to_owned(),
            arrivals: StageArrivals::Rate(Form::Hold { rate }),
            length,
        };
        let warm = (!warm_up.is_zero()).then(|| stage("warm-up", warm_up));
        let stages = warm.into_iter().chain([stage(MEASURED, measured)]).collect();
        #[cfg(feature = "workers")]
        let steady = Some(Steady { rate, warm_up, measured });
        Ok(Self {
            stages,
            faults: Vec::new(),
            slo: Vec::new(),
            #[cfg(feature = "workers")]
            steady,
            ..self.clone()
        })
    }

    /// Returns the length of the schedule; `None` where a trace decides it.
    pub fn length(&self) -> Option<Duration> {
        (!self.is_trace()).then(|| self.stages.iter().map(|stage| stage.length).sum())
    }

    /// Returns the hash of what is asked, whatever the layout of the file, the target's address
    /// and the seed: runs with the same hash asked the same load. A trace counts by its content,
    /// wherever it lies; if it can't be read, by its name.
    pub fn hash(&self) -> String {
        use std::fmt::Write as _;
        let mut normal = String::new();
        let mut stages = self.stages.clone();
        for stage in &mut stages {
            if let StageArrivals::Trace { file, .. } = &mut stage.arrivals {
                let mut hasher = blake3::Hasher::new();
                let read = std::fs::File::open(&*file).and_then(|trace| {
                    hasher.update_reader(trace)?;
                    Ok(())
                });
                if read.is_ok() {
                    *file = hasher.finalize().to_hex().as_str().into();
                }
            }
        }
        // Writing to a string can't fail. Debug forms are derived, so they name every member.
        let _ = write!(
            normal,
            "{:?} {:?} {} {:?} {:?} {} {:?} {:?}",
            self.drive,
            self.stock,
            self.customers,
            self.ttl,
            self.shape,
            self.live_users,
            stages,
            self.actors,
        );
        let _ = write!(normal, " {:?} {:?}", self.faults, self.truth);
        blake3::hash(normal.as_bytes()).to_hex().to_string()
    }
}
