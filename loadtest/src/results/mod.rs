//! What a run leaves behind: its record, its series, its interval log and its folder.

#[cfg(feature = "report")]
pub mod compare;
pub mod folder;
#[cfg(feature = "report")]
pub mod interval;
#[cfg(feature = "report")]
pub mod knee;
pub mod run;
pub mod series;
pub mod threshold;

pub use folder::Folder;
pub use run::Run;
pub use series::SeriesRow;
