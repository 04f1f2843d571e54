//! What each record kind may do, one file for each group of kinds.

pub(crate) mod basket;
mod count;
mod define;
mod follow_up;
mod slots;
mod stock;
mod tentative;
