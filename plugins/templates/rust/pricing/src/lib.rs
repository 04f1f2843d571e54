//! {{name}}: so many per cent off each line of enough units.

use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::pricing::{Order, Price, Pricing, Refusal};

/// Number of the rule; `plugin.toml` has its text.
const RULE_UNITS: u32 = 1;

/// The plugin: its configuration.
#[derive(Debug)]
pub struct Plugin {
    percent: i64,
    units: u32,
}

impl Pricing for Plugin {
    fn new(config: &str) -> Result<Self, ConfigError> {
        let mut config = Object::read(config)?;
        let percent = config.int_or("percent", 0..=100, 10)?;
        let units = config.int_or("units", 1..=1_000_000_000, 10)? as u32;
        config.end()?;
        Ok(Self { percent, units })
    }

    fn price(&self, order: &Order<'_>, price: &mut Price<'_>) -> Result<(), Refusal> {
        for (at, line) in order.lines.iter().enumerate() {
            if line.quantity >= self.units {
                let (whole, rest) = (line.amount() / 100, line.amount() % 100);
                price.line(at, whole * self.percent + rest * self.percent / 100, RULE_UNITS);
            }
        }
        Ok(())
    }
}

onhand_plugin_sdk::export!(pricing: Plugin);
