"""What plan, apply and init share: a declaration held against a cluster or a snapshot."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.cli import options

if TYPE_CHECKING:
    from plimsoll.kube.client import Client
    from plimsoll.kube.declare import Declared
    from plimsoll.kube.snapshot import Snapshot
    from plimsoll.plan.charts import Charts
    from plimsoll.plan.result import Plan
    from plimsoll.spec.model import Platform


def planned(
    platform: Platform,
    snapshot: Path | None,
    context: str | None,
    kubeconfig: Path | None,
    charts: Path | None,
    pillars: Collection[str],
) -> Plan:
    """The plan against a snapshot, or against the cluster of a kubeconfig."""
    from plimsoll.kube.client import Client
    from plimsoll.pillars.render import render
    from plimsoll.plan.charts import Charts
    from plimsoll.plan.make import plan
    from plimsoll.plan.offline import Frozen

    with Charts(charts) as found:
        if snapshot is not None:
            if context or kubeconfig:
                raise click.UsageError("give a SNAPSHOT or a --context, not both")
            return plan(platform, render(platform, pillars), Frozen(options.read_cluster(snapshot, None, None)), found)
        with Client(kubeconfig, context) as client:
            return against(client, platform, found, pillars, creations=True)


def against(client: Client, platform: Platform, charts: Charts, pillars: Collection[str], *, creations: bool) -> Plan:
    """The plan against a live cluster."""
    from plimsoll.cli.progress import bar
    from plimsoll.pillars.render import render
    from plimsoll.plan.live import Cluster
    from plimsoll.plan.make import plan

    with bar("asking the cluster") as progress:
        wanted = render(platform, pillars)
        return plan(platform, wanted, Cluster(client), charts, creations=creations, progress=progress)


def adopted(read: Snapshot, name: str, live: bool, context: str | None, kubeconfig: Path | None) -> Declared:
    """The declaration of a cluster as it is, and what of it Plimsoll may keep without a change."""
    from plimsoll.cli.adopting import adopt, recorded
    from plimsoll.cli.progress import bar
    from plimsoll.kube.client import Client
    from plimsoll.kube.declare import Declared, declare
    from plimsoll.plan.charts import Charts
    from plimsoll.plan.live import Cluster
    from plimsoll.plan.offline import Frozen

    found, last = declare(read, name), recorded(read, name)
    with Charts() as charts, bar("comparing") as progress:
        if live:
            with Client(kubeconfig, context) as client:
                kept = adopt(found.platform, last, Cluster(client), charts, progress)
        else:
            kept = adopt(found.platform, last, Frozen(read), charts, progress)
    guesses = () if kept.recorded else found.guesses
    if kept.recorded:
        guesses = ("what Plimsoll applied last, as it is recorded in the cluster",)
    left = [f"Plimsoll does not manage {pillar} here: it would {why}" for pillar, why in kept.left.items()]
    return Declared(kept.platform, (*guesses, *left))
