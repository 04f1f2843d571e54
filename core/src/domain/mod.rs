//! The nouns of a shard's state.

pub(crate) mod answered;
pub(crate) mod bucket;
pub(crate) mod calendar;
pub(crate) mod catalogue;
pub(crate) mod order;
pub(crate) mod policy;
pub(crate) mod stock;
