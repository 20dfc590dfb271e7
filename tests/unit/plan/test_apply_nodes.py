"""Nodes and charts in an apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import ClusterError, PlimsollError
from plimsoll.kube import helm
from plimsoll.kube.objects import Obj, Ref
from plimsoll.plan import record
from plimsoll.plan.apply import _named_by_nodes
from plimsoll.plan.fields import Field
from plimsoll.plan.model import HOME, Chart, NodeRule, Part
from plimsoll.plan.result import Action, Item
from tests.unit.plan import standing
from tests.unit.plan.site import Site, flavor, names, part

MIG = "nvidia.com/mig.config"


def rule() -> NodeRule:
    return NodeRule(pool="h100", selector={"pool": "h100"}, labels={MIG: "all-1g.10gb"}, disruptive=(MIG,))


def stand(api: standing.Cluster, **annotations: str) -> None:
    closed = bool(annotations)
    marks = {"pool": "h100"} | ({MIG: "all-1g.10gb", f"{MIG}.state": "success"} if closed else {})
    meta = {
        "name": "n0",
        "labels": marks,
        "annotations": {k.replace("__", "/").replace("_", "."): v for k, v in annotations.items()},
    }
    api.keep("nodes", {"metadata": meta, "spec": {"unschedulable": closed}})


def test_a_node_is_labelled_and_a_second_run_changes_nothing(site: Site) -> None:
    stand(site.api)
    assert names(site.apply(Part(nodes=(rule(),)))) == ["Node/n0"]
    assert site.api.objects["nodes", "", "n0"]["metadata"]["labels"] == {"pool": "h100", MIG: "all-1g.10gb"}
    assert site.apply(Part(nodes=(rule(),))) == ()


def test_a_node_left_closed_is_opened_by_a_run_that_changes_nothing(site: Site) -> None:
    stand(site.api, plimsoll_dev__cordoned="true")
    assert site.apply(Part(nodes=(rule(),))) == ()
    node = site.api.objects["nodes", "", "n0"]
    assert "unschedulable" not in node["spec"]
    assert node["metadata"]["annotations"] == {}


def test_pods_on_a_node_to_cut_stop_everything_beforehand(site: Site) -> None:
    stand(site.api)
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    site.api.keep("pods", {"metadata": {"name": "train", "namespace": "a"}, "status": {"phase": "Running"},
                           "spec": {"nodeName": "n0", "containers": [container]}})  # fmt: skip
    given = part()
    with pytest.raises(ClusterError, match="Pod/a/train hold them"):
        site.apply(Part(objects=given.objects, nodes=(rule(),)))
    assert site.api.written() == []


def chart(version: str = "0.18.4", **values: Any) -> Chart:
    return Chart(name="kueue", namespace="kueue-system", chart="kueue", repository="https://x.example.com",
                 version=version, values=values)  # fmt: skip


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Obj]:
    """What Helm was asked for."""
    asked: list[Obj] = []
    folder = tmp_path / "charts" / "kueue-0.18.4"
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text("name: kueue\nversion: 0.18.4\n")
    (folder / "values.yaml").write_text("a: 1\n")
    monkeypatch.setenv("PLIMSOLL_CHARTS", str(folder.parent))
    monkeypatch.setattr(helm, "upgrade", lambda place, **more: asked.append({"place": place, **more}))
    return asked


def test_a_release_that_a_killed_helm_left_is_taken_up(site: Site, installed: list[Obj]) -> None:
    for revision, status in ((1, "deployed"), (2, "pending-upgrade")):
        marks = {"owner": "helm", "name": "kueue", "status": status, "version": str(revision)}
        site.api.keep("secrets", {"metadata": {"name": f"v{revision}", "namespace": "kueue-system", "labels": marks}})
    site.apply(Part(charts=(chart(a=2),)))
    assert [each["values"] for each in installed] == [{"a": 2}]
    assert site.api.stands("secrets", "v1", "kueue-system") is not None
    assert site.api.stands("secrets", "v2", "kueue-system") is None


def test_what_helm_says_stops_it(site: Site, installed: list[Obj], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PlimsollError("execution error at (kueue/templates/x.yaml)", where="kueue")

    monkeypatch.setattr(helm, "upgrade", fails)
    error = site.stopped(Part(objects=part().objects, charts=(chart(a=2),)))
    assert "execution error" in error.what
    assert names(error.left) == ["Release/kueue-system/kueue", "ResourceFlavor/h100", "ClusterQueue/team-a"]
    assert installed == []


def test_values_that_do_not_arrive_stop_it_beforehand(site: Site, installed: list[Obj]) -> None:
    with pytest.raises(ClusterError, match=r"values\.b: the chart has no such value"):
        site.apply(Part(charts=(chart(b=2),)))
    assert (installed, site.api.written()) == ([], [])


def test_charts_of_other_pillars_stay_on_record(site: Site, installed: list[Obj]) -> None:
    site.apply(Part(charts=(chart(a=2),)))
    site.apply(Part(objects=(flavor(),)))
    kept = site.api.stands("configmaps", record.name("acme"), HOME)
    assert kept is not None
    assert record.read(kept).charts == {"kueue": record.summary(chart(a=2))}
    assert len(installed) == 1


def test_configurations_go_only_when_no_node_is_still_to_be_told_of_others() -> None:
    ref = Ref("v1", "ConfigMap", "gpu-operator", "plimsoll-device-plugin")
    gone, come = Field("data.l4-old", "version: v1", None), Field("data.l4-new", None, "version: v1")
    change: dict[str, Any] = {"ref": ref, "action": Action.CHANGE, "pillar": "partition"}
    assert _named_by_nodes(Item(fields=(come, gone), **change))
    assert not _named_by_nodes(Item(fields=(come,), **change))
    assert not _named_by_nodes(Item(fields=(come, gone), **change | {"pillar": "observability"}))
