"""Stands in for what componentize-py makes of wit/, so that tests need Python alone."""

import sys
from dataclasses import make_dataclass
from types import ModuleType, SimpleNamespace

RECORDS = {
    "Adjustment": ["kind", "at", "amount", "code"],
    "Score": ["points", "verdict", "code"],
    "Pick": ["request", "sku", "score"],
}


class Err(Exception):
    """What `init` raises: its first argument says what is wrong."""


def install():
    """Makes the modules that app.py imports."""
    types = ModuleType("componentize_py_types")
    types.Err = Err
    world = ModuleType("wit_world")
    exports = ModuleType("wit_world.exports")
    exports.Policy = object
    policy = ModuleType("wit_world.exports.policy")
    for name, fields in RECORDS.items():
        setattr(policy, name, make_dataclass(name, fields))
    world.exports, exports.policy = exports, policy
    for module in (types, world, exports, policy):
        sys.modules[module.__name__] = module


def record(**fields):
    """Returns a record of facts."""
    return SimpleNamespace(**fields)
