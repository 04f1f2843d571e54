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
mod stage;
mod value;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LoadError;
use crate::load::AckLevel;
use crate::schedule::{Form, Shape};

pub use actor::{ACTORS_MAX, ActorKind};
pub use error::ScenarioError;
pub use ready::{READY, Ready, ready};
#[cfg(feature = "schema")]
pub use schema::schema_json;
pub use stage::STAGES_MAX;

pub(crate) use actor::{Actor, Basket, Flow, Think};
pub(crate) use check::HOT_SKU_NAME;

/// Version of the form that this build reads.
pub const SCHEMA: u32 = 1;
/// Largest scenario file in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

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
    /// Environment variable that holds the API key.
    pub key_env: String,
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
        /// The first orders only.
        orders: Option<u64>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, from the start of the load.
    pub at: Duration,
    /// What.
    pub action: FaultAction,
    /// How long, where it does not end at once.
    pub length: Option<Duration>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// The host is killed and started again.
    KillHost,
    /// The host is stopped and continued.
    PauseHost,
    /// The disk of the host is full.
    DiskFull,
    /// Callbacks are dropped.
    DropCallbacks,
    /// Callbacks come twice.
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
        let shown = path.display().to_string();
        if let Some(ready) = ready(&shown).filter(|_| !path.exists()) {
            let read = Self::read(ready.text, &format!("{}.toml", ready.name));
            return read.map_err(|e| LoadError::input(e.to_string()));
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
        let mut scenario =
            Self::read(&text, &shown).map_err(|e| LoadError::input(e.to_string()))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        for stage in &mut scenario.stages {
            if let StageArrivals::Trace { file, .. } = &mut stage.arrivals {
                *file = beside.join(&file);
            }
        }
        Ok(scenario)
    }

    /// Returns a scenario with all defaults and no stage, for those that are not read from a file.
    pub(crate) fn blank(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            text: String::new(),
            seed: None,
            url: None,
            key_env: "ONHAND_KEY".to_owned(),
            notes: Vec::new(),
            truth: true,
            slo: Vec::new(),
            faults: Vec::new(),
            drive: DriveTerms {
                ack: AckLevel::Group,
                connections: 64,
                threads: 1,
                batch: 1,
                pipeline: 1,
                timeout: Duration::from_secs(10),
            },
            stock: StockTerms {
                skus: 0,
                units: 1,
                hot_units: 1,
                hot_limit: None,
                currency: "EUR".to_owned(),
                price: 1_999,
                zipf: 1.1,
                hot_share: 1.0,
            },
            customers: 0,
            ttl: Duration::from_secs(2),
            shape: Shape::Uniform,
            live_users: 100_000,
            stages: Vec::new(),
            actors: Vec::new(),
            expiry_skew: Duration::from_millis(crate::truth::Terms::EXPIRY_SKEW_MS),
            allowed: BTreeMap::new(),
        }
    }

    /// Returns the length of the schedule; `None` where a trace decides it.
    pub fn length(&self) -> Option<Duration> {
        let traced = |stage: &StageTerms| matches!(stage.arrivals, StageArrivals::Trace { .. });
        let open = self.stages.iter().any(traced);
        (!open).then(|| self.stages.iter().map(|stage| stage.length).sum())
    }

    /// Returns the hash of what is asked, whatever the layout of the file, the target's address
    /// and the seed: runs with the same hash asked the same load.
    pub fn hash(&self) -> String {
        use std::fmt::Write as _;
        let mut normal = String::new();
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
            self.stages,
            self.actors,
        );
        let _ = write!(normal, " {:?} {:?}", self.faults, self.truth);
        blake3::hash(normal.as_bytes()).to_hex().to_string()
    }
}
