//! A user between its steps, and what it hears.

/// How a user uses connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Whatever connection is free, kept open.
    #[default]
    KeepAlive,
    /// A new one for the user's first request.
    PerUser,
    /// A new one for every request.
    PerRequest,
}

/// What a user hears about one request, as far as its next step depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Problem code; empty for a success.
    pub(crate) code: &'static str,
    /// The order of a receipt.
    pub(crate) order: Option<u128>,
    /// Whether there was no answer.
    pub(crate) lost: bool,
}

impl Heard {
    /// Returns whether the request was carried out.
    pub(crate) const fn is_success(&self) -> bool {
        self.code.is_empty() && !self.lost
    }
}

/// A user: where it stands in its flow, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its number; with the seed it decides everything that the answers don't.
    pub(crate) number: u64,
    /// Its role, by its place in the cast.
    pub(crate) role: u8,
    /// How it uses connections.
    pub(crate) connections: Connections,
    /// Steps of its flow that are done.
    pub(super) at: usize,
    /// Tries of this step that were refused.
    pub(super) tries: u32,
    /// How often this step was sent again because it got no answer.
    pub(super) resent: u32,
    /// Whether the first click of this step was answered and the second is due.
    pub(super) clicked: bool,
    /// Its order, once it has one.
    pub(super) order: Option<u128>,
    /// Whether the order is only reserved.
    pub(super) reserved: bool,
    /// Whether it has sent nothing yet.
    pub(super) new: bool,
}

impl User {
    /// Makes a user with a number, a role and a way to use connections.
    pub(crate) const fn new(number: u64, role: u8, connections: Connections) -> Self {
        Self {
            number,
            role,
            connections,
            at: 0,
            tries: 0,
            resent: 0,
            clicked: false,
            order: None,
            reserved: false,
            new: true,
        }
    }

    /// Makes a user who comes with one request and leaves.
    pub(crate) const fn passer(number: u64) -> Self {
        Self::new(number, 0, Connections::KeepAlive)
    }

    /// Returns its role, by its place in the cast.
    pub(crate) const fn actor(&self) -> u8 {
        self.role
    }

    /// Returns how it uses connections.
    pub(crate) const fn connections(&self) -> Connections {
        self.connections
    }

    /// Returns whether it has heard nothing yet.
    pub(crate) const fn is_new(&self) -> bool {
        self.new
    }
}
