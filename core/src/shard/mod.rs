//! One writer per shard: take a batch, apply it, hand its records to the journal, reply.

pub(crate) mod completion;
pub(crate) mod core;
pub(crate) mod gate;
pub(crate) mod published;
pub(crate) mod rest;
pub(crate) mod section;
pub(crate) mod stripes;
pub(crate) mod worker;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests;
