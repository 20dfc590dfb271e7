"""A month of 1,000 GPUs and 1 M jobs by every cut: bar 2 s each, in a process that was just started.

    python bench/cost_month.py [--gpus 1000] [--jobs 1000000] [--mixed] [--rounds 3] [--keep FOLDER]

Jobs hold whole GPUs. With --mixed one GPU in ten is cut into seven instances, and one in ten is shared by four pods at
a time, whose price is divided hour by hour. The ledger is merged, as it is an hour after it was written; making it
takes a minute or two. The fastest of the rounds counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.cost_ledger import DAY, START, Shape, ask, make, place  # noqa: E402  found from the repository's root
from bench.measure import measure, report  # noqa: E402
from plimsoll.cost.bill import Query  # noqa: E402
from plimsoll.cost.cuts import By  # noqa: E402
from plimsoll.cost.sample import HOUR  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--mixed", action="store_true", help="cut and share one GPU in ten each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="make the ledger there, or use the one that is there"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    shape = Shape(given.gpus, given.jobs, 30 * DAY, step=HOUR, mixed=given.mixed)
    if given.step == "make":
        make(given.path, shape)
        return
    if given.step:
        ask(given.path, Query(by=given.step, began=START, ended=shape.end, top=20))
        return
    with place(given.keep, f"{'mixed' if given.mixed else 'month'}-{given.gpus}-{given.jobs}.duckdb") as path:
        command = [sys.executable, __file__, *sys.argv[1:], "--path", str(path), "--step"]
        if not path.exists():
            subprocess.run([*command, "make"], check=True)
        print(f"30 days of {given.gpus:,} GPUs, {given.jobs:,} jobs, {path.stat().st_size / 1e6:,.0f} MB", flush=True)
        met = [
            report(f"by {by}", [measure([*command, by]) for _ in range(given.rounds)], seconds=2, mib=1024)
            for by in get_args(By)
        ]
    print(f"{sum(met)} of {len(met)} cuts met the bar", flush=True)


if __name__ == "__main__":
    main()
