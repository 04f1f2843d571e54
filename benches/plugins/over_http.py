#!/usr/bin/env python3
"""Measures what policies cost over HTTP: a host without policies, one with the built-in ones, one
with two plugins, each a process of its own under the same load in turn; and what a shadow costs.

A round loads each host once, and every second round goes backwards, so that a slow moment of the
machine meets all of them alike. Load: a flash sale by onhand-loadtest, 20 SKUs and a hot one, 2 %
duplicates, one order a request and 100 orders a request, as fast as answers come; the shadow at a
steady rate, latency from intended start.

Needs `cargo build --release -p onhand-host -p onhand-loadtest -p onhand-plugin-benches`.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WORKSPACE = os.path.dirname(os.path.dirname(HERE))
START_SECONDS_MAX = 30
SKUS = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """A host with its data directory; ended with `stop`."""

    def __init__(self, binaries, folder, name, policies):
        self.onhand = os.path.join(binaries, "onhand")
        self.url = f"http://127.0.0.1:{free_port()}"
        self.name = name
        command = [self.onhand, "serve", "--dev", "--listen", self.url.removeprefix("http://"),
                   "--data", os.path.join(folder, name)]
        environment = dict(os.environ)
        if policies:
            environment["ONHAND_PLUGINS__POLICIES"] = os.path.join(folder, "policies.toml")
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until:
            if self.process.poll() is not None:
                sys.exit(f"host {name} ended with {self.process.returncode}")
            try:
                with socket.create_connection(("127.0.0.1", int(self.url.rsplit(":", 1)[1])), 1):
                    return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"host {name} did not start")

    def plugins(self, folder, step):
        """Installs the samples and lets them take a step."""
        for kind in ["pricing", "fraud"]:
            bundle = os.path.join(folder, f"{kind}.onhand")
            config = os.path.join(folder, f"{kind}.json")
            run([self.onhand, "plugin", "install", bundle, "--config", config, "--url", self.url])
            name = {"pricing": "onhand/tiered-pricing", "fraud": "onhand/fraud-score"}[kind]
            run([self.onhand, "plugin", step, name, "--url", self.url])

    def stats(self):
        """Returns what the samples did, by name."""
        found = {}
        for name in ["onhand/tiered-pricing", "onhand/fraud-score"]:
            text = run([self.onhand, "plugin", "stats", name, "--json",
                        "--url", self.url])
            found[name] = json.loads(text)
        return found

    def cpu_seconds(self):
        """Returns the processor time of the host's process."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def load(args, host, name, seed, batch, pace):
    """Puts load on a host; returns the load tester's report."""
    command = [os.path.join(args.binaries, "onhand-loadtest"), "run",
               os.path.join(HERE, "orders.toml"), "--target", host.url,
               "--run", name, "--seed", str(seed), "--duration", f"{args.seconds}s",
               "--batch", str(batch), "--connections", str(args.connections if batch == 1 else 8),
               "--no-truth", "--quiet", "--allow-generator-limit", "--json", "-", *pace]
    return json.loads(run(command))


def p99(report):
    """Returns the 99th percentile of all requests from their intended start, in milliseconds."""
    whole = [group for group in report["latency"] if not set(group) - {"intended", "service"}]
    return whole[0]["intended"]["p99_ns"] / 1e6


def spread(values, form="{:.0f}"):
    texts = [form.format(value) for value in (statistics.median(values), min(values), max(values))]
    return f"{texts[0]} [{texts[1]}-{texts[2]}]"


def compare(args, hosts, what, batch, pace, figure, form):
    """Runs rounds of all hosts and prints their figures and their ratios to the first one."""
    found = {host.name: [] for host in hosts}
    cpu = {host.name: [] for host in hosts}
    for number in range(args.rounds):
        order = hosts if number % 2 == 0 else hosts[::-1]
        for host in order:
            before = host.cpu_seconds()
            report = load(args, host, f"{what}{number}", 1_000 + number, batch, pace)
            spent = host.cpu_seconds() - before
            found[host.name].append(figure(report))
            cpu[host.name].append(1e6 * spent / max(report["counts"]["orders"], 1))
    first = found[hosts[0].name]
    for host in hosts:
        ratios = [100 * value / one for value, one in zip(found[host.name], first)]
        print(f"{what}, {host.name}: {spread(found[host.name], form)}, "
              f"{spread(ratios, '{:.1f}')} % of {hosts[0].name}, "
              f"{spread(cpu[host.name], '{:.1f}')} us of the host's processor time an order "
              f"(load {os.getloadavg()[0]:.1f})",
              flush=True)
    return {host.name: {"runs": found[host.name], "median": statistics.median(found[host.name]),
                        "cpu_us_per_order": cpu[host.name]} for host in hosts}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", default="1k/s", help="of the shadow's measurement")
    parser.add_argument("--only", choices=["single", "batch", "shadow"])
    parser.add_argument("--data", default=tempfile.gettempdir())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--binaries", default=os.path.join(
        os.environ.get("CARGO_TARGET_DIR", os.path.join(WORKSPACE, "target")), "release"))
    args = parser.parse_args()
    figures = {"load": os.getloadavg()}
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        runs = [f"{what}{number}" for what in ["single", "batch", "shadow"]
                for number in range(args.rounds)]
        classed = [f"{name}-{sku}" for name in runs
                   for sku in ["hot", *range(2, SKUS + 1, 2)]]
        run([os.path.join(args.binaries, "onhand-policy-figures"), "write", folder,
             "--classed", ",".join(classed)])
        hosts = []
        try:
            for name, policies in [("none", False), ("built-in", True), ("plugins", True),
                                   ("shadowed", True)]:
                hosts.append(Host(args.binaries, folder, name, policies))
            none, built_in, plugins, shadowed = hosts
            plugins.plugins(folder, "activate")
            shadowed.plugins(folder, "shadow")
            rate = lambda report: report["counts"]["orders"] / report["elapsed_ns"] * 1e9
            three = [none, built_in, plugins]
            if args.only in (None, "single"):
                figures["single"] = compare(args, three, "single", 1, ["--max"], rate, "{:.0f}")
            if args.only in (None, "batch"):
                figures["batch"] = compare(args, three, "batch", 100, ["--max"], rate, "{:.0f}")
            if args.only in (None, "shadow"):
                pace = ["--rate", args.rate]
                two = [built_in, shadowed]
                figures["shadow"] = compare(args, two, "shadow", 1, pace, p99, "{:.2f} ms")
            for host in [plugins, shadowed]:
                for name, stats in host.stats().items():
                    print(f"{host.name}: {name} {json.dumps(stats.get('decided'))} "
                          f"{json.dumps(stats.get('failures'))} in {stats.get('calls')} calls")
        finally:
            for host in hosts:
                host.stop()
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
