#!/usr/bin/env python3
"""Measures recommendation on The Complete Journey: built-in, best sellers and a public library.

The last basket of each household is kept back, the earlier ones are learned. A hit is a kept basket
with at least one of 10 recommendations in it. Every method may recommend what the household has
bought before: groceries are bought again. Read by the same rules, in the same run:

- built-in: onhand-policy, through its example `complete_journey`;
- best sellers: the 10 products in most baskets;
- own favourites: the 10 products that the household has bought most often;
- implicit (PyPI): item-to-item models and ALS on the counts of (household, product), and the same
  item-to-item models on (basket, product), asked with the household's counts.

Needs: pip install implicit numpy scipy
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

LIMIT = 10
ROOT = Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("orders", type=Path, nargs="?", default=Path("complete-journey.ndjson"),
                        help="file that prepare.py wrote (default: %(default)s)")
    parser.add_argument("--binary", type=Path,
                        help="built example complete_journey (default: built by cargo)")
    return parser.parse_args()


def read(path):
    """Returns the baskets in order of time: household and products."""
    found = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["type"] == "order":
                found.append((entry["customer"], [line["sku"] for line in entry["lines"]]))
    return found


def split(baskets):
    """Returns the learned baskets and the last one of each household with two or more."""
    last = {household: at for at, (household, _) in enumerate(baskets)}
    learned = [basket for at, basket in enumerate(baskets) if last[basket[0]] != at]
    known = {household for household, _ in learned}
    kept = {h: set(baskets[at][1]) for h, at in sorted(last.items()) if h in known}
    return learned, kept


def best_sellers(learned, kept):
    sold = Counter(product for _, products in learned for product in set(products))
    best = sorted(sold, key=lambda product: (-sold[product], product))[:LIMIT]
    return sum(any(product in wanted for product in best) for wanted in kept.values())


def own_favourites(learned, kept):
    bought = {household: Counter() for household in kept}
    sold = Counter()
    for household, products in learned:
        bought[household].update(products)
        sold.update(products)
    hits = 0
    for household, wanted in kept.items():
        own = bought[household]
        best = sorted(own, key=lambda product: (-own[product], -sold[product], product))[:LIMIT]
        hits += any(product in wanted for product in best)
    return hits


def library(learned, kept):
    """Returns hits and microseconds a request of each model of the library."""
    import numpy as np
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import (BM25Recommender, CosineRecommender,
                                             ItemItemRecommender, TFIDFRecommender)
    from scipy.sparse import csr_matrix

    households = {household: at for at, household in enumerate(kept)}
    products, rows, columns = {}, [], []
    for household, items in learned:
        for product in items:
            rows.append(households[household])
            columns.append(products.setdefault(product, len(products)))
    counts = csr_matrix((np.ones(len(rows), dtype=np.float64), (rows, columns)),
                        shape=(len(households), len(products)))
    counts.sum_duplicates()
    names = list(products)
    rows = [at for at, (_, items) in enumerate(learned) for _ in items]
    baskets = csr_matrix((np.ones(len(rows), dtype=np.float64), (rows, columns)),
                         shape=(len(learned), len(products)))
    models = {
        "cosine": (CosineRecommender(K=100), counts),
        "TF-IDF": (TFIDFRecommender(K=100), counts),
        "BM25": (BM25Recommender(K=100), counts),
        "item-item counts": (ItemItemRecommender(K=100), counts),
        "ALS, 64 factors": (AlternatingLeastSquares(factors=64, random_state=1), counts),
        "cosine, by basket": (CosineRecommender(K=100), baskets),
        "TF-IDF, by basket": (TFIDFRecommender(K=100), baskets),
        "BM25, by basket": (BM25Recommender(K=100), baskets),
        "item-item counts, by basket": (ItemItemRecommender(K=100), baskets),
    }
    found = {}
    for name, (model, matrix) in models.items():
        model.fit(matrix.copy(), show_progress=False)
        begun = time.perf_counter()
        hits = 0
        for household, wanted in kept.items():
            at = households[household]
            ids, _ = model.recommend(at, counts[at], N=LIMIT, filter_already_liked_items=False)
            hits += any(names[product] in wanted for product in ids)
        found[name] = hits, (time.perf_counter() - begun) / len(kept) * 1e6
    return found


def built_in(args):
    binary = args.binary
    if binary is None:
        command = ["cargo", "build", "--release", "-p", "onhand-policy",
                   "--example", "complete_journey", "--message-format", "json"]
        built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        artifacts = (json.loads(line) for line in built.stdout.splitlines())
        paths = [artifact.get("executable") for artifact in artifacts]
        binary = next(path for path in reversed(paths) if path)
    command = [str(binary), str(args.orders.resolve())]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


def main():
    args = arguments()
    if not args.orders.exists():
        sys.exit(f"{args.orders} is not there; prepare.py makes it")
    learned, kept = split(read(args.orders))
    report = built_in(args)
    rows = [("built-in", report["hits"], report["request_ns_p50"] / 1000),
            ("best sellers", best_sellers(learned, kept), 0.0),
            ("own favourites", own_favourites(learned, kept), 0.0)]
    if report["households"] != len(kept):
        sys.exit(f"{report['households']} households in the example, {len(kept)} here")
    rows += [(f"implicit {name}", *values) for name, values in library(learned, kept).items()]
    print(f"{len(kept):,} households, {len(learned):,} baskets learned, {report['items']:,} products")
    print(f"{'method':38}{'hits':>7}{'rate at 10':>12}{'us a request':>14}")
    for name, hits, took in rows:
        time_text = f"{took:14.1f}" if took else f"{'-':>14}"
        print(f"{name:38}{hits:7}{hits / len(kept):12.1%}{time_text}")
    print("built-in: median of a request; library: mean of one call at a time from Python")


if __name__ == "__main__":
    main()
