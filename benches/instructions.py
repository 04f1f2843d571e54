#!/usr/bin/env python3
"""Counts the instructions of one order with callgrind: exact where wall time is noisy.

Each kind runs with two counts of orders; the difference, divided by that of the counts, leaves
start and stocking out. Needs valgrind (`apt-get install valgrind`) and
`cargo build --release -p onhand-benches`. `--profile` prints where they go.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

KINDS = ["hot", "zipf", "baskets", "reserve", "refuse"]
WORKSPACE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def instructions(binary, kind, count, out):
    """Returns the instructions of a run."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, kind, str(count)],
        capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{kind} {count}: {done.stderr.strip()}")
    with open(out, encoding="utf-8") as profile:
        for line in profile:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    sys.exit(f"{out} has no sum")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--binaries", default=os.path.join(
        os.environ.get("CARGO_TARGET_DIR", os.path.join(WORKSPACE, "target")), "release"))
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: apt-get install valgrind")
    binary = os.path.join(args.binaries, "onhand-instructions")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kinds:
            out = os.path.join(folder, f"{kind}.out")
            small = instructions(binary, kind, args.count, out)
            large = instructions(binary, kind, 3 * args.count, out)
            figures[kind] = (large - small) / (2 * args.count)
            if not args.json:
                print(f"{kind}: {figures[kind]:,.0f} instructions an order")
            if args.profile:
                subprocess.run(["callgrind_annotate", "--threshold=90", out], check=True)
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
