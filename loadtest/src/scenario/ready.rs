//! Ready scenarios, to run as they are or to start from.

/// A scenario that comes with the load tester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub about: &'static str,
    /// The file.
    pub text: &'static str,
}

/// Every ready scenario, in the order of the documentation.
pub const READY: [Ready; 8] = [
    Ready {
        name: "flash-sale",
        about: "one hot SKU with a limit, a spike at the opening and a second wave",
        text: include_str!("ready/flash-sale.toml"),
    },
    Ready {
        name: "ticket-drop",
        about: "few units, a crowd in a second, bots with connections of their own",
        text: include_str!("ready/ticket-drop.toml"),
    },
    Ready {
        name: "grocery-day",
        about: "real baskets from a file at their recorded pace",
        text: include_str!("ready/grocery-day.toml"),
    },
    Ready {
        name: "day-618",
        about: "a day of a shopping festival in minutes: warm-up, midnight rush, waves, evening",
        text: include_str!("ready/day-618.toml"),
    },
    Ready {
        name: "cancel-storm",
        about: "orders are taken back as fast as they are placed",
        text: include_str!("ready/cancel-storm.toml"),
    },
    Ready {
        name: "sold-out-storm",
        about: "nothing is left: reads and refusals only",
        text: include_str!("ready/sold-out-storm.toml"),
    },
    Ready {
        name: "crash",
        about: "the host is killed and stands still in the middle of a sale; payments go astray",
        text: include_str!("ready/crash.toml"),
    },
    Ready {
        name: "side-by-side",
        about: "as fast as answers come: what a shop can do at most",
        text: include_str!("ready/side-by-side.toml"),
    },
];

/// Returns the ready scenario of a name.
pub fn ready(name: &str) -> Option<Ready> {
    READY.into_iter().find(|ready| ready.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    /// Every ready scenario can be run as it is, and bears its own name.
    #[test]
    fn ready_scenarios_can_be_run() {
        for Ready { name, text, .. } in READY {
            let scenario = Scenario::read(text, "ready.toml");
            let scenario = scenario.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(scenario.name, name);
            assert!(scenario.notes.is_empty(), "{name}: {:?}", scenario.notes);
        }
    }
}
