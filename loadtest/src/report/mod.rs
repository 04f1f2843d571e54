//! A run as people and programs read it; every view takes its numbers from the same record.

mod load;

pub use load::{exit_code, flash_json, flash_text, replay_json, replay_text};
