"""The bill per job from 100 M samples and 1 M jobs: bar 10 s cold, 2 s warm, 1 GB.

    python bench/cost_scale.py [--gpus 1000] [--samples 100000] [--jobs 1000000] [--keep FOLDER]

Samples are what exporters tell every 15 s of each GPU. The meter sums them up and writes a row for each pod and minute,
which the ledger merges day by day; both happen here first, for a few minutes. Then a process that was just started asks
for the dearest jobs while no page of the ledger is in memory, and asks once more. At last each day of the window is
billed, as an export by day does. With --keep the ledger is made once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.cost_ledger import DAY, MINUTE, START, TARIFF, Shape, ask, forget, make, place  # noqa: E402  from the root
from bench.measure import measure, report  # noqa: E402
from plimsoll.cost.bill import Query, bill  # noqa: E402
from plimsoll.cost.duck import Duck  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402
from plimsoll.cost.sample import measured  # noqa: E402

STEP = 15_000
RECORDS = 100_000


def step(name: str, path: Path, shape: Shape) -> None:
    """One of the things that are measured, in a process of its own."""
    if name == "make":
        made = make(path, shape)
        per_second = made.wrote / made.seal_s / 1e6
        print(f"merging: {made.wrote:,} rows of usage into {made.kept:,} in {made.seal_s:.1f} s, "
              f"{per_second:.2f} M rows a second", flush=True)  # fmt: skip
    elif name == "write":
        _write(path.with_name("written.duckdb"))
    elif name == "twice":
        query = Query(by="job", began=START, ended=shape.end, top=20)
        ledger = Ledger(Duck(path, read_only=True))
        for title in ("first", "again"):
            began = time.perf_counter()
            answer = bill(ledger, TARIFF, query)
            took = time.perf_counter() - began
            lines = len(answer.lines) + answer.rest
            print(f"  {title}: {took:.2f} s, {lines:,} lines add up to {answer.total / 1e6:,.6f}", flush=True)
    elif name == "once":
        ask(path, Query(by="job", began=START, ended=shape.end, top=20))
    elif name == "days":
        days = [
            ask(path, Query(by="job", began=day, ended=min(day + DAY, shape.end), top=20))[0]
            for day in range(START, shape.end, DAY)
        ]
        print(f"  a day of it: {sum(days) / len(days):.2f} s, at most {max(days):.2f} s, {len(days)} days", flush=True)


def _write(path: Path) -> None:
    """How fast records go in."""
    path.unlink(missing_ok=True)
    records = [
        measured(f"GPU-{i % 1000}", "", f"pod-{i % 1000}", START + i // 1000 * MINUTE,
                 START + (i // 1000 + 1) * MINUTE, i % 100 / 100, i % 90 / 100, watts=500, memory_mib=40_000)
        for i in range(RECORDS)
    ]  # fmt: skip
    ledger = Ledger(Duck(path))
    began = time.perf_counter()
    for start in range(0, RECORDS, 1000):
        ledger.write(records[start : start + 1000])
    print(f"writing: {RECORDS / (time.perf_counter() - began):,.0f} records a second, 1,000 at once", flush=True)
    ledger.store.close()
    path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=100_000, help="of each GPU, 15 s apart")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="make the ledger there, or use the one that is there"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    shape = Shape(given.gpus, given.jobs, given.samples * STEP)
    if given.step:
        step(given.step, given.path, shape)
        return
    print(f"{given.gpus * given.samples:,} samples of {given.gpus:,} GPUs, {given.jobs:,} jobs", flush=True)
    with place(given.keep, f"scale-{given.gpus}-{given.samples}-{given.jobs}.duckdb") as path:
        command = [sys.executable, __file__, *sys.argv[1:], "--path", str(path), "--step"]
        if not path.exists():
            for name in ("write", "make"):
                subprocess.run([*command, name], check=True)
        print(f"the ledger has {path.stat().st_size / 1e6:,.0f} MB", flush=True)
        forget(path)
        for title in ("nothing of it in memory", "its pages in memory"):
            report(f"bill by job, a new process, {title}", [measure([*command, "once"])], seconds=10, mib=1024)
        print("bill by job, twice in one process (bar 2 s):", flush=True)
        subprocess.run([*command, "twice"], check=True)
        print("bill by job, day by day:", flush=True)
        subprocess.run([*command, "days"], check=True)


if __name__ == "__main__":
    main()
