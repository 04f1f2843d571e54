#!/usr/bin/env python3
"""Runs Onhand, Redis and PostgreSQL in turn on the same work and prints medians and ratios.

The work: orders of one unit of one hot SKU, each with a check of stock, of the customer's limit
and of its id (2 % are duplicates), recorded, and synced to disk before it is acknowledged. One
round runs each system once, so that a slow moment of the machine meets all of them alike.

Needs Debian's packages redis-server and postgresql (`apt-get install redis-server postgresql`),
and `cargo build --release -p onhand-benches`; it installs nothing. Every server listens on
loopback alone, keeps its data in a temporary directory, and ends with the run.
"""

import argparse
import glob
import json
import os
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WORKSPACE = os.path.dirname(os.path.dirname(HERE))
START_SECONDS_MAX = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find(name, pattern, package):
    """Returns the path of a server's program, or says what to install."""
    path = shutil.which(name) or next(iter(sorted(glob.glob(pattern), reverse=True)), None)
    if path is None:
        sys.exit(f"{name} is not installed: apt-get install {package}")
    return path


def wait_for(port, process):
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"server on port {port} ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"server on port {port} did not start in {START_SECONDS_MAX} s")


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Onhand:
    def __init__(self, binaries, data, orders, in_flight):
        self.command = [
            os.path.join(binaries, "onhand-e2e"), "throughput", "--json", "--runs", "1",
            "--what", "hot", "--orders", str(orders), "--in-flight", str(in_flight),
            "--data", data,
        ]
        self.key = f"in_flight_{in_flight}"
        self.name = f"Onhand, {in_flight} in flight"

    def measure(self):
        figures = json.loads(run(self.command))[self.key]
        return {
            "orders_per_s": figures["orders_per_s"]["median"],
            "p50_ms": figures["latency"]["p50_ms"],
            "p99_ms": figures["latency"]["p99_ms"],
        }


