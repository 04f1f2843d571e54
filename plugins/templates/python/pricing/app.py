"""{{name}}: so many per cent off each line of enough units."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Adjustment

# Number of the rule; plugin.toml has its text.
RULE_UNITS = 1

percent = 10
units = 10


class Policy(exports.Policy):
    def init(self, config):
        global percent, units
        fields = json.loads(config or "{}")
        percent = fields.get("percent", percent)
        units = fields.get("units", units)
        if not 0 <= percent <= 100:
            raise Err("percent is outside 0..=100")
        if not 1 <= units <= 1_000_000_000:
            raise Err("units is outside 1..=1000000000")

    def price_batch(self, headers, lines, coupons):
        answer = []
        for at, line in enumerate(lines):
            if line.quantity >= units:
                amount = line.unit * line.quantity * percent // 100
                if amount:
                    answer.append(Adjustment(0, at, amount, RULE_UNITS))
        return answer
