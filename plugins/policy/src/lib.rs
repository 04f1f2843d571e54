//! Policies of Onhand without a plugin: what a policy is told, how its answer is checked, and the
//! built-in answers for price, fraud and recommendation.
//!
//! Everything here is a function of its input: no I/O, no clock, no randomness, no float, no
//! effect of hash order. A plugin runtime takes [`fact`] and [`decision`] and falls back on the
//! rest; an embedder can use each part alone.

pub mod decision;
pub mod fact;
pub mod fraud;
pub mod pricing;
mod range;
pub mod recommend;

pub use range::SettingError;
