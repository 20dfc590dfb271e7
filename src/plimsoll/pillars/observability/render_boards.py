"""Dashboards as ConfigMaps that Grafana's sidecar takes up."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.observability.pack import grafana
from plimsoll.pillars.observability.pack.boards import boards
from plimsoll.plan.model import HOME, thing
from plimsoll.spec.model import Platform

LABEL = {"grafana_dashboard": "1"}  # what the sidecar of Grafana's chart looks for
FOLDER = {"grafana_folder": "Plimsoll"}


def board_objects(platform: Platform) -> Iterator[Obj]:
    """A ConfigMap for each dashboard."""
    for board in boards(platform):
        yield thing(
            "v1",
            "ConfigMap",
            f"dashboard-{board.uid.removeprefix('plimsoll-')}",
            HOME,
            labels=LABEL,
            annotations=FOLDER,
            data={f"{board.uid}.json": grafana.text(board)},
        )
