"""`plimsoll --help`, cold: bar 150 ms."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]
from bench.measure import measure, report

if __name__ == "__main__":
    rounds = [measure([sys.executable, "-m", "plimsoll", "--help"]) for _ in range(20)]
    sys.exit(0 if report("plimsoll --help, cold", rounds, seconds=0.15, mib=100) else 1)
