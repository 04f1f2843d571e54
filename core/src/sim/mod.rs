//! Parts of the deterministic simulation: what a run is made of, all of it from one seed.

mod random;
mod storage;

pub use random::Random;
pub use storage::{Fault, FaultStorage};
