//! What the figures of policies share: the policies themselves, and facts for them.

pub mod policies;
