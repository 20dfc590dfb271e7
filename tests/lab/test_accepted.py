"""Whatever valid declaration is rendered, the real API server takes every object of it, with strict validation."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from plimsoll.errors import PlimsollError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import MANAGER, Obj, Ref, namespace
from plimsoll.lab.run import launch
from plimsoll.lab.run.fleet import DEFAULT_PLATFORM
from plimsoll.lab.run.settings import Settings
from plimsoll.pillars.render import render
from plimsoll.plan.model import HOME
from plimsoll.spec.model import Platform
from tests.platforms import SPACES, platforms


@pytest.fixture(scope="module")
def server(labs: Path) -> Iterator[Client]:
    """A lab with every kind there is, and the namespaces that objects may be in: a dry run creates none."""
    launch.up(Settings(name="accepting", addons=("kueue", "keda", "crds"), platform=DEFAULT_PLATFORM))
    folder = launch.folder_of("accepting")
    with Client(folder.kubeconfig) as client:
        for space in (*SPACES, HOME, "plimsoll-nodes", "gpu-operator"):
            client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        yield client
    launch.down(folder)


@given(declared=platforms())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_real_server_takes_all_that_is_rendered(server: Client, declared: Platform) -> None:
    def refused(obj: Obj) -> str:
        try:
            server.apply(obj, manager=MANAGER, dry_run=True, strict=True)
        except PlimsollError as error:
            return f"{Ref.of(obj)} in {namespace(obj) or 'the cluster'}: {error}"
        return ""

    with ThreadPoolExecutor(8) as pool:
        assert list(filter(None, pool.map(refused, render(declared).objects))) == []
