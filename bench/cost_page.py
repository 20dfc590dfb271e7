"""What the meter's page of costs takes from the CPU, page after page: part of the bar of 5 % of a core for 10,000 GPUs.

    python bench/cost_page.py [--gpus 10000] [--days 25] [--every 300]

The ledger holds that many days of one month, one row of usage per GPU and hour as merging leaves them, and jobs of half
a day. The first page of a day bills every day of the last four weeks for the forecast; the others do not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from plimsoll.agents.meter import metrics  # noqa: E402  found from the repository's root, wherever this is started
from plimsoll.cost.duck import Duck  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402
from plimsoll.cost.price import Tariff  # noqa: E402
from plimsoll.cost.sample import HOUR  # noqa: E402

START, PER_NODE, JOB = 1_764_547_200_000, 8, 12  # 2025-12-01; GPUs; hours
TARIFF = Tariff({"h100": (55_040_000, "bench")})


def generate(db: Duck, gpus: int, days: int) -> int:
    """Forty teams, whose jobs of one GPU follow one another; the end of what was watched."""
    hours = 24 * days
    end = START + hours * HOUR
    node, gpu, job = f"1 + g // {PER_NODE}", "1000000 + g", f"10000000 + g * {hours // JOB} + j"
    began = f"{START} + j * {JOB * HOUR}"
    jobs = f"FROM range({gpus}) t(g), range({hours // JOB}) s(j)"
    db.run(f"""INSERT INTO nodes SELECT DISTINCT {node}, 'n' || ({node}), 'n' || ({node}), 'h100', 'H100-SXM5-80GB',
        'on-demand', 'aws', '', '', {PER_NODE}, 0, 0, {START} FROM range({gpus}) t(g)""")
    db.run(f"INSERT INTO gpus SELECT {gpu}, {node}, {gpu}, 'GPU-' || g, {START} FROM range({gpus}) t(g)")
    db.run(f"INSERT INTO watches VALUES ('m', {START}, {end})")
    db.run(f"""INSERT INTO pods SELECT {job}, 'uid-' || g || '-' || j, 'ns' || g % 40, 'pod-' || j, {node},
        'team' || g % 40, 'ns/job-' || g || '-' || j, 'job-' || g || '-' || j, {job}, '', {job}, '', '', '{{}}',
        {began}, {began} {jobs}""")
    db.run(f"INSERT INTO holds SELECT {job}, {job}, {gpu}, {node}, {gpu}, 0, 56, 1, {began} {jobs}")
    why = "CASE WHEN (g + j) % 50 = 0 THEN 'PreemptionByScheduler' ELSE 'Completed' END"
    db.run(f"INSERT INTO marks SELECT {job}, 'pod', 'ended', {began} + {(JOB - 1) * HOUR}, 1, {why} {jobs}")
    at = f"{START} + i * {HOUR}"
    db.run(f"""INSERT INTO usage SELECT {gpu}, 0, 10000000 + g * {hours // JOB} + i // {JOB}, {at}, {at} + {HOUR},
        {HOUR}, CAST(hash(g, i) % {HOUR} AS BIGINT), 0, CAST(hash(i, g) % {HOUR} AS BIGINT), 0, 0, 0, 0, 0
        FROM range({gpus}) t(g), range({hours}) s(i) WHERE i % {JOB} < {JOB - 1}""")
    db.run("CHECKPOINT")
    return end


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=25)
    parser.add_argument("--every", type=float, default=300.0, help="seconds from one page to the next")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = Duck(Path(folder) / "ledger.duckdb")
        end = generate(db, given.gpus, given.days)
        past: metrics.Past = {}
        took = []
        for place in range(4):
            started = time.process_time()
            text = metrics.costs(Ledger(db), TARIFF, None, end - HOUR + place, past=past)
            took.append(time.process_time() - started)
            print(f"page {place + 1}: {took[-1]:.2f} s CPU, {text.count(chr(10)):,} lines", flush=True)
        db.close()
    pages = 86_400 / given.every
    share = (took[0] + (pages - 1) * min(took[1:])) / 86_400
    print(
        f"{given.gpus:,} GPUs, day {given.days} of the month, a page every {given.every:g} s: {share:.2%} of one core"
    )
    return 0 if share <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
