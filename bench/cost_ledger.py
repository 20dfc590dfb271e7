"""A ledger as meters would have left it: lives made in SQL, usage merged day by day as it comes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.duck import Duck
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import HOUR, WHOLE, Gpu, Instance, Node, Record, Watch, key
from plimsoll.cost.store import Store

START, MINUTE, DAY = 1_764_547_200_000, 60_000, 24 * HOUR
PER_NODE = 8
SKU = "H100-SXM5-80GB"
TARIFF = Tariff({"h100": (55_040_000, "bench")})
SLICES, SHARERS, SLICE = 7, 4, 8  # 1g.10gb, of WHOLE


class Shape(NamedTuple):
    """jobs: of one pod. span, step: milliseconds, of all of it and of what a meter writes at once.

    mixed: of the GPUs one in ten is cut into seven instances, and one in ten is shared by four pods.
    """

    gpus: int
    jobs: int
    span: int
    step: int = MINUTE
    mixed: bool = False

    @property
    def end(self) -> int:
        return START + self.span


class Made(NamedTuple):
    """How it went: rows of usage that meters wrote, seconds that merging them took, rows that are left."""

    wrote: int
    seal_s: float
    kept: int


class Lane(NamedTuple):
    """A place for one pod at a time: a GPU, an instance, or a share of a GPU."""

    number: int
    node: int
    gpu: int
    instance: int
    device: int
    parts: int


@contextmanager
def place(keep: Path | None, name: str) -> Iterator[Path]:
    """Where a bench's ledger lies: in a folder that stays, or in one that is gone afterwards."""
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep / name
        return
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as folder:
        yield Path(folder) / name


def ask(path: Path, query: Query) -> tuple[float, Bill]:
    """Open a ledger and answer a query, and how many seconds that took."""
    began = time.perf_counter()
    store = Duck(path, read_only=True)
    answer = bill(Ledger(store), TARIFF, query)
    store.close()
    return time.perf_counter() - began, answer


