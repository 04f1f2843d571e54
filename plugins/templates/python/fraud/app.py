"""{{name}}: so many points for each order of the customer within the last hour."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Score

ALLOW, CHALLENGE, REVIEW, DENY = range(4)
# Number of the reason; plugin.toml has its text.
REASON_ORDERS = 1

points = 100
review = 300


class Policy(exports.Policy):
    def init(self, config):
        global points, review
        fields = json.loads(config or "{}")
        points = fields.get("points", points)
        review = fields.get("review", review)
        if not 0 <= points <= 1_000:
            raise Err("points is outside 0..=1000")
        if not 1 <= review <= 1_000:
            raise Err("review is outside 1..=1000")

    def score_batch(self, headers, lines):
        answer = []
        for header in headers:
            score = min(header.customer_orders_hour * points, 1_000)
            if score >= review:
                answer.append(Score(score, REVIEW, REASON_ORDERS))
            else:
                answer.append(Score(score, ALLOW, 0))
        return answer
