"""Trains the model of the sample plugin fraud-score and writes src/model.rs.

    python3 train.py            # writes src/model.rs
    python3 train.py --compare  # trains anew and compares, exit code 1 if it differs

Python 3.9 or later, nothing else. The data is made up: 20,000 orders by a fixed seed, about
7 % of them marked as fraud, of which some look honest and the other way round. It shows how a model comes to be, not what fraud
looks like: train with your own orders.

Gradient boosting on the logistic loss: in each round a tree of depth 3 is fitted to the gradient,
splits are chosen among quantiles, and leaves are Newton steps. Features, thresholds and leaves are
integers in the plugin, so that every machine computes the same score: a leaf is log-odds in
1/65,536.
"""

import math
import random
import sys
from pathlib import Path

SEED = 20261122
ORDERS = 20_000
TREES = 24
DEPTH = 3
RATE = 0.3
QUANTILES = 32
LEAF_LEAST = 40
ONE = 65_536

FEATURES = [
    "customer_orders_hour",
    "customer_orders_day",
    "address_orders_hour",
    "address_customers_day",
    "device_orders_hour",
    "device_customers_day",
    "customer_age_days",
    "distance_km",
    "total",
    "units",
]


def make(orders, rng):
    """Returns feature rows and labels."""
    rows, labels = [], []
    for _ in range(orders):
        thief = rng.random() < 0.05
        few = lambda mean: min(int(rng.expovariate(1 / mean)), 200) if mean else 0
        row = [
            few(2.5 if thief else 0.2),
            few(5.0 if thief else 0.6),
            few(2.0 if thief else 0.3),
            few(3.0 if thief else 0.5),
            few(2.5 if thief else 0.2),
            few(3.5 if thief else 0.4),
            few(20 if thief else 500),
            few(2_500 if thief else 150),
            few(40_000 if thief else 6_000) + 500,
            few(5 if thief else 3) + 1,
        ]
        # Some of each kind look like the other.
        labels.append(int(thief if rng.random() > 0.02 else not thief))
        rows.append(row)
    return rows, labels


