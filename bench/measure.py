"""Processes measured from outside, as their user meets them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple


class Round(NamedTuple):
    """What one process took."""

    wall_s: float
    cpu_s: float
    rss_mib: float


def measure(command: list[str]) -> Round:
    """Run a command once, its output thrown away. Raises SystemExit where it does not end with 0.

    The kernel hands a child the peak memory of the process that starts it: measure from a small one.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    rss = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, kibibytes on Linux
    return Round(wall, used.ru_utime + used.ru_stime, rss)


def report(title: str, rounds: list[Round], *, seconds: float, mib: float) -> bool:
    """Print the figures beside the bar; whether it is met. The fastest round counts: what else runs only adds to it."""
    walls = [each.wall_s for each in rounds]
    cpu, rss = min(each.cpu_s for each in rounds), max(each.rss_mib for each in rounds)
    good = min(walls) <= seconds and rss <= mib
    wall = f"{min(walls):.2f} s wall (median {statistics.median(walls):.2f} s of {len(walls)})"
    bar = f"bar {seconds:g} s, {mib} MiB: {'met' if good else 'MISSED'}"
    print(f"{title}: {wall}, {cpu:.2f} s CPU, {rss:.0f} MiB  ({bar})", flush=True)
    return good