class Redis:
    def __init__(self, binaries, data, orders, connections, depth):
        self.server = find("redis-server", "/usr/bin/redis-server", "redis-server")
        self.binary = os.path.join(binaries, "redis-orders")
        self.data, self.orders = data, orders
        self.connections, self.depth = connections, depth
        self.name = f"Redis, Lua, AOF always, {connections} x {depth}"
        self.version = run([self.server, "--version"]).split("v=")[1].split()[0]

    def measure(self):
        port = free_port()
        with tempfile.TemporaryDirectory(dir=self.data, prefix="redis-") as folder:
            process = subprocess.Popen(
                [self.server, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder,
                 "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                 "--no-appendfsync-on-rewrite", "no", "--auto-aof-rewrite-percentage", "0",
                 "--daemonize", "no"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_for(port, process)
                figures = json.loads(run([
                    self.binary, str(port), os.path.join(HERE, "place.lua"), str(self.orders),
                    str(self.connections), str(self.depth), "10000"]))
            finally:
                stop(process)
        if figures["refused"]:
            sys.exit(f"Redis refused {figures['refused']} orders that it had stock for")
        latency = figures["latency"]
        return {"orders_per_s": figures["orders_per_s"],
                "p50_ms": latency["p50_ms"], "p99_ms": latency["p99_ms"]}


class PostgreSQL:
    """Duplicates are drawn by pgbench: ids from a range of 25 times the orders repeat in 2 %."""

    def __init__(self, data, orders, clients):
        find("initdb", "/usr/lib/postgresql/*/bin/initdb", "postgresql")
        self.bin = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[-1])
        self.data, self.orders, self.clients = data, orders, clients
        self.version = run([os.path.join(self.bin, "postgres"), "--version"]).split()[2]
        self.name = f"PostgreSQL, plpgsql, sync on, {clients} clients"
        # initdb and the server refuse to run as root.
        self.as_user = {"user": "postgres"} if os.geteuid() == 0 else {}

    def measure(self):
        folder = tempfile.mkdtemp(dir=self.data, prefix="postgres-")
        process = None
        try:
            if self.as_user:
                owner = pwd.getpwnam("postgres")
                os.chown(folder, owner.pw_uid, owner.pw_gid)
            cluster = os.path.join(folder, "cluster")
            run([os.path.join(self.bin, "initdb"), "-D", cluster, "-A", "trust", "-U", "bench"],
                cwd=folder, **self.as_user)
            port = free_port()
            process = subprocess.Popen(
                [os.path.join(self.bin, "postgres"), "-D", cluster, "-p", str(port),
                 "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}",
                 "-c", "synchronous_commit=on", "-c", "shared_buffers=1GB",
                 "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=30min"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **self.as_user)
            wait_for(port, process)
            return self.drive(port, folder)
        finally:
            if process is not None:
                stop(process)
            shutil.rmtree(folder, ignore_errors=True)

    def drive(self, port, folder):
        target = ["-h", "127.0.0.1", "-p", str(port), "-U", "bench"]
        # The port is open before the server takes statements.
        until = time.monotonic() + START_SECONDS_MAX
        while subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", *target[:4]]).returncode:
            if time.monotonic() > until:
                sys.exit(f"PostgreSQL took no statements within {START_SECONDS_MAX} s")
            time.sleep(0.05)
        psql = [os.path.join(self.bin, "psql"), *target, "-v", "ON_ERROR_STOP=1", "-q"]
        run([*psql, "-f", os.path.join(HERE, "place.sql"), "postgres"])
        script = os.path.join(folder, "place.pgbench")
        with open(script, "w", encoding="utf-8") as out:
            out.write(f"\\set id random(1, {self.orders * 25})\n"
                      "\\set customer random(1, 1000000)\n"
                      "SELECT place(:id, :customer, 1, 1000);\n")
        pgbench = os.path.join(self.bin, "pgbench")
        run([pgbench, *target, "-n", "-M", "prepared", "-c", str(self.clients), "-j", "2",
             "-t", str(max(1, self.orders // self.clients)), "--random-seed=1", "-f", script,
             "-l", f"--log-prefix={folder}/log", "postgres"])
        begun, ended, micros = [], [], []
        for path in glob.glob(f"{folder}/log.*"):
            with open(path, encoding="utf-8") as log:
                for line in log:
                    parts = line.split()
                    took, at = int(parts[2]), int(parts[4]) * 1_000_000 + int(parts[5])
                    begun.append(at - took)
                    ended.append(at)
                    micros.append(took)
        placed = int(run([*psql, "-A", "-t", "-c", "SELECT count(*) FROM orders", "postgres"]))
        micros.sort()
        return {"orders_per_s": placed / (max(ended) - min(begun)) * 1e6,
                "p50_ms": micros[len(micros) // 2] / 1e3,
                "p99_ms": micros[len(micros) * 99 // 100] / 1e3}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if "model name" in line), "")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": os.uname().release,
            "date": time.strftime("%Y-%m-%d")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default=tempfile.gettempdir(),
                        help="folder for data directories, on the disk that is to be measured")
    parser.add_argument("--binaries", default=os.path.join(
        os.environ.get("CARGO_TARGET_DIR", os.path.join(WORKSPACE, "target")), "release"))
    parser.add_argument("--orders", type=int, default=4_000_000, help="orders of an Onhand run")
    parser.add_argument("--redis-orders", type=int, default=400_000)
    parser.add_argument("--postgres-orders", type=int, default=32_000)
    parser.add_argument("--in-flight", type=int, default=16_384)
    parser.add_argument("--json", help="write the figures to this file too")
    args = parser.parse_args()
    redis = Redis(args.binaries, args.data, args.redis_orders, 50, 256)
    postgres = PostgreSQL(args.data, args.postgres_orders, 16)
    systems = [Onhand(args.binaries, args.data, args.orders, args.in_flight), redis, postgres]
    runs = {system.name: [] for system in systems}
    for number in range(1, args.rounds + 1):
        for system in systems:
            figures = system.measure()
            figures["load"] = os.getloadavg()[0]
            runs[system.name].append(figures)
            print(f"round {number}: {system.name}: {figures['orders_per_s']:,.0f} orders/s, "
                  f"p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms, "
                  f"load {figures['load']:.1f}", file=sys.stderr, flush=True)
    result = {"machine": machine(), "redis": redis.version, "postgresql": postgres.version,
              "systems": {}}
    ours = [figures["orders_per_s"] for figures in runs[systems[0].name]]
    for name, figures in runs.items():
        rates = [f["orders_per_s"] for f in figures]
        ratios = [mine / theirs for mine, theirs in zip(ours, rates)]
        result["systems"][name] = {
            "orders_per_s": {"median": statistics.median(rates), "min": min(rates),
                             "max": max(rates), "runs": rates},
            "p50_ms": statistics.median(f["p50_ms"] for f in figures),
            "p99_ms": statistics.median(f["p99_ms"] for f in figures),
            "onhand_is_faster": {"median": statistics.median(ratios), "min": min(ratios),
                                 "max": max(ratios)},
        }
        print(f"{name}: {statistics.median(rates):,.0f} [{min(rates):,.0f}-{max(rates):,.0f}] "
              f"orders/s, Onhand {statistics.median(ratios):.1f}x "
              f"[{min(ratios):.1f}-{max(ratios):.1f}]")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(result, out, indent=2)


if __name__ == "__main__":
    main()
