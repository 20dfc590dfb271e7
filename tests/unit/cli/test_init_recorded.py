"""`plimsoll init` of a cluster that Plimsoll applied something to: what was declared comes back, as far as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from plimsoll.cli import init, options
from plimsoll.cli.adopting import adopt, recorded
from plimsoll.kube.declare import declare
from plimsoll.kube.objects import MANAGER, Obj, name
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars import PILLARS
from plimsoll.pillars.render import render
from plimsoll.plan import record
from plimsoll.plan.charts import Charts
from plimsoll.plan.make import plan
from plimsoll.plan.offline import Frozen
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from tests import recorded as recordings

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-first-cluster" / "platform.yaml"
WRITTEN = [{"manager": MANAGER, "operation": "Apply"}]


@pytest.fixture
def declared() -> Platform:
    return load(EXAMPLE.read_bytes(), str(EXAMPLE))


def applied(platform: Platform) -> list[Obj]:
    """What stands in a cluster after an apply: the objects, the record, and nodes with their labels."""
    wanted = render(platform)
    objects = [copy.deepcopy(each) for each in (*wanted.objects, *record.objects(platform, wanted.charts))]
    for each in objects:
        each["metadata"]["managedFields"] = WRITTEN
    labels = {key: value for rule in wanted.nodes for key, value in rule.labels.items() if value is not None}
    for pool in platform.pools:
        marks = {
            **pool.selector,
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
            "nvidia.com/gpu.count": "8",
            **labels,
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"{pool.name}-0", "labels": marks}}
        objects.append(node | {"status": {"allocatable": {"nvidia.com/gpu": "8"}}})
    return objects


def adopted(objects: list[Obj]) -> Any:
    snapshot = recordings.whole(objects)
    with Charts() as charts:
        found = declare(snapshot, "")
        return adopt(found.platform, recorded(snapshot), Frozen(snapshot), charts)


def left(snapshot: Snapshot, platform: Platform) -> list[str]:
    with Charts() as charts:
        return [str(each.ref) for each in plan(platform, render(platform), Frozen(snapshot), charts).changes]


def test_what_was_applied_comes_back_and_changes_nothing(declared: Platform) -> None:
    objects = applied(declared)
    found = adopted(objects)
    assert found.recorded
    assert found.left == {}
    assert to_yaml(found.platform) == to_yaml(replace(declared, cluster=replace(declared.cluster, manage=PILLARS)))
    assert left(recordings.whole(objects), found.platform) == []


def _without_a_queue(objects: list[Obj]) -> None:
    objects.remove(next(each for each in objects if each["kind"] == "ClusterQueue"))


def _another_quota(objects: list[Obj]) -> None:
    queue = next(each for each in objects if each["kind"] == "LocalQueue")
    queue["spec"]["clusterQueue"] = "another"


def _no_policy(objects: list[Obj]) -> None:
    objects[:] = [each for each in objects if each["kind"] != "NetworkPolicy"]


@pytest.mark.parametrize(
    ("drift", "pillar", "said"),
    [
        (_without_a_queue, "queueing", "create ClusterQueue/"),
        (_another_quota, "queueing", "replace LocalQueue/"),
        (_no_policy, "security", "create NetworkPolicy/"),
    ],
)
def test_a_pillar_that_has_drifted_is_left_out(
    declared: Platform, drift: Callable[[list[Obj]], None], pillar: str, said: str
) -> None:
    objects = applied(declared)
    drift(objects)
    found = adopted(objects)
    assert next(iter(found.left)) == pillar
    assert found.left[pillar].startswith(said)
    assert len(found.platform.cluster.manage) > len(PILLARS) / 2
    assert {*found.platform.cluster.manage, *found.left} == {*PILLARS}
    assert left(recordings.whole(objects), found.platform) == []


def test_other_values_of_a_chart_leave_its_pillar_out(declared: Platform) -> None:
    objects = applied(declared)
    kept = next(each for each in objects if name(each) == record.name(declared.metadata.name))
    charts = record.read(kept).charts
    assert len(charts) > 1
    kept["data"]["charts.json"] = kept["data"]["charts.json"].replace(charts["gpu-operator"], "v1.0.0 0123456789abcdef")
    found = adopted(objects)
    assert list(found.left) == ["operator"]


def test_without_a_record_what_would_change_is_left_out(declared: Platform) -> None:
    objects = [each for each in applied(declared) if each["kind"] == "Node"]
    found = adopted(objects)
    assert not found.recorded
    assert {"operator", "queueing", "security"} <= found.left.keys()
    assert left(recordings.whole(objects), found.platform) == []


BROKEN = ["", "{", "a: [", "apiVersion: plimsoll.dev/v1alpha1\nkind: Platform\nmetadata: {name: x}\npools: 5\n", "\x00"]


@pytest.mark.parametrize("text", BROKEN)
def test_a_record_that_is_none_is_as_good_as_no_record(declared: Platform, text: str) -> None:
    objects = applied(declared)
    kept = next(each for each in objects if name(each) == record.name(declared.metadata.name))
    kept["data"]["platform.yaml"] = text
    assert recorded(recordings.whole(objects)) is None
    assert not adopted(objects).recorded


def test_of_several_records_the_one_of_that_name(declared: Platform) -> None:
    other = replace(declared, metadata=replace(declared.metadata, name="other"))
    objects = [*applied(declared), *record.objects(other, ())]
    snapshot = recordings.whole(objects)
    assert recorded(snapshot) is None
    found = recorded(snapshot, "other")
    assert found is not None
    assert found.metadata.name == "other"
    assert recorded(snapshot, "third") is None


def test_a_config_map_that_only_looks_like_it_is_none(declared: Platform) -> None:
    objects = applied(declared)
    kept = next(each for each in objects if name(each) == record.name(declared.metadata.name))
    kept["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    assert recorded(recordings.whole(objects)) is None


def test_the_command_says_that_it_gives_back_what_was_applied(
    declared: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = recordings.whole(applied(declared))
    monkeypatch.setattr(options, "read_cluster", lambda *_: snapshot)
    done = CliRunner().invoke(init.command, ["x", "-o", "-"])
    assert done.exit_code == 0, done.exception
    assert "guess: what Plimsoll applied last, as it is recorded in the cluster" in done.stdout
    assert load(done.stdout, "-").metadata.name == declared.metadata.name


# The record itself


def test_what_is_recorded_is_read_back(declared: Platform) -> None:
    wanted = render(declared)
    [kept] = record.objects(declared, wanted.charts)
    found = record.read(kept)
    assert load(found.declaration, "record") == declared
    assert found.charts == {each.name: record.summary(each) for each in wanted.charts}


def test_a_summary_tells_values_apart_and_not_their_order(declared: Platform) -> None:
    chart = render(declared).charts[0]
    turned = replace(chart, values=dict(reversed(chart.values.items())))
    assert record.summary(turned) == record.summary(chart)
    assert record.summary(replace(chart, values=chart.values | {"x": 1})) != record.summary(chart)
    assert record.summary(replace(chart, version="9.9.9")) != record.summary(chart)


def test_a_declaration_too_long_for_a_config_map_is_not_kept(
    declared: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "to_yaml", lambda _platform: "ü" * 450_001)
    [kept] = record.objects(declared, ())
    assert "platform.yaml" not in kept["data"]
    assert record.read(kept).declaration == ""


@pytest.mark.parametrize(
    "data", [None, [], {}, {"charts.json": "["}, {"charts.json": '{"a": 1}'}, {"platform.yaml": 7}]
)
def test_odd_records_are_empty(data: Any) -> None:
    found = record.read({"data": data})
    assert (found.declaration, found.charts) == ("", {})
