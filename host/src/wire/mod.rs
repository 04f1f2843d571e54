//! JSON on the wire: reading requests, writing replies; the only place that knows JSON.
//!
//! Requests are read into a [`json::Node`] tree that refuses what the schema language of serde
//! can't express in one error: duplicate members, floats, unknown members with a suggestion, and
//! the pointer of every complaint. Replies are written by hand into one buffer.

pub(crate) mod ask;
pub(crate) mod command;
pub(crate) mod encode;
pub(crate) mod field;
pub(crate) mod json;
pub(crate) mod policy;
pub(crate) mod time;
