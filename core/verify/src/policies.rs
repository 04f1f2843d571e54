//! Policies: their numbers, what each shard knows of them, and copies that are under way.

use crate::catalog::content_digest;
use crate::failure::{Check, broken, demand};
use crate::fast_hash::FastMap;
use crate::record::Policy;

/// Most policies of one engine.
const POLICIES_MAX: usize = 4_096;
/// Most records of shard 0 about policies.
const STEPS_MAX: u32 = 65_535;

/// What makes a policy the one that it is.
#[derive(Debug)]
struct Known {
    kind: u8,
    identity: [u8; 64],
}

/// A record in shard 0 that some shards do not have yet.
#[derive(Debug)]
struct Pending {
    digest: [u8; 32],
    shards_left: u16,
}

/// All policies.
#[derive(Debug)]
pub(crate) struct Policies {
    known: Vec<Known>,
    steps: u32,
    /// Versions by shard and number; 0 where the shard does not know it yet.
    versions: Vec<Vec<u16>>,
    pending: FastMap<(u16, u16), Pending>,
}

impl Policies {
    pub(crate) fn new(shards: u16) -> Self {
        let versions = (0..shards).map(|_| Vec::new()).collect();
        Self { known: Vec::new(), steps: 0, versions, pending: FastMap::default() }
    }

    /// Returns how many records have not reached every shard.
    pub(crate) fn pending_copies(&self) -> usize {
        self.pending.len()
    }

    /// Checks that a shard knows a policy, and that it is of a kind (I16).
    pub(crate) fn check_known(&self, shard: u16, number: u16, kind: u8) -> Check {
        let at = usize::from(number).wrapping_sub(1);
        let version = self.versions[usize::from(shard)].get(at).copied().unwrap_or(0);
        demand!(
            version > 0,
            "I16",
            "decision of policy {number}, which shard {shard} does not know"
        );
        let found = self.known[at].kind;
        demand!(
            found == kind,
            "I16",
            "decision of kind {kind} by policy {number}, which is of kind {found}"
        );
        Ok(())
    }

    /// Takes a record about a policy (V8).
    pub(crate) fn step(&mut self, shard: u16, policy: &Policy<'_>, record: &[u8]) -> Check {
        demand!(
            policy.copy == (shard != 0),
            "V8",
            "POLICY in shard {shard} has the copy flag {}",
            u8::from(policy.copy)
        );
        let digest = content_digest(record);
        if policy.copy {
            self.take_copy(policy, digest)?;
        } else {
            self.take_original(policy, digest)?;
        }
        let versions = &mut self.versions[usize::from(shard)];
        let at = usize::from(policy.number) - 1;
        if versions.len() <= at {
            versions.resize(at + 1, 0);
        }
        let before = versions[at];
        demand!(
            before.checked_add(1) == Some(policy.version),
            "I14",
            "version of policy {} in shard {shard} is {}, the one before is {before}",
            policy.number,
            policy.version
        );
        versions[at] = policy.version;
        Ok(())
    }

    fn take_original(&mut self, policy: &Policy<'_>, digest: [u8; 32]) -> Check {
        let same = |known: &Known| known.kind == policy.kind && known.identity == policy.identity;
        let known = self.known.iter().position(same).unwrap_or(self.known.len());
        demand!(
            usize::from(policy.number) == known + 1,
            "V8",
            "policy has number {}, by its kind, plugin and configuration it is {}",
            policy.number,
            known + 1
        );
        if known == self.known.len() {
            demand!(known < POLICIES_MAX, "V8", "policy {} is above {POLICIES_MAX}", policy.number);
            let mut identity = [0; 64];
            identity.copy_from_slice(policy.identity);
            self.known.push(Known { kind: policy.kind, identity });
        }
        self.steps += 1;
        demand!(self.steps <= STEPS_MAX, "V8", "there are more than {STEPS_MAX} steps of policies");
        let shards_left = self.versions.len() as u16 - 1;
        if shards_left > 0 {
            let pending = Pending { digest, shards_left };
            self.pending.insert((policy.number, policy.version), pending);
        }
        Ok(())
    }

    fn take_copy(&mut self, policy: &Policy<'_>, digest: [u8; 32]) -> Check {
        let at = (policy.number, policy.version);
        let Some(pending) = self.pending.get_mut(&at) else {
            let (number, version) = at;
            return Err(broken(
                "V8",
                format!("copy of policy {number} version {version} has no record in shard 0"),
            ));
        };
        demand!(
            pending.digest == digest,
            "V8",
            "copy of policy {} version {} differs from the record in shard 0",
            policy.number,
            policy.version
        );
        pending.shards_left -= 1;
        if pending.shards_left == 0 {
            self.pending.remove(&at);
        }
        Ok(())
    }
}
