//! Making policies ready to be asked: their files read, checked, compiled and started.
//!
//! That takes as long as a compile, so that it is done without the lock of the policies' standing:
//! whoever looks at them, and a guard that calls a canary back, waits for no compiler.

use std::sync::Arc;

use onhand_core::{PolicyKind, PolicyNo};
use onhand_plugin_bundle::{Bundle, BundleLimits, Manifest, OnFailure as OnFailureOf};
use onhand_plugin_runtime::{Limits, OnFailure, Plugin, PluginOptions, Runtime, World};

use crate::desk::Shared;
use crate::error::DeskError;
use crate::policy::{AnyPolicy, Identity, Maker, Policy, Tally};
use crate::settings::is_built_in;

/// Returns the limits that a manifest asks for, with an instance for each of the desk's threads: with
/// fewer, one thread's orders would fail because another asks the plugin too.
fn limits_of(manifest: &Manifest, threads: u64) -> Limits {
    let mut limits = Limits::default();
    for (bound, value) in limits.all_mut() {
        *value = manifest.limit(bound.name).unwrap_or(*value);
    }
    limits.instances = limits.instances.max(threads);
    limits
}

pub(crate) const fn failure_of(manifest: &Manifest) -> OnFailure {
    match manifest.on_failure {
        OnFailureOf::BuiltIn => OnFailure::BuiltIn,
        OnFailureOf::FailOpen => OnFailure::FailOpen,
        OnFailureOf::FailClosed => OnFailure::FailClosed,
    }
}

/// What a plugin is loaded from, and for how many threads.
pub(crate) struct Loading<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) bundle: &'a Bundle,
    pub(crate) config: &'a str,
    pub(crate) threads: u64,
}

fn load<W: World>(loading: &Loading<'_>) -> Result<Maker<W>, DeskError> {
    let Loading { runtime, bundle, config, threads } = *loading;
    let options = PluginOptions {
        limits: limits_of(bundle.manifest(), threads),
        config: config.to_owned(),
        on_failure: failure_of(bundle.manifest()),
    };
    Plugin::<W>::load(runtime, bundle.wasm(), options).map(Maker::Plugin).map_err(DeskError::Load)
}

/// A maker of any world, before its policy has a number.
pub(crate) enum AnyMaker {
    Pricing(Maker<onhand_plugin_runtime::Pricing>),
    Fraud(Maker<onhand_plugin_runtime::Fraud>),
    Recommend(Maker<onhand_plugin_runtime::Recommend>),
}

impl AnyMaker {
    pub(crate) fn load(kind: PolicyKind, loading: &Loading<'_>) -> Result<Self, DeskError> {
        Ok(match kind {
            PolicyKind::Pricing => Self::Pricing(load(loading)?),
            PolicyKind::Fraud => Self::Fraud(load(loading)?),
            PolicyKind::Recommend => Self::Recommend(load(loading)?),
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

    pub(crate) fn policy(self, no: PolicyNo, identity: Identity, tally: Arc<Tally>) -> AnyPolicy {
        match self {
            Self::Pricing(maker) => {
                AnyPolicy::Pricing(Arc::new(Policy { no, identity, maker, tally }))
            }
            Self::Fraud(maker) => AnyPolicy::Fraud(Arc::new(Policy { no, identity, maker, tally })),
            Self::Recommend(maker) => {
                AnyPolicy::Recommend(Arc::new(Policy { no, identity, maker, tally }))
            }
        }
    }
}

impl Shared {
    /// Makes policies ready that are not; one whose file is missing or refused is asked by its
    /// failure policy.
    pub(crate) fn make_ready(&self, all: &[PolicyNo]) -> Result<(), DeskError> {
        for no in all {
            let life = self.life.lock();
            if life.ready.contains_key(no) {
                continue;
            }
            let identity = life.identity(*no)?.clone();
            if !life.lineups.of(identity.kind).installed.contains(no) {
                continue;
            }
            let on_failure = life.on_failure.get(no).copied();
            drop(life);
            let on_failure = on_failure.unwrap_or(OnFailure::FailClosed);
            let kind = identity.kind;
            let maker = if is_built_in(&identity.plugin) {
                AnyMaker::built_in(kind)
            } else {
                self.fetch(&identity)
                    .unwrap_or_else(|error| AnyMaker::absent(kind, on_failure, error.to_string()))
            };
            let mut life = self.life.lock();
            let policy = maker.policy(*no, identity, life.tally(*no));
            // Somebody else may have been faster: figures are kept in one place only. What was
            // removed meanwhile is not asked.
            if life.lineups.of(kind).installed.contains(no) {
                life.ready.entry(*no).or_insert(policy);
            }
        }
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
        let (config, threads) = (text.as_str(), self.threads);
        AnyMaker::load(*kind, &Loading { runtime, bundle: &bundle, config, threads })
    }

    /// Reads a bundle; returns who signed it.
    pub(crate) fn trusted(&self, bytes: &[u8]) -> Result<(Bundle, Option<String>), DeskError> {
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
}

#[cfg(test)]
mod tests {
    use onhand_plugin_bundle::Manifest;
    use onhand_plugin_runtime::Limits;

    use super::limits_of;

    /// Every limit of a manifest is taken over, and each thread of the desk has an instance.
    #[test]
    fn limits_are_those_of_the_manifest() {
        let all =
            Limits::default().all().map(|(bound, _)| format!("{} = {}", bound.name, bound.min));
        let text = format!(
            "id = \"acme/tenth\"\nversion = \"1.0.0\"\nkind = \"pricing\"\n\
             wit = \"onhand:pricing@1.0.0\"\nlicense = \"Apache-2.0\"\n[limits]\n{}\n",
            all.join("\n")
        );
        let manifest = Manifest::read(&text).expect("a manifest");
        let min = |limits: Limits| limits.all().map(|(bound, value)| (bound.name, value));
        let own = Limits::default().all().map(|(bound, _)| (bound.name, bound.min));
        assert_eq!(min(limits_of(&manifest, 1)), own);
        assert_eq!(limits_of(&manifest, 7).instances, 7);
    }
}