def forget(path: Path) -> None:
    """Take a file out of the page cache, as far as the system lets us."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make(path: Path, shape: Shape) -> Made:
    """Write the ledger. Jobs of a lane follow one another with gaps of 15 in 100."""
    ledger = Ledger(Duck(path))
    lanes = _machines(ledger, shape)
    store = ledger.store
    names = ", ".join(f"UNNEST(CAST(? AS BIGINT[])) AS {name}" for name in Lane._fields)
    store.run(f"CREATE TEMP TABLE lane AS SELECT {names}", [list(column) for column in zip(*lanes, strict=True)])
    _lives(store, max(shape.jobs // len(lanes), 1), shape.span)
    wrote, took = 0, 0.0
    for day in range(START, shape.end, DAY):
        _usage(store, day, min(day + DAY, shape.end), shape.step)
        wrote += int(store.rows("SELECT COUNT(*) FROM usage_inbox")[0][0])
        began = time.perf_counter()
        ledger.seal(day + DAY)
        took += time.perf_counter() - began
    store.run("CHECKPOINT")
    kept = int(store.rows("SELECT COUNT(*) FROM usage")[0][0])
    store.close()
    return Made(wrote, took, kept)


def _machines(ledger: Ledger, shape: Shape) -> list[Lane]:
    """Nodes, GPUs and instances, written as a meter writes them; the lanes they have."""
    records: list[Record] = [Watch(meter="bench", began=START, ended=shape.end)]
    lanes: list[Lane] = []
    for number in range(shape.gpus):
        node, gpu = f"node-{number // PER_NODE}", f"GPU-{number}"
        if number % PER_NODE == 0:
            records.append(Node(uid=node, name=node, pool="h100", sku=SKU, gpus=PER_NODE, began=START))
        records.append(Gpu(node=node, gpu=gpu, began=START))
        kind = number % 10 if shape.mixed else 9
        slices = [str(place) for place in range(1, SLICES + 1)] if kind == 0 else [""]
        records += [
            Instance(node=node, gpu=gpu, instance=each, profile="1g.10gb", parts=SLICE, began=START)
            for each in slices if each
        ]  # fmt: skip
        for each in slices * (SHARERS if kind == 1 else 1):
            device = key(node, gpu, each) if each else key(node, gpu)
            lanes.append(Lane(len(lanes), key(node), key(gpu), key(each), device, SLICE if each else WHOLE))
    ledger.write(records)
    return lanes


def _lives(store: Store, jobs: int, span: int) -> None:
    """Pods with their jobs, holds and marks, in the order of time. Numbers are spread as hashes of names are."""
    period = span // jobs
    number = "CAST(hash('{0}', number, j) >> 1 AS BIGINT)"
    store.run(f"""CREATE TEMP TABLE job AS SELECT *, {number.format("pod")} AS pod, {number.format("job")} AS job_id,
            number % 40 AS team, began + {period * 17 // 20} AS ended
        FROM (SELECT *, {START} + j * {period} + number * 7001 % {max(period * 3 // 20, 1)} AS began
              FROM lane, range({jobs}) t(j)) b ORDER BY began""")
    named = "'ns-' || team || '/train-' || number || '-' || j"
    store.run(f"""INSERT INTO pods SELECT pod, 'a1b2c3d4-0000-4000-8000-' || number || '-' || j, 'ns-' || team,
            'train-' || number || '-' || j || '-x7k2p', node, 'team-' || team, {named}, 'uid-' || number || '-' || j,
            job_id, {named}, {number.format("owner")},
            CASE WHEN number % 50 = 0 THEN 'llama-' || number % 7 ELSE '' END, '', '{{}}', began, began FROM job""")
    store.run(f"""INSERT INTO holds SELECT {number.format("hold")}, pod, device, node, gpu, instance, parts, 1, began
        FROM job""")
    store.run("INSERT INTO marks SELECT pod, 'pod', 'running', began + 20000, 1, '' FROM job")
    store.run("INSERT INTO marks SELECT pod, 'pod', 'ended', ended, 1, '' FROM job")


def _usage(store: Store, began: int, ended: int, step: int) -> None:
    """The usage of a day: a row for each pod and step, and for each step in which a lane was free."""
    share = "CAST(hash({0}, pod, t) % 1000 AS BIGINT) * (upto - since) // 1000"
    store.run(f"""INSERT INTO usage_inbox SELECT gpu, instance, pod, since, upto, upto - since,
            CASE WHEN lazy = 0 THEN upto - since ELSE 0 END, CASE WHEN lazy = 1 THEN upto - since ELSE 0 END,
            {share.format(1)}, {share.format(2)}, {share.format(3)}, {share.format(4)},
            CAST(hash(5, pod, t) % 700 AS BIGINT) * (upto - since), CAST(hash(6, t) % 80000 AS BIGINT) * (upto - since)
        FROM (SELECT gpu, instance, pod, t, GREATEST(began, t) AS since, LEAST(ended, t + {step}) AS upto,
                  hash(pod, t) % 8 AS lazy
              FROM (SELECT gpu, instance, pod, began, ended,
                        UNNEST(range(GREATEST(began - began % {step}, {began}), LEAST(ended, {ended}), {step})) AS t
                    FROM job WHERE began < {ended} AND ended > {began}) m) u""")
    store.run(f"""INSERT INTO usage_inbox SELECT gpu, instance, 0, t, t + {step}, {step}, {step}, 0, 0, 0, 0, 0, 0, 0
        FROM (SELECT gpu, instance, UNNEST(range(ended - ended % {step} + {step}, later, {step})) AS t FROM (
            SELECT gpu, instance, ended, LEAD(began) OVER (PARTITION BY number ORDER BY began) AS later FROM job
            WHERE ended >= {began} AND ended < {ended}) g WHERE later > ended)
        f WHERE t + {step} <= {ended}""")
