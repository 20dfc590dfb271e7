"""Bills by tenant and by request, and what their sources take: pages of vLLM, lines of a gateway's log.

    python bench/inference_scale.py [--engines 1000] [--models 20] [--days 30] [--requests 1000000]

The ledger is one of engines of one GPU that were measured and counted every hour. Requests are written as a meter
writes them, 20,000 at a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.measure import measure  # noqa: E402  found from the repository's root, wherever this is started
from plimsoll.agents.meter import vllm  # noqa: E402
from plimsoll.agents.meter.gateway import BATCH, Fields, parse  # noqa: E402
from plimsoll.cost.bill import Query, bill  # noqa: E402
from plimsoll.cost.cuts import By  # noqa: E402
from plimsoll.cost.duck import Duck  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402
from plimsoll.cost.price import Tariff  # noqa: E402
from plimsoll.cost.sample import HOUR, Request  # noqa: E402

START, TENANTS, PER_NODE = 1_764_547_200_000, 200, 8
TARIFF = Tariff({"h100": (55_040_000, "bench")})
CUTS: tuple[By, ...] = ("model", "tenant", "served", "request")


def generate(path: Path, engines: int, models: int, hours: int) -> None:
    """Nodes, engines, and for each hour what they did and counted."""
    db = Duck(path)
    node, gpu, pod = f"g // {PER_NODE} + 1", "1000000 + g", "10000000 + g"
    every, hour = f"FROM range({engines}) t(g)", f"{START} + h * {HOUR}"
    db.run(f"""INSERT INTO nodes SELECT {node}, 'n' || g, 'n' || g, 'h100', 'H100-SXM5-80GB', 'on-demand', '', '', '',
        {PER_NODE}, 0, 0, {START} FROM range(0, {engines}, {PER_NODE}) t(g)""")
    db.run(f"INSERT INTO gpus SELECT {gpu}, {node}, {gpu}, 'GPU-' || g, {START} {every}")
    db.run(f"INSERT INTO watches VALUES ('m', {START}, {START + hours * HOUR})")
    db.run(f"""INSERT INTO pods SELECT {pod}, 'u' || g, 'ns', 'p' || g, {node}, 't', '', '', {pod}, '', {pod},
        'm' || g % {models}, '', '{{}}', {START}, {START} {every}""")
    db.run(f"INSERT INTO holds SELECT {pod}, {pod}, {gpu}, {node}, {gpu}, 0, 56, 1, {START} {every}")
    db.run(f"""INSERT INTO usage SELECT {gpu}, 0, {pod}, {hour}, {hour} + {HOUR}, {HOUR}, 0, 0,
        CAST(hash(g, h) % {HOUR} AS BIGINT), 0, 0, 0, 0, 0 {every}, range({hours}) s(h)""")
    db.run(f"""INSERT INTO tokens SELECT 'm' || g % {models}, '', {pod}, {hour}, {hour} + {HOUR}, 100,
        CAST(hash(h, g) % 100000 AS BIGINT), 0, CAST(hash(g + h) % 50000 AS BIGINT) {every}, range({hours}) s(h)""")
    db.close()


def write(path: Path, models: int, hours: int, requests: int) -> None:
    """Requests in the order of their end, as a gateway tells them."""
    random, ledger = Random(1), Ledger(Duck(path))
    for first in range(0, requests, BATCH):
        ledger.write(
            Request(
                id=f"r{place}", model=f"m{random.randrange(models)}", tenant=f"t{random.randrange(TENANTS)}",
                began=(at := START + place * hours * HOUR // requests), ended=at + random.randrange(20_000),
                prompt=random.randrange(4000), output=random.randrange(800),
            )
            for place in range(first, min(first + BATCH, requests))
        )  # fmt: skip
    ledger.store.close()


def sources() -> None:
    """CPU of a page and of a line."""
    labels = '{engine="0",model_name="org/model"}'
    lines = [f'vllm:other_series_bucket{{engine="0",le="{n}",model_name="org/model"}} {n}.0' for n in range(600)]
    for name in ("prompt_tokens", "prompt_tokens_cached", "generation_tokens"):
        lines.insert(300, f"vllm:{name}_total{labels} 1234.0")
    page = ("\n".join(lines) + "\n").encode()
    started = time.process_time()
    for _ in range(1000):
        vllm.read(page)
    print(f"a page of {len(page):,} bytes: {(time.process_time() - started) * 1000:.0f} µs CPU", flush=True)
    line = json.dumps({
        "start_time": "2026-11-24T10:05:01.560Z", "duration": 1200, "x-request-id": "7f3a", "x-tenant-id": "acme",
        "gen_ai.response.model": "m", "gen_ai.usage.input_tokens": "120", "gen_ai.usage.output_tokens": "40",
    }).encode()  # fmt: skip
    fields, started = Fields(), time.process_time()
    for _ in range(100_000):
        parse(line, fields, {})
    print(f"a line of {len(line)} bytes: {(time.process_time() - started) * 10:.1f} µs CPU", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("engines", 1000), ("models", 20), ("days", 30), ("requests", 1_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--step", choices=("write", *CUTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    hours = given.days * 24
    path = ROOT / "build" / "bench" / f"inference-{given.engines}-{given.requests}.duckdb"
    if given.step == "write":
        write(path, given.models, hours, given.requests)
        return
    if given.step:
        query = Query(by=given.step, began=START, ended=START + hours * HOUR, top=20)
        bill(Ledger(Duck(path, read_only=True)), TARIFF, query)
        return
    sources()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    # In a process of its own: a child that is measured starts with the peak memory of its parent.
    make = (
        f"from bench.inference_scale import *; generate(Path({str(path)!r}), {given.engines}, {given.models}, {hours})"
    )
    subprocess.run([sys.executable, "-c", make], check=True, cwd=ROOT)
    own = [f"--{name}={getattr(given, name)}" for name in ("engines", "models", "days", "requests")]
    print(f"{given.engines:,} engines, {given.days} days, {given.requests:,} requests", flush=True)
    for step in ("write", *CUTS):
        took = measure([sys.executable, __file__, *own, "--step", step])
        title = f"bill by {step}" if step != "write" else "requests written"
        print(f"{title}: {took.wall_s:.2f} s wall, {took.cpu_s:.2f} s CPU, {took.rss_mib:.0f} MiB", flush=True)
    print(f"the ledger has {path.stat().st_size / 1e6:,.0f} MB", flush=True)
    path.unlink()


if __name__ == "__main__":
    main()
