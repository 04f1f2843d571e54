"""Tests of {{name}} without WebAssembly."""

import unittest

import stubs

stubs.install()
import app  # noqa: E402: the modules that it imports are made before


class Prices(unittest.TestCase):
    def test_enough_units_are_cheaper(self):
        plugin = app.Policy()
        plugin.init('{"percent": 20, "units": 5}')
        lines = [stubs.record(quantity=quantity, unit=100) for quantity in (5, 4)]
        answer = plugin.price_batch([], lines, [])
        self.assertEqual([(one.at, one.amount, one.code) for one in answer], [(0, 100, 1)])

    def test_a_wrong_configuration_is_refused(self):
        with self.assertRaisesRegex(stubs.Err, "percent is outside 0..=100"):
            app.Policy().init('{"percent": 101}')


if __name__ == "__main__":
    unittest.main()
