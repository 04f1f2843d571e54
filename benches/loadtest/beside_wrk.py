#!/usr/bin/env python3
"""Drives one bare hyper server by wrk and by onhand-loadtest in turn, over the same connections.

A round is one run of each, and every second round goes backwards, so that a slow moment of the
machine meets all alike. `bare` is a closed loop without the truth, as wrk is; `whole` is an open
loop by a Poisson schedule faster than the server, with the truth's log of every answer. Latency
histograms are always on. The server has one thread, and so has each generator.

Needs wrk, and `cargo build --release -p onhand-loadtest -p onhand-loadtest-benches`.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WORKSPACE = os.path.dirname(os.path.dirname(HERE))

# The same bytes as a purchase by onhand-loadtest, but always with the same key.
SCRIPT = """
wrk.method = "POST"
wrk.path = "/v1/orders:buy"
wrk.headers["Idempotency-Key"] = "wrk-0123456789"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"customer":"c123456789","lines":[{"sku":"wrk-hot","quantity":1}]}'
"""


class Server:
    """The bare server, in a process of its own."""

    def __init__(self, args, more=()):
        command = [os.path.join(args.binaries, "bare-shop"), "--threads", str(args.threads), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def stop(self):
        self.process.kill()
        self.process.wait()


def run(command, codes=(0,)):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr.strip()}")
    return done.stdout


def wrk(args, url, script):
    text = run(["wrk", f"-t{args.threads}", f"-c{args.connections}", f"-d{args.seconds}s",
                "-s", script, url])
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"wrk was refused: {text}")
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", text).group(1))


def tool(args, url, name, pace):
    # 1: the server has no events, so no truth. 4: limited by the generator.
    text = run([os.path.join(args.binaries, "onhand-loadtest"), "run",
                os.path.join(HERE, "orders.toml"), "--target", url, "--run", name, "--seed", "1",
                "--connections", str(args.connections), "--threads", str(args.threads),
                "--duration", f"{args.seconds}s", "--set", "arrivals.shape=poisson",
                "--quiet", "--json", "-", *pace], (0, 1, 4))
    record = json.loads(text)
    if set(record["counts"]["status"]) != {"201"}:
        sys.exit(f"{name}: {record['counts']}")
    # Of the stage's own seconds: a backlog that is sent after it counts in neither.
    seconds = record["elapsed_ns"] / 1e9
    return record["counts"]["answered"] / seconds


def spread(values, form="{:.0f}"):
    texts = [form.format(value) for value in (statistics.median(values), min(values), max(values))]
    return f"{texts[0]} [{texts[1]}-{texts[2]}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="of the server and of a generator")
    parser.add_argument("--json", action="store_true", help="print one JSON document as well")
    parser.add_argument("--binaries", default=os.path.join(
        os.environ.get("CARGO_TARGET_DIR", os.path.join(WORKSPACE, "target")), "release"))
    args = parser.parse_args()
    found = {"wrk": [], "bare": [], "whole": []}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        for number in range(args.rounds):
            server = Server(args)
            try:
                offered = max(found["wrk"], default=100_000) * 1.5
                runs = [
                    ("wrk", lambda: wrk(args, server.url, script.name)),
                    ("bare", lambda: tool(args, server.url, "bare", ["--max", "--no-truth"])),
                    ("whole", lambda: tool(args, server.url, "whole",
                                           ["--rate", f"{offered:.0f}/s"])),
                ]
                for name, measure in runs if number % 2 == 0 else runs[::-1]:
                    found[name].append(measure())
            finally:
                server.stop()
    for name, values in found.items():
        ratios = [100 * value / peer for value, peer in zip(values, found["wrk"])]
        print(f"{name}: {spread(values)} answers/s, {spread(ratios)} % of wrk "
              f"(load {os.getloadavg()[0]:.1f})")
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
