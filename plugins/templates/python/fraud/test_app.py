"""Tests of {{name}} without WebAssembly."""

import unittest

import stubs

stubs.install()
import app  # noqa: E402: the modules that it imports are made before


class Scores(unittest.TestCase):
    def test_many_orders_within_an_hour_are_reviewed(self):
        plugin = app.Policy()
        plugin.init('{"points": 200, "review": 400}')
        headers = [stubs.record(customer_orders_hour=orders) for orders in (1, 2, 99)]
        answer = plugin.score_batch(headers, [])
        found = [(one.points, one.verdict, one.code) for one in answer]
        self.assertEqual(found, [(200, 0, 0), (400, 2, 1), (1000, 2, 1)])

    def test_a_wrong_configuration_is_refused(self):
        with self.assertRaisesRegex(stubs.Err, "review is outside 1..=1000"):
            app.Policy().init('{"review": 0}')


if __name__ == "__main__":
    unittest.main()
