"""A meter that was rendered into a cluster is declared as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.kube.objects import Obj, name
from plimsoll.pillars.observability.render_meter import meter_objects
from plimsoll.spec.load import from_mapping
from plimsoll.spec.observability import Meter, MeterLedger
from plimsoll.spec.values import Quantity
from tests.unit.kube.declaring import H100, declared, node

IMAGE = "registry.acme.example/plimsoll:1.0"
SHARED = {"postgresql": {"secretName": "ledger", "key": "url"}}
NODE = node("n1", {"nvidia.com/gpu": "8"}, **H100)


def rendered(meter: dict[str, Any]) -> list[Obj]:
    platform = from_mapping(
        {
            "pools": [{"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"max": 2}}],
            "teams": [{"name": "a", "quota": {"h100": 8}}],
            "observability": {"meter": meter},
        }
    )
    assert platform.observability.meter is not None
    return list(meter_objects(platform))


@pytest.mark.parametrize(
    "meter",
    [
        {"image": IMAGE},
        {"image": IMAGE, "ledger": {"storage": "100Gi", "storageClass": "gp3"}},
        {"image": IMAGE, "ledger": SHARED},
        {"image": IMAGE, "mode": "node", "ledger": SHARED},
    ],
)
def test_what_was_declared_comes_back(meter: dict[str, Any]) -> None:
    wanted = from_mapping(
        {
            "pools": [{"name": "h100", "gpu": "L4", "gpusPerNode": 1, "nodes": {"max": 1}}],
            "teams": [{"name": "a"}],
            "observability": {"meter": meter},
        }
    ).observability.meter
    assert declared(NODE, *rendered(meter)).platform.observability.meter == wanted


def test_without_one_none_is_declared() -> None:
    assert declared(NODE).platform.observability.meter is None
    others = [each for each in rendered({"image": IMAGE}) if each["kind"] != "StatefulSet"]
    assert declared(NODE, *others).platform.observability.meter is None


def test_meters_on_nodes_need_a_database() -> None:
    """Somebody took the Secret away from the one beside them: what is left is a declaration that loads."""
    objects = rendered({"image": IMAGE, "mode": "node", "ledger": SHARED})
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["env"] = []
    found = declared(NODE, *objects)
    assert found.platform.observability.meter == Meter(image=IMAGE)
    assert any("no database that they share" in guess for guess in found.guesses)


@given(st.sampled_from(["", "a b", "20Gi\n", "-", None, 7, [], {"x": 1}, "x" * 600]), st.integers(0, 5))
def test_hostile_values_declare_something_that_loads(value: Any, at: int) -> None:
    objects = copy.deepcopy(rendered({"image": IMAGE, "ledger": {"storage": "30Gi"}}))
    (workload,) = [each for each in objects if each["kind"] == "StatefulSet"]
    container, (claim,) = (
        workload["spec"]["template"]["spec"]["containers"][0],
        workload["spec"]["volumeClaimTemplates"],
    )
    places: list[tuple[Any, str]] = [
        (container, "image"), (container, "env"), (claim["spec"], "resources"), (claim["spec"], "storageClassName"),
        (claim["spec"]["resources"]["requests"], "storage"), (workload["spec"], "volumeClaimTemplates"),
    ]  # fmt: skip
    holder, key = places[at]
    holder[key] = value
    meter = declared(NODE, *objects).platform.observability.meter  # it loads, or this fails
    assert name(workload) == "plimsoll-meter"
    if key == "image":
        assert meter is None
    else:
        assert meter is not None
        assert meter.ledger in (MeterLedger(), MeterLedger(storage=Quantity("30Gi")))
