"""The meter killed with SIGKILL at random moments while jobs come and go, and PostgreSQL restarted under it.

python bench/meter_kills.py [--kills 200] [--restarts 20] [--seed 1] [--ledger duckdb|postgresql]

A lab with the nodes of examples/practice runs jobs of 1 to 40 seconds on whole GPUs, MIG instances and shared GPUs. A
watch of its own sees every pod. At the end each job must be billed what it held, to the micro-unit: no second lost,
none billed twice.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from plimsoll.kube.client import Client  # noqa: E402  found from the repository's root
from plimsoll.lab.run import launch  # noqa: E402
from plimsoll.lab.run.settings import Settings  # noqa: E402
from plimsoll.spec.load import load  # noqa: E402
from tests.lab import metering  # noqa: E402

PRACTICE = ROOT / "examples" / "practice" / "platform.yaml"
NAME, SPACE = "kills", "metered"
PENDING_MAX = 12  # jobs at a time
SETTLED = 25.0  # seconds until what ended last is written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", choices=("duckdb", "postgresql"), default="postgresql")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meter-kills-") as folder, ExitStack() as stack:
        return run(options, stack, Path(folder))


def run(options: argparse.Namespace, stack: ExitStack, work: Path) -> int:
    chance = random.Random(options.seed)
    server, ledger = None, str(work / "ledger.duckdb")
    if options.ledger == "postgresql":
        from tests.postgres import Server

        server = stack.enter_context(Server(durable=True))
        ledger = server.database()
    os.environ["XDG_STATE_HOME"] = str(work)
    launch.up(Settings(name=NAME, addons=("gpu-operator", "prometheus"), platform=PRACTICE.read_text()))
    place = launch.folder_of(NAME)
    stack.callback(launch.down, place)
    client = stack.enter_context(Client(place.kubeconfig))
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    seen = metering.Seen(client, {SPACE})
    log = work / "meter.log"
    began, meter = time.monotonic(), metering.Process(place, PRACTICE, ledger, log)
    metering.first(ledger)  # what ended before is not billed
    first, number, restarts = round(time.time() * 1000), 0, 0
    for kill in range(options.kills):
        due = time.monotonic() + chance.uniform(0.2, 6.0)
        while time.monotonic() < due:
            if seen.running < PENDING_MAX:
                client.create(metering.random_job(chance, SPACE, number))
                number += 1
            time.sleep(0.3)
        due_restarts = (kill + 1) * options.restarts // options.kills
        if server is not None and restarts < due_restarts:
            server.restart(kill=chance.random() < 0.5)
            restarts += 1
        meter.kill()
        meter = metering.Process(place, PRACTICE, ledger, log)
        took = time.monotonic() - began
        print(f"\r{kill + 1} kills, {restarts} restarts, {number} jobs, {took:.0f} s", end="", flush=True)
    while seen.running:
        time.sleep(0.5)
    time.sleep(SETTLED)
    code = meter.end()
    until = round(time.time() * 1000)
    seen.stop()
    platform = load(PRACTICE.read_bytes(), str(PRACTICE))
    until = min(until, metering.costs(ledger, platform, first, until).horizon)
    found = metering.costs(ledger, platform, first, until)
    jobs, off = metering.compare(found, metering.truth(seen, platform, until), first, until)
    print(f"\n{options.kills} kills, {restarts} restarts of {options.ledger}: {jobs} jobs, {len(off)} billed wrongly")
    print(f"the lines add up to {found.total / 1e6:.6f} {found.currency}; the last meter ended with {code}")
    for each, (billed, true) in sorted(off.items())[:20]:
        print(f"  {each}: billed {billed}, true {true:.1f}")
    return 1 if off or code else 0


if __name__ == "__main__":
    sys.exit(main())
