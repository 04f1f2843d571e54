"""Tests of {{name}} without WebAssembly."""

import unittest

import stubs

stubs.install()
import app  # noqa: E402: the modules that it imports are made before


class Picks(unittest.TestCase):
    def test_the_most_often_bought_together_come_first(self):
        plugin = app.Policy()
        plugin.init('{"together_least": 3}')
        request = stubs.record(
            first_item=0, item_count=1, first_candidate=0, candidate_count=6, limit=2
        )
        candidates = [
            stubs.record(sku=sku, together=together, available=available)
            for sku, together, available in
            [(1, 4, 1), (2, 9, 0), (7, 9, 1), (3, 2, 1), (4, 3, 1), (4, 5, 1)]
        ]
        answer = plugin.recommend_batch([request], [7], candidates)
        found = [(one.request, one.sku, one.score) for one in answer]
        self.assertEqual(found, [(0, 4, 5), (0, 1, 4)])

    def test_a_wrong_configuration_is_refused(self):
        with self.assertRaisesRegex(stubs.Err, "together_least is outside"):
            app.Policy().init('{"together_least": 0}')


if __name__ == "__main__":
    unittest.main()
