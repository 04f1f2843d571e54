//! One writer per shard: take a batch, apply it, hand its records to the journal, reply.

pub(crate) mod section;
