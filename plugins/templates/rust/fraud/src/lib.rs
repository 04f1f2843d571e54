//! {{name}}: so many points for each order of the customer within the last hour.

use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::fraud::{Fraud, Order, POINTS_MAX, Score, Verdict};

/// Number of the reason; `plugin.toml` has its text.
const REASON_ORDERS: u32 = 1;

/// The plugin: its configuration.
#[derive(Debug)]
pub struct Plugin {
    points: u32,
    review: u32,
}

impl Fraud for Plugin {
    fn new(config: &str) -> Result<Self, ConfigError> {
        let mut config = Object::read(config)?;
        let points = config.int_or("points", 0..=1_000, 100)? as u32;
        let review = config.int_or("review", 1..=1_000, 300)? as u32;
        config.end()?;
        Ok(Self { points, review })
    }

    fn score(&self, order: &Order<'_>) -> Score {
        let points = order.header.customer_orders_hour.saturating_mul(self.points);
        let points = points.min(POINTS_MAX);
        if points >= self.review {
            Score::new(points, Verdict::Review, REASON_ORDERS)
        } else {
            Score::new(points, Verdict::Allow, 0)
        }
    }
}

onhand_plugin_sdk::export!(fraud: Plugin);
