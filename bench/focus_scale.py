"""A month of many jobs as FOCUS data: seconds and memory of the export, a row per holder and day.

python bench/focus_scale.py [--samples 10000000] [--jobs 1000000] [--keep]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.cost_ledger import START, TARIFF  # noqa: E402  found from the repository's root
from bench.measure import measure  # noqa: E402
from plimsoll.cost.duck import Duck  # noqa: E402
from plimsoll.cost.focus import DAY, Export, export  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402


def write(ledger: Path, to: Path) -> None:
    asked = Export(version="1.3", began=START, ended=START + 31 * DAY, platform="bench")
    export(Ledger(Duck(ledger, read_only=True)), TARIFF, asked, to)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="use the ledger that is there")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    ledger = ROOT / "build" / "bench" / f"focus-{given.samples}-{given.jobs}.duckdb"
    if given.write:
        write(ledger, given.write)
        return
    if not given.keep:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        ledger.unlink(missing_ok=True)
        shape = f"Shape({max(given.samples // 100_000 // 8 * 8, 8)}, {given.jobs}, 100_000 * 15_000, step=HOUR)"
        make = f"from bench.cost_ledger import *; make(Path({str(ledger)!r}), {shape})"
        subprocess.run([sys.executable, "-c", make], check=True, cwd=ROOT)
    for form in ("parquet", "csv"):
        to = ledger.with_suffix(f".{form}")
        command = [sys.executable, __file__, "--samples", str(given.samples), "--jobs", str(given.jobs)]
        took = measure([*command, "--write", str(to)])
        size = to.stat().st_size / 1e6
        to.unlink()
        print(
            f"{form}: {took.wall_s:.1f} s wall, {took.cpu_s:.1f} s CPU, {took.rss_mib:.0f} MiB; the file {size:,.0f} MB"
        )


if __name__ == "__main__":
    main()
