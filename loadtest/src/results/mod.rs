//! What a run leaves behind: its record, its series and its folder.

pub mod folder;
pub mod run;
pub mod series;

pub use folder::Folder;
pub use run::Run;
pub use series::SeriesRow;
