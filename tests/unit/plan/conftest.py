"""A cluster that can be written to, and time that passes at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.kube.client import Client
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from tests.unit.plan.site import Site
from tests.unit.plan.standing import Clock, Cluster, cluster, connected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("plimsoll.kube.transport.sleep", made.slept.append)
    for module in ("patience", "lease", "drain", "ready", "rollout"):
        monkeypatch.setattr(f"plimsoll.plan.{module}.sleep", made.sleep)
        monkeypatch.setattr(f"plimsoll.plan.{module}.monotonic", made.monotonic)
    return made


@pytest.fixture
def api() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


@pytest.fixture
def client(api: Cluster, tmp_path: Path, clock: Clock) -> Iterator[Client]:
    with connected(tmp_path, api) as found:
        yield found


@pytest.fixture
def declared() -> Platform:
    pool = {"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"min": 1, "max": 1}}
    return from_mapping({"metadata": {"name": "acme"}, "pools": [pool], "teams": [{"name": "a"}]})


@pytest.fixture
def site(api: Cluster, client: Client, declared: Platform, tmp_path: Path) -> Site:
    return Site(api, client, declared, tmp_path)
