"""The bill per job from a ledger of many samples and jobs: bar 10 s cold, 2 s warm, 1 GB for 100 M × 1 M.

    python bench/cost_scale.py [--samples 1000000] [--jobs 10000] [--keep]

Samples are what a meter writes every 15 s for each GPU. Printed are the bill from samples that were never merged, the
merging (once, as they come), and the bill after it: in a process just started, and asked again in the same process.
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
from bench.measure import measure  # noqa: E402  found from the repository's root, wherever this is started
from plimsoll.cost.bill import Query, bill  # noqa: E402
from plimsoll.cost.duck import Duck  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402
from plimsoll.cost.price import Tariff  # noqa: E402

START, STEP = 1_764_547_200_000, 15_000
PER_NODE = 8
PER_GPU = 100_000  # samples of one GPU, as in the measurements beside which these are put: 17.4 days
TARIFF = Tariff({"h100": (55_040_000, "bench")})


def generate(path: Path, samples: int, jobs: int) -> int:
    """A ledger made in SQL, in the inbox; the end of its window. Jobs of one GPU follow one another with gaps."""
    gpus = max(PER_NODE, samples // PER_GPU // PER_NODE * PER_NODE)
    per_gpu, jobs_per_gpu = samples // gpus, max(jobs // gpus, 1)
    length = per_gpu // jobs_per_gpu  # samples from one job's beginning to the next one's
    busy = max(length * 17 // 20, 1)  # samples a job lasts; 85 of 100 M in the measurements
    end = START + per_gpu * STEP
    db = Duck(path)
    node, gpu = f"1 + g // {PER_NODE}", "1000000 + g"
    pod = f"10000000 + g * {jobs_per_gpu} + "
    db.run(f"""INSERT INTO nodes SELECT DISTINCT {node}, 'n' || ({node}), 'n' || ({node}), 'h100', 'H100-SXM5-80GB',
        'on-demand', 'aws', '', '', {PER_NODE}, 0, 0, {START} FROM range({gpus}) t(g)""")
    db.run(f"INSERT INTO gpus SELECT {gpu}, {node}, {gpu}, 'GPU-' || g, {START} FROM range({gpus}) t(g)")
    db.run(f"INSERT INTO watches VALUES ('m', {START}, {end})")
    jobs_of = f"FROM range({gpus}) t(g), range({jobs_per_gpu}) s(j)"
    begins = f"{START} + j * {length * STEP}"
    db.run(f"""INSERT INTO pods SELECT {pod} j, 'uid-' || g || '-' || j, 'ns' || g % 40, 'pod-' || j, {node},
        'team' || g % 40, 'ns/job-' || g || '-' || j, 'job-' || g || '-' || j, {pod} j, '', {pod} j, '', '', '{{}}',
        {begins}, {begins}
        {jobs_of}""")
    db.run(f"""INSERT INTO holds SELECT {pod} j, {pod} j, {gpu}, {node}, {gpu}, 0, 56, 1, {begins} {jobs_of}""")
    db.run(f"""INSERT INTO marks SELECT {pod} j, 'pod', 'ended', {begins} + {busy * STEP}, 1, '' {jobs_of}""")
    held = f"CASE WHEN i % {length} < {busy} AND i // {length} < {jobs_per_gpu} THEN {pod} i // {length} ELSE 0 END"
    at = f"{START} + i * {STEP}"
    for first in range(0, gpus, 8):  # in pieces, as many rows at once would not fit
        db.run(f"""INSERT INTO usage_inbox SELECT {gpu}, 0, {held}, {at}, {at} + {STEP}, {STEP}, 0, 0,
            CAST(hash(g, i) % {STEP} AS BIGINT), CAST(hash(i, g) % {STEP} AS BIGINT), 0, 0,
            CAST(hash(g + i) % 10500000 AS BIGINT), CAST(hash(g * i) % 80000 * {STEP} AS BIGINT)
            FROM range({first}, {min(first + 8, gpus)}) t(g), range({per_gpu}) s(i)""")
    db.run("CHECKPOINT")
    db.close()
    return end


def ask(path: Path, end: int, times: int) -> None:
    """Ask for the dearest jobs of the whole window, and print the seconds of each time."""
    ledger = Ledger(Duck(path, read_only=True))
    query = Query(by="job", began=START, ended=end, top=20)
    for _ in range(times):
        started = time.perf_counter()
        answer = bill(ledger, TARIFF, query)
        print(f"{time.perf_counter() - started:.2f} s, total {answer.total / 1e6:,.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--keep", action="store_true", help="use the ledger that is there")
    parser.add_argument("--step", choices=("ask", "twice", "seal"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    path = ROOT / "build" / "bench" / f"ledger-{given.samples}-{given.jobs}.duckdb"
    gpus = max(PER_NODE, given.samples // PER_GPU // PER_NODE * PER_NODE)
    end = START + given.samples // gpus * STEP
    if given.step == "seal":
        Ledger(Duck(path)).seal(end)
        return
    if given.step:
        ask(path, end, 2 if given.step == "twice" else 1)
        return
    if not given.keep:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # In a process of its own: a child that is measured starts with the peak memory of its parent.
        make = f"from bench.cost_scale import *; generate(Path({str(path)!r}), {given.samples}, {given.jobs})"
        subprocess.run([sys.executable, "-c", make], check=True, cwd=ROOT)
    command = [sys.executable, __file__, "--samples", str(given.samples), "--jobs", str(given.jobs), "--step"]
    print(f"{given.samples:,} samples, {given.jobs:,} jobs, {gpus} GPUs", flush=True)
    for title, step in (
        ("bill, cold, nothing merged", "ask"), ("merging", "seal"), ("bill, cold, merged", "ask"),
    ):  # fmt: skip
        took = measure([*command, step])
        print(f"{title}: {took.wall_s:.2f} s wall, {took.cpu_s:.2f} s CPU, {took.rss_mib:.0f} MiB", flush=True)
    print("bill, merged, asked twice in one process:", flush=True)
    subprocess.run([*command, "twice"], check=True)
    print(f"the ledger has {path.stat().st_size / 1e6:,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
