//! A run as people and programs read it; every view takes its numbers from the same record.

#[cfg(feature = "report")]
mod comparison;
#[cfg(feature = "report")]
mod html;
mod load;
#[cfg(feature = "report")]
mod prometheus;
mod text;
mod words;

#[cfg(feature = "report")]
pub use comparison::{comparison_json, comparison_text};
#[cfg(feature = "report")]
pub use html::{comparison_html, run_html};
pub use load::{exit_code, flash_json, flash_text, replay_json, replay_text};
#[cfg(feature = "report")]
pub use prometheus::prometheus_text;
pub use text::run_text;
pub(crate) use words::time_text;
