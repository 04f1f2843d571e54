//! A plugin loaded for its maker: any kind, any configuration, on a runtime that waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use onhand_plugin_bundle::{Answer, Facts};
use onhand_plugin_runtime::{
    Failure as CallFailure, Fraud, Kind, Limits, LoadError, Measured, OnFailure, Plugin,
    PluginOptions, Pricing, Recommend, Runtime, RuntimeConfig, Shape, inspect,
};
use onhand_policy::fact::{FraudBatch, PricingBatch, RecommendBatch};

use crate::terminal::Failure;

/// Wall-clock limit of a call here, in milliseconds: fuel is the verdict, and a busy machine none.
const DEADLINE_MS: u64 = 60_000;
/// Most configurations that a plugin is loaded with at once.
const CONFIGS_MAX: usize = 256;

/// A plugin of any kind.
#[derive(Debug)]
pub(crate) enum Loaded {
    Pricing(Plugin<Pricing>),
    Fraud(Plugin<Fraud>),
    Recommend(Plugin<Recommend>),
}

/// Calls a function with the plugin and the batch of its kind; facts were checked when they were
/// read, and those of another kind were refused.
macro_rules! with {
    ($loaded:expr, $facts:expr, |$plugin:ident, $batch:ident, $answer:ident| $then:expr) => {
        match ($loaded, $facts) {
            (Loaded::Pricing($plugin), Facts::Pricing { headers, lines, coupons }) => {
                let $answer = Answer::Pricing;
                let $batch = PricingBatch::new(headers, lines, coupons).expect("checked facts");
                $then
            }
            (Loaded::Fraud($plugin), Facts::Fraud { headers, lines }) => {
                let $answer = Answer::Fraud;
                let $batch = FraudBatch::new(headers, lines).expect("checked facts");
                $then
            }
            (Loaded::Recommend($plugin), Facts::Recommend { requests, items, candidates }) => {
                let $answer = Answer::Recommend;
                let batch = RecommendBatch::new(requests, items, candidates);
                let $batch = batch.expect("checked facts");
                $then
            }
            _ => unreachable!("facts of another kind were refused"),
        }
    };
}

impl Loaded {
    fn load(
        runtime: &Runtime,
        kind: Kind,
        wasm: &[u8],
        options: PluginOptions,
    ) -> Result<Self, LoadError> {
        Ok(match kind {
            Kind::Pricing => Self::Pricing(Plugin::load(runtime, wasm, options)?),
            Kind::Fraud => Self::Fraud(Plugin::load(runtime, wasm, options)?),
            Kind::Recommend => Self::Recommend(Plugin::load(runtime, wasm, options)?),
        })
    }

    /// Calls the plugin on a fresh instance or a warm one; returns the answer and its fuel.
    pub(crate) fn answer(&self, facts: &Facts, fresh: bool) -> Result<(Answer, u64), CallFailure> {
        with!(self, facts, |plugin, batch, answer| {
            plugin.answer(batch, fresh).map(|(raw, fuel)| (answer(raw), fuel))
        })
    }

    /// Calls the plugin on a fresh instance; returns what it took.
    pub(crate) fn measure(&self, facts: &Facts) -> Result<Measured<Answer>, CallFailure> {
        with!(self, facts, |plugin, batch, answer| {
            plugin.measure(batch).map(|measured| Measured {
                answer: measured.answer.map(answer),
                fuel: measured.fuel,
                fuel_init: measured.fuel_init,
                memory_bytes: measured.memory_bytes,
                table_elements: measured.table_elements,
                host_calls: measured.host_calls,
                logs: measured.logs,
                logs_dropped: measured.logs_dropped,
                start_time: measured.start_time,
                call_time: measured.call_time,
            })
        })
    }

    /// Calls the plugin many times on one warm instance; returns the time of each call.
    pub(crate) fn time(&self, facts: &Facts, calls: usize) -> Result<Vec<Duration>, CallFailure> {
        with!(self, facts, |plugin, batch, _answer| {
            let mut times = Vec::with_capacity(calls);
            for _ in 0..calls {
                let started = Instant::now();
                plugin.answer(batch, false)?;
                times.push(started.elapsed());
            }
            Ok(times)
        })
    }
}

/// A component on the bench: looked at once, loaded once for each configuration.
pub(crate) struct Workshop {
    runtime: Runtime,
    wasm: Vec<u8>,
    limits: Limits,
    shape: Shape,
    loaded: BTreeMap<String, Loaded>,
    /// Wall-clock time of the latest loading.
    pub(crate) load_time: Duration,
}