def thresholds(rows):
    found = []
    for feature in range(len(FEATURES)):
        values = sorted(row[feature] for row in rows)
        cuts = {values[len(values) * q // QUANTILES] for q in range(1, QUANTILES)}
        found.append(sorted(cuts))
    return found


def best_split(rows, members, gradient, weight, cuts):
    """Returns (gain, feature, threshold): values at most the threshold go left."""
    total_g = sum(gradient[i] for i in members)
    total_w = sum(weight[i] for i in members)
    best = (0.0, None, None)
    for feature, steps in enumerate(cuts):
        sums = [[0.0, 0.0, 0] for _ in range(len(steps) + 1)]
        for i in members:
            value, low, high = rows[i][feature], 0, len(steps)
            while low < high:
                middle = (low + high) // 2
                if value <= steps[middle]:
                    high = middle
                else:
                    low = middle + 1
            bucket = sums[low]
            bucket[0] += gradient[i]
            bucket[1] += weight[i]
            bucket[2] += 1
        g = w = n = 0
        for step, bucket in zip(steps, sums):
            g, w, n = g + bucket[0], w + bucket[1], n + bucket[2]
            if n < LEAF_LEAST or len(members) - n < LEAF_LEAST:
                continue
            gain = g * g / (w + 1) + (total_g - g) ** 2 / (total_w - w + 1)
            gain -= total_g**2 / (total_w + 1)
            if gain > best[0] + 1e-9:
                best = (gain, feature, step)
    return best


def grow(rows, members, gradient, weight, cuts, depth):
    """Returns a complete tree: ((feature, threshold), left, right), or a leaf."""
    gain, feature, step = (0.0, None, None)
    if depth > 0:
        gain, feature, step = best_split(rows, members, gradient, weight, cuts)
    if feature is None:
        g = sum(gradient[i] for i in members)
        w = sum(weight[i] for i in members)
        leaf = round(RATE * g / (w + 1) * ONE)
        return leaf if depth == 0 else pad(leaf, depth)
    left = [i for i in members if rows[i][feature] <= step]
    right = [i for i in members if rows[i][feature] > step]
    return (
        (feature, step),
        grow(rows, left, gradient, weight, cuts, depth - 1),
        grow(rows, right, gradient, weight, cuts, depth - 1),
    )


def pad(leaf, depth):
    """Returns a tree that gives the same leaf everywhere."""
    below = leaf if depth == 1 else pad(leaf, depth - 1)
    return ((0, 0), below, below)


def value(tree, row):
    while isinstance(tree, tuple):
        (feature, step), left, right = tree
        tree = left if row[feature] <= step else right
    return tree


def flat(tree):
    """Returns the 7 splits in the order of a heap, and the 8 leaves from left to right."""
    splits, level = [], [tree]
    for _ in range(DEPTH):
        splits += [node[0] for node in level]
        level = [child for node in level for child in node[1:]]
    return splits, level


def train():
    rng = random.Random(SEED)
    rows, labels = make(ORDERS, rng)
    cuts = thresholds(rows)
    share = sum(labels) / len(labels)
    base = round(math.log(share / (1 - share)) * ONE)
    scores = [base] * len(rows)
    trees = []
    for _ in range(TREES):
        chance = [1 / (1 + math.exp(-score / ONE)) for score in scores]
        gradient = [label - p for label, p in zip(labels, chance)]
        weight = [p * (1 - p) for p in chance]
        tree = grow(rows, list(range(len(rows))), gradient, weight, cuts, DEPTH)
        trees.append(tree)
        scores = [score + value(tree, row) for score, row in zip(scores, rows)]
    tests, truth = make(ORDERS, random.Random(SEED + 1))
    found = [base + sum(value(tree, row) for tree in trees) for row in tests]
    return base, trees, rank(found, truth)


def rank(scores, labels):
    """Returns the area under the curve: how often a fraud scores above an honest order."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    ranks, at = [0.0] * len(scores), 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        for i in order[at:end]:
            ranks[i] = (at + end + 1) / 2
        at = end
    bad = sum(labels)
    good = len(labels) - bad
    return (sum(r for r, l in zip(ranks, labels) if l) - bad * (bad + 1) / 2) / (bad * good)


def grouped(number):
    text = f"{abs(number):_}"
    return f"-{text}" if number < 0 else text


def wrapped(entries, indent):
    lines, line = [], ""
    for entry in entries:
        if line and len(indent) + len(line) + len(entry) + 2 > 100:
            lines.append(indent + line.rstrip())
            line = ""
        line += entry + ", "
    return "\n".join(lines + [indent + line.rstrip()])


def source(base, trees, area):
    out = [
        "//! The model, written by `train.py`: change that and not this.",
        "//!",
        f"//! {TREES} trees of depth {DEPTH} on {ORDERS} made-up orders, seed {SEED}; area under the",
        f"//! curve on as many others: {area:.3f}.",
        "",
        "/// Trees of the model.",
        f"pub(crate) const TREES: usize = {TREES};",
        "/// Splits from the root of a tree to a leaf.",
        f"pub(crate) const DEPTH: usize = {DEPTH};",
        "/// Log-odds of an order before any tree, in 1/65,536.",
        f"pub(crate) const BASE: i32 = {grouped(base)};",
        "/// Splits of each tree in the order of a heap: number of the feature, and the largest value",
        "/// that goes left.",
        "#[rustfmt::skip]",
        "pub(crate) const SPLITS: [[(u8, u32); 7]; TREES] = [",
    ]
    pairs = [flat(tree) for tree in trees]
    for splits, _ in pairs:
        entries = [f"({feature}, {grouped(step)})" for feature, step in splits]
        out += ["    [", wrapped(entries, " " * 8), "    ],"]
    out += [
        "];",
        "/// Chance in 1/1,000 at log-odds of -8, -7.75 and so on to 8.",
        "#[rustfmt::skip]",
        "pub(crate) const CHANCE: [u16; 65] = [",
        wrapped([str(round(1000 / (1 + math.exp(-s / 4)))) for s in range(-32, 33)], "    "),
        "];",
        "/// Leaves of each tree from left to right: log-odds in 1/65,536.",
        "#[rustfmt::skip]",
        "pub(crate) const LEAVES: [[i32; 8]; TREES] = [",
    ]
    for _, leaves in pairs:
        out.append("    [" + ", ".join(grouped(leaf) for leaf in leaves) + "],")
    return "\n".join(out + ["];", ""])


def main():
    text = source(*train())
    file = Path(__file__).parent / "src" / "model.rs"
    if "--compare" in sys.argv[1:]:
        same = file.read_text() == text
        print("the same" if same else f"{file} is another model")
        sys.exit(0 if same else 1)
    file.write_text(text)
    print(text.split("\n\n")[0])


if __name__ == "__main__":
    main()
