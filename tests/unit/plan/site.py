"""A cluster, a declaration and what is asked of it, for tests of applying."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj
from plimsoll.plan.apply import Event, Options, Stopped, apply
from plimsoll.plan.charts import Charts
from plimsoll.plan.live import Cluster
from plimsoll.plan.make import plan
from plimsoll.plan.model import Part, Wanted, marked, thing
from plimsoll.plan.result import Item, Plan
from plimsoll.spec.model import Platform
from tests.unit.plan import standing
from tests.unit.plan.standing import KUEUE


def flavor(**labels: str) -> Obj:
    return thing(KUEUE, "ResourceFlavor", "h100", spec={"nodeLabels": labels or {"pool": "h100"}})


def part(*extra: Obj) -> Part:
    return Part(
        objects=(
            thing("v1", "Namespace", "team-a"),
            thing("v1", "ServiceAccount", "runner", "team-a"),
            thing("v1", "ConfigMap", "settings", "team-a", data={"k": "v"}),
            flavor(),
            thing(KUEUE, "ClusterQueue", "team-a", spec={"cohort": "all"}),
            *extra,
        ),
    )


def wanted(given: Part, pillar: str = "queueing") -> Wanted:
    objects = tuple(marked(each, "acme", pillar) for each in given.objects)
    kept = Part(objects=objects, charts=given.charts, nodes=given.nodes)
    return Wanted(platform="acme", parts={pillar: kept})


class Site:
    """A client, a declaration and what was said while applying."""

    def __init__(self, api: standing.Cluster, client: Client, declared: Platform, folder: Path) -> None:
        self.api, self.client, self.declared = api, client, declared
        self.kubeconfig = folder / "config"
        self.told: list[Event] = []

    def plan(self, given: Part, **more: Any) -> Plan:
        with Charts() as charts:
            return plan(self.declared, wanted(given), Cluster(self.client), charts, **more)

    def apply(self, given: Part, **options: Any) -> tuple[Item, ...]:
        return self.carry(self.plan(given, creations=False), **options)

    def carry(self, given: Plan, **options: Any) -> tuple[Item, ...]:
        chosen = Options(**{"wait": False, **options})
        with Charts() as charts:
            return apply(self.client, self.declared, given, charts, self.kubeconfig, chosen, self.told.append)

    def stopped(self, given: Part, **options: Any) -> Stopped:
        with pytest.raises(Stopped) as error:
            self.apply(given, **options)
        assert not [key for key in self.api.objects if key[0] == "leases"], "the lease is given back"
        return error.value


def names(items: tuple[Item, ...]) -> list[str]:
    return [str(each.ref) for each in items]
