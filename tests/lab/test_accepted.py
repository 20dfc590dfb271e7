"""Whatever valid declaration is rendered, the real API server takes every object of it, with strict validation."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings

from plimsoll.errors import PlimsollError
from plimsoll.kube.objects import Obj, Ref, namespace
from plimsoll.pillars.render import render
from plimsoll.plan.model import HOME, MANAGER
from plimsoll.spec.model import Platform
from tests.lab.conftest import Lab
from tests.platforms import SPACES, platforms


@pytest.fixture(scope="module")
def spaces(lab: Lab) -> Iterator[None]:
    """The namespaces that rendered objects may be in: a dry run creates none."""
    missing = [each for each in (*SPACES, HOME) if lab.client.get("v1/Namespace", each) is None]
    for each in missing:
        lab.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}})
    yield
    for each in missing:
        lab.client.delete("v1/Namespace", each)


@given(declared=platforms())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_real_server_takes_all_that_is_rendered(lab: Lab, spaces: None, declared: Platform) -> None:
    def refused(obj: Obj) -> str:
        try:
            lab.client.apply(obj, manager=MANAGER, dry_run=True, strict=True)
        except PlimsollError as error:
            return f"{Ref.of(obj)} in {namespace(obj) or 'the cluster'}: {error}"
        return ""

    with ThreadPoolExecutor(8) as pool:
        assert list(filter(None, pool.map(refused, render(declared).objects))) == []