impl Workshop {
    /// Looks at a component and sets up a runtime that its limits fit in.
    pub(crate) fn open(wasm: &[u8], limits: Limits) -> Result<Self, LoadError> {
        let shape = inspect(wasm, &limits)?;
        let default = RuntimeConfig::default();
        let config = RuntimeConfig {
            total_instances: 8,
            memory_bytes: limits.memory_bytes.max(default.memory_bytes),
            table_elements: limits.table_elements.max(default.table_elements),
            ..default
        };
        let runtime =
            Runtime::new(config).map_err(|error| LoadError::Compile(error.to_string()))?;
        let (wasm, loaded) = (wasm.to_vec(), BTreeMap::new());
        Ok(Self { runtime, wasm, limits, shape, loaded, load_time: Duration::ZERO })
    }

    /// Returns what the component is.
    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the plugin with a configuration.
    pub(crate) fn with_config(&mut self, config: &str) -> Result<&Loaded, LoadError> {
        if !self.loaded.contains_key(config) {
            if self.loaded.len() >= CONFIGS_MAX {
                self.loaded.clear();
            }
            let limits = Limits {
                deadline_ms: self.limits.deadline_ms.max(DEADLINE_MS),
                compile_ms: self.limits.compile_ms.max(DEADLINE_MS),
                ..self.limits
            };
            let config_text = config.to_owned();
            let options =
                PluginOptions { limits, config: config_text, on_failure: OnFailure::FailOpen };
            let started = Instant::now();
            let loaded = Loaded::load(&self.runtime, self.shape.kind, &self.wasm, options)?;
            self.load_time = started.elapsed();
            self.loaded.insert(config.to_owned(), loaded);
        }
        Ok(&self.loaded[config])
    }

    /// Refuses facts of another kind than the plugin's.
    pub(crate) fn fits(&self, facts: &Facts, name: &str) -> Result<(), Failure> {
        let (wanted, found) = (self.shape.kind.name(), facts.kind().name());
        if wanted == found {
            return Ok(());
        }
        let text = format!("{name} has facts for {found}, and the plugin decides on {wanted}");
        Err(Failure::usage(text))
    }
}

/// Returns what to do about a component that is not taken.
pub(crate) fn load_help(error: &LoadError) -> Option<&'static str> {
    Some(match error {
        LoadError::CoreModule => {
            "`onhand plugin build` makes a component of it, with the WIT that plugin.toml names"
        }
        LoadError::Import(name) if name.starts_with("wasi:") => {
            "a plugin has no WASI: build for wasm32-unknown-unknown, or with clocks, random, files \
             and standard output left out"
        }
        LoadError::Import(_) => {
            "take the call out: facts and configuration are all that it may use"
        }
        LoadError::NoInterface { .. } => {
            "export the world of plugins/wit that plugin.toml names in `wit`"
        }
        LoadError::TooLarge { .. } => {
            "raise the limit under [limits] in plugin.toml, or make it smaller: optimise for size, \
             strip names"
        }
        LoadError::Version { .. }
        | LoadError::Signature { .. }
        | LoadError::MissingFunction { .. } => {
            "generate the bindings again from the WIT of this version: it is in the folder wit/"
        }
        LoadError::Start(failure) | LoadError::FirstCall(failure) => failure_help(failure)?,
        LoadError::Config(_) => "give a configuration that `init` takes: --config FILE",
        _ => return None,
    })
}

/// Returns what to do about a call that failed.
pub(crate) fn failure_help(failure: &CallFailure) -> Option<&'static str> {
    Some(match failure {
        CallFailure::Fuel => {
            "raise fuel_per_order (or fuel_init, if it is the start) under [limits], or do less \
             for an order: `onhand plugin bench` shows the growth"
        }
        CallFailure::Stack => "make the recursion a loop, or bound its depth",
        CallFailure::Trap(_) => {
            "a trap is a bug of the plugin: refusals are answers. The log's last line may say more"
        }
        CallFailure::Answer(_) => "see the rules of an answer in the WIT of the kind",
        CallFailure::Output(_) | CallFailure::Resources(_) => {
            "raise output_bytes, memory_bytes or table_elements under [limits], or use less"
        }
        CallFailure::HostCalls => "log less, or raise host_calls under [limits]",
        _ => return None,
    })
}
