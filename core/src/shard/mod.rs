//! One writer per shard: take a batch, apply it, hand its records to the journal, reply.

pub(crate) mod completion;
pub(crate) mod core;
pub(crate) mod section;
