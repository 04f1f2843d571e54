//! A run as people and programs read it; every view takes its numbers from the same record.

#[cfg(feature = "report")]
mod comparison;
#[cfg(feature = "report")]
mod html;
#[cfg(feature = "report")]
mod knee;
#[cfg(feature = "report")]
mod prometheus;
mod text;
mod words;

#[cfg(feature = "report")]
pub use comparison::{comparison_json, comparison_text};
#[cfg(feature = "report")]
pub use html::{comparison_html, knee_html, run_html};
#[cfg(feature = "report")]
pub use knee::knee_text;
#[cfg(feature = "report")]
pub use prometheus::prometheus_text;
pub use text::run_text;
pub use words::time_text;
