"""The meter against a cluster that is known to the second, killed at any moment: the bill is the true one."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from random import Random

import msgspec
import pytest

from plimsoll.agents.meter.cluster import Cluster
from plimsoll.agents.meter.dcgm import Pages
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.seats import Want
from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.opened import billed, opened
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import Quote, Watch
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, text
from tests.unit.agents.world import SECOND, Machine, World
from tests.unit.cost.truth import PRICES

ROUND = 15 * SECOND
KIND = {"Node": kinds.NODE, "Pod": kinds.POD}


class Metered:
    """A meter without its threads, which may be killed between any two seconds."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.world, self.ledger = world, ledger
        self.pages = Pages()
        self.cursor = 0
        self.begin(world.began)

    def begin(self, now: int) -> None:
        """As a process that has just started: it knows what the ledger knows, lists, and is told what was since."""
        self.began = now
        self.cluster = Cluster(None, lambda *_: "", Fold(ROUND), started=now, patience_ms=90 * SECOND)
        stood = self.ledger.cursors("m")
        wanting = msgspec.json.decode(stood.get("wanting", "{}"), type=dict[str, list[Want]])
        self.cluster.restore(opened(self.ledger.store), wanting)
        since = int(stood.get("version", "0"))
        listed: dict[tuple[str, str], Obj] = {}
        self.cursor = 0
        for at, kind, change, obj in self.world.changes:
            if at > now:
                break
            self.cursor += 1
            key = kind, text(obj, "metadata", "name")
            listed.pop(key, None)
            if change != "DELETED":
                listed[key] = obj
        for (kind, _), obj in listed.items():
            self._take(kind, "ADDED", obj, now)
        for kind, of in KIND.items():
            uids = {text(obj, "metadata", "uid") for (each, _), obj in listed.items() if each == kind}
            self.cluster.synced(of, uids, now)
        for _, kind, change, obj in self.world.changes[since : self.cursor] if stood else ():
            self._take(kind, change, obj, now)

    def _take(self, kind: str, change: str, obj: Obj, now: int) -> None:
        if kind == "Pod" and self.cluster.unknown(obj, gone=change == "DELETED"):
            self.cluster.billed |= billed(self.ledger.store, [text(obj, "metadata", "uid")])
        self.cluster.take(KIND[kind], change, obj, now)

    def second(self, now: int) -> None:
        while self.cursor < len(self.world.changes) and self.world.changes[self.cursor][0] <= now:
            _, kind, change, obj = self.world.changes[self.cursor]
            self.cursor += 1
            self._take(kind, change, obj, now)

    def round(self, now: int) -> None:
        for each in self.world.machines:
            self.cluster.read(each.name, self.pages.read(each.name, self.world.page(each, now)), now)
        self.cluster.fold.settle(now - SECOND)
        self.cluster.records += self.cluster.fold.usage()

    def write(self, now: int) -> None:
        self.cluster.tick(now)
        wanting = msgspec.json.encode(self.cluster.wanting).decode()
        self.ledger.write([*self.cluster.drain(), Watch(meter="m", began=self.began, ended=now)], "m",
                          {"version": str(self.cursor), "wanting": wanting})  # fmt: skip


def metered(world: World, ledger: Ledger, kills: Iterator[int]) -> None:
    meter, kill = Metered(world, ledger), next(kills)
    for phase, now in enumerate(range(world.began, world.ended + SECOND, SECOND)):
        meter.second(now)
        if phase % 15 == 3:
            meter.round(now)
        if phase % 10 == 4:
            meter.write(now)
        if now >= kill:
            kill = next(kills)
            meter.begin(now)
    meter.write(world.ended)


def never() -> Iterator[int]:
    while True:
        yield 1 << 62


def often(random: Random, world: World) -> Iterator[int]:
    at = world.began
    while True:
        at += random.randrange(1, 120) * SECOND
        yield at


def billed_by_pod(ledger: Ledger, world: World) -> tuple[Bill, dict[str, int]]:
    found = bill(ledger, Tariff({}), Query(by="job", began=world.began, ended=world.ended, split="requested"))
    return found, {line.id: line.cost for line in found.lines}


def priced(ledger: Ledger, machines: list[Machine]) -> None:
    ledger.write([Quote(scope=each.uid, moment=0, per_hour=PRICES["gold"], source="test") for each in machines])


def expected(world: World) -> dict[str, Fraction]:
    exact = world.truth().exact(world.began, world.ended, weighted=True)
    found: dict[str, Fraction] = {}
    for job in world.jobs:
        key = f"uid-{job.job}" if job.job else job.uid
        found[key] = found.get(key, Fraction()) + exact[job.uid]
    return found


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_job_is_billed_what_it_held(ledger: Ledger, seed: int, killed: bool) -> None:
    random = Random(seed)
    world = World(random)
    priced(ledger, world.machines)
    metered(world, ledger, often(random, world) if killed else never())
    whole, found = billed_by_pod(ledger, world)
    wanted = expected(world)
    off = {key: (found.get(key, 0), float(cost)) for key, cost in wanted.items() if abs(found.get(key, 0) - cost) > 1}
    assert not off
    assert set(found) - set(wanted) <= {""}
    assert whole.total == sum(line.cost for line in whole.lines)
