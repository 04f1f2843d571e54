#!/usr/bin/env python3
"""Runs onhand-loadtest, wrk2, oha and wrk in turn against one bare server that stalls once, at a
known time for a known time, and prints the percentiles that each of them reports beside those that
the arithmetic of the schedule says.

With `rate` requests a second for `seconds`, a stall of `stall` seconds makes `rate * stall` of them
wait, each until its end: the percentile q of all requests is `stall - (1 - q) * seconds` where that
is above zero, and what a request takes without a stall below.

Needs `cargo build --release -p onhand-loadtest -p onhand-loadtest-benches`, wrk, oha
(`cargo install oha --locked`), and wrk2 built from its sources; a tool that is not there is left out.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile

from beside_wrk import HERE, SCRIPT, WORKSPACE, Server, run

SHARES = [0.5, 0.9, 0.99, 0.999]
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def arithmetic(args):
    stall = args.stall / 1e3
    waits = [max(stall - (1 - share) * args.seconds, 0) * 1e3 for share in SHARES]
    return [*waits, args.stall], args.rate * args.seconds


def tool(args, url, clock):
    text = run([os.path.join(args.binaries, "onhand-loadtest"), "run",
                os.path.join(HERE, "orders.toml"), "--target", url, "--run", "r", "--seed", "1",
                "--connections", str(args.connections), "--rate", f"{args.rate}/s",
                "--duration", f"{args.seconds}s", "--set", "arrivals.shape=uniform", "--no-truth",
                "--quiet", "--allow-generator-limit", "--json", "-"], (0, 1, 3))
    record = json.loads(text)
    whole = [group for group in record["latency"] if not set(group) - {"intended", "service"}][0]
    times = whole[clock]
    found = [times[name] / 1e6 for name in ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"]]
    return found, record["counts"]["answered"]


def wrk(args, url):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        # The spectrum, at the shares that are asked for, in microseconds.
        script.write("done = function(summary, latency, requests)\n")
        for share in SHARES:
            script.write(f'  print("at {share} " .. latency:percentile({share * 100}))\n')
        script.write('  print("at max " .. latency.max)\nend\n')
        script.flush()
        text = run(["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "-s",
                    script.name, url])
    found = [float(re.search(rf"at {share} ([0-9.]+)", text).group(1)) / 1e3
             for share in [*SHARES, "max"]]
    return found, int(re.search(r"(\d+) requests in", text).group(1))


def wrk2(args, url, block):
    """Reads wrk2's table of recorded latency (block 0), or of uncorrected latency (block 1)."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        text = run([args.wrk2, "-t1", f"-c{args.connections}", f"-d{args.seconds}s",
                    f"-R{args.rate}", "--latency", "--u_latency", "-s", script.name, url])
    table = text.split("Latency Distribution")[block + 1]
    found = []
    for share in [*SHARES, 1]:
        time, unit = re.search(rf"{share * 100:.3f}%\s+([0-9.]+)(us|ms|s|m)\b", table).groups()
        found.append(float(time) * UNITS[unit])
    return found, int(re.search(r"(\d+) requests in", text).group(1))


def oha(args, url, corrected):
    body = re.search(r"wrk.body = '(.*)'", SCRIPT).group(1)
    pace = ["-q", str(args.rate), *(["--latency-correction"] if corrected else [])]
    text = run(["oha", "--no-tui", "--output-format", "json", "-z", f"{args.seconds}s",
                "-c", str(args.connections), "-m", "POST", "-T", "application/json",
                "-H", "Idempotency-Key: oha-0123456789", "-d", body, *pace,
                f"{url}/v1/orders:buy"])
    report = json.loads(text)
    spectrum = report["latencyPercentiles"]
    names = {0.5: "p50", 0.9: "p90", 0.99: "p99", 0.999: "p99.9"}
    found = [spectrum[names[share]] * 1e3 for share in SHARES]
    answered = sum(report["statusCodeDistribution"].values())
    return [*found, report["summary"]["slowest"] * 1e3], answered


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rate", type=int, default=1_000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--stall", type=int, default=1_000, help="milliseconds")
    parser.add_argument("--stall-at", type=int, default=15_000,
                        help="milliseconds; wrk2 forgets its first ten seconds")
    parser.add_argument("--threads", type=int, default=1, help="of the server")
    parser.add_argument("--wrk2", default="wrk2", help="the program that wrk2's sources make")
    parser.add_argument("--binaries", default=os.path.join(
        os.environ.get("CARGO_TARGET_DIR", os.path.join(WORKSPACE, "target")), "release"))
    args = parser.parse_args()
    stall = ["--stall", str(args.stall), "--stall-at", str(args.stall_at)]
    rows = {"the arithmetic": arithmetic(args)}
    for name, program, measure in [
        ("onhand-loadtest, intended", None, lambda url: tool(args, url, "intended")),
        ("onhand-loadtest, service", None, lambda url: tool(args, url, "service")),
        ("wrk2, recorded", args.wrk2, lambda url: wrk2(args, url, 0)),
        ("wrk2, uncorrected", args.wrk2, lambda url: wrk2(args, url, 1)),
        ("oha -q --latency-correction", "oha", lambda url: oha(args, url, True)),
        ("oha -q", "oha", lambda url: oha(args, url, False)),
        ("wrk", "wrk", lambda url: wrk(args, url)),
    ]:
        if program and not shutil.which(program):
            print(f"left out: {program} is not installed", file=sys.stderr)
            continue
        server = Server(args, stall)
        try:
            rows[name] = measure(server.url)
        finally:
            server.stop()
    print("| |", " | ".join(f"p{share * 100:g}" for share in SHARES), "| max | answers |")
    print("|---" * (len(SHARES) + 3) + "|")
    for name, (times, answers) in rows.items():
        texts = [f"{time:.1f}" if time < 10 else f"{time:.0f}" for time in times]
        print("|", " | ".join([name, *texts, f"{answers}"]), "|")


if __name__ == "__main__":
    main()
