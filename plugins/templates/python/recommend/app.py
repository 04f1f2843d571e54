"""{{name}}: what was bought together most often."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Pick

together_least = 2


class Policy(exports.Policy):
    def init(self, config):
        global together_least
        fields = json.loads(config or "{}")
        together_least = fields.get("together_least", together_least)
        if not 1 <= together_least <= 1_000_000:
            raise Err("together_least is outside 1..=1000000")

    def recommend_batch(self, requests, items, candidates):
        answer = []
        for index, request in enumerate(requests):
            basket = items[request.first_item : request.first_item + request.item_count]
            first = request.first_candidate
            best = {}
            for one in candidates[first : first + request.candidate_count]:
                if one.available and one.together >= together_least and one.sku not in basket:
                    best[one.sku] = max(best.get(one.sku, 0), one.together)
            picks = sorted(best.items(), key=lambda pick: (-pick[1], pick[0]))
            answer += [Pick(index, sku, score) for sku, score in picks[: request.limit]]
        return answer
