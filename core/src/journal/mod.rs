//! The journal: segmented files of group commits, the truth of an engine.
//!
//! The format is `docs/JOURNAL_FORMAT.md` up to sections; what stands in a record is not known
//! here. One [`JournalWriter`] appends; a [`JournalReader`] replays at start; a [`FrameIndex`]
//! reads back what is durable while the writer goes on.

pub(crate) mod buffer;
pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod reader;
pub(crate) mod segment;
pub(crate) mod spare;
mod window;
pub(crate) mod writer;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod crash_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests;
