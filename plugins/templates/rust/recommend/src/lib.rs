//! {{name}}: what was bought together most often.

use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::recommend::{Picks, Recommend, Request};

/// The plugin: its configuration.
#[derive(Debug)]
pub struct Plugin {
    together_least: u32,
}

impl Recommend for Plugin {
    fn new(config: &str) -> Result<Self, ConfigError> {
        let mut config = Object::read(config)?;
        let together_least = config.int_or("together_least", 1..=1_000_000, 2)? as u32;
        config.end()?;
        Ok(Self { together_least })
    }

    fn recommend(&self, request: &Request<'_>, picks: &mut Picks<'_>) {
        for candidate in request.candidates {
            let new = !request.items.contains(&candidate.sku) && candidate.available > 0;
            if new && candidate.together >= self.together_least {
                picks.offer(candidate.sku, candidate.together);
            }
        }
    }
}

onhand_plugin_sdk::export!(recommend: Plugin);
