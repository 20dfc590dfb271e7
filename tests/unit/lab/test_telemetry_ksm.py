"""The page of kube-state-metrics: its names and labels, and every shape of object."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, name, namespace
from plimsoll.lab.telemetry.ksm.table import KINDS, Table
from tests.unit.lab.promtext import Family, parse, shapes
from tests.unit.lab.telemetry_objects import deployment, node, pod

_POD = {"namespace", "pod", "uid"}
LABELS = {
    "kube_pod_info": _POD
    | {"host_ip", "pod_ip", "node", "created_by_kind", "created_by_name", "priority_class", "host_network"},
    "kube_pod_owner": _POD | {"owner_kind", "owner_name", "owner_is_controller"},
    "kube_pod_status_phase": _POD | {"phase"},
    "kube_pod_status_ready": _POD | {"condition"},
    "kube_pod_start_time": _POD,
    "kube_pod_container_resource_requests": _POD | {"container", "node", "resource", "unit"},
    "kube_pod_container_resource_limits": _POD | {"container", "node", "resource", "unit"},
    "kube_pod_container_status_running": _POD | {"container"},
    "kube_pod_labels": _POD | {"label_app_kubernetes_io_name"},
    "kube_node_status_capacity": {"node", "resource", "unit"},
    "kube_node_status_allocatable": {"node", "resource", "unit"},
    "kube_node_status_condition": {"node", "condition", "status"},
    "kube_node_spec_unschedulable": {"node"},
    "kube_job_status_failed": {"namespace", "job_name"},
    "kube_job_owner": {"namespace", "job_name", "owner_kind", "owner_name", "owner_is_controller"},
    "kube_job_complete": {"namespace", "job_name", "condition"},
    "kube_job_status_start_time": {"namespace", "job_name"},
    "kube_deployment_spec_replicas": {"namespace", "deployment"},
    "kube_deployment_status_replicas_available": {"namespace", "deployment"},
    "kube_replicaset_owner": {"namespace", "replicaset", "owner_kind", "owner_name", "owner_is_controller"},
}


def job(**status: object) -> Obj:
    meta = {"name": "j", "namespace": "team", "creationTimestamp": "2026-11-24T10:00:00Z"}
    return {"kind": "Job", "metadata": meta, "spec": {"parallelism": 2}, "status": status}


def table(*objs: tuple[kinds.Kind, Obj]) -> Table:
    made = Table()
    for kind, obj in objs:
        made.put(kind, (namespace(obj), name(obj)), obj)
    return made


def whole() -> Table:
    owner = {"kind": "Deployment", "name": "chat", "controller": True}
    replica_set = {"metadata": {"name": "chat-5d9", "namespace": "team", "ownerReferences": [owner]}}
    done = job(startTime="2026-11-24T10:00:00Z", conditions=[{"type": "Complete", "status": "True"}])
    return table(
        (kinds.POD, pod(labels={"app.kubernetes.io/name": "x"}, owner=("Job", "j"))),
        (kinds.NODE, node()),
        (kinds.JOB, done),
        (kinds.DEPLOYMENT, deployment()),
        (kinds.REPLICA_SET, replica_set),
    )


def series(families: dict[str, Family], family: str) -> dict[tuple[str, ...], float]:
    """Values by the label values that come after the object's own."""
    own = 3 if family.startswith("kube_pod") else 1 if family.startswith("kube_node") else 2
    return {tuple(each.labels.values())[own:]: each.value for each in families[family].samples}


def test_families_have_the_labels_of_kube_state_metrics() -> None:
    found = shapes(whole().page())
    assert {family: found[family] for family in LABELS} == {key: {frozenset(each)} for key, each in LABELS.items()}


def test_what_a_pod_asks_for_is_told_by_resource_with_its_unit() -> None:
    asking = pod(amount=0)
    asking["spec"]["containers"][0]["resources"]["requests"] = {
        "cpu": "500m", "memory": "2Gi", "nvidia.com/gpu.shared": "2", "nvidia.com/mig-1g.10gb": "1", "x": "lots",
    }  # fmt: skip
    asked = series(parse(table((kinds.POD, asking)).page()), "kube_pod_container_resource_requests")
    assert asked == {
        ("main", "n", "cpu", "core"): 0.5,
        ("main", "n", "memory", "byte"): 2147483648,
        ("main", "n", "nvidia_com_gpu_shared", "integer"): 2,
        ("main", "n", "nvidia_com_mig_1g_10gb", "integer"): 1,
    }


def test_a_phase_and_a_condition_have_a_series_for_each_value() -> None:
    families = parse(table((kinds.POD, pod()), (kinds.NODE, node())).page())
    assert series(families, "kube_pod_status_phase") == {
        ("Pending",): 0, ("Succeeded",): 0, ("Failed",): 0, ("Unknown",): 0, ("Running",): 1,
    }  # fmt: skip
    ready = series(families, "kube_node_status_condition")
    assert ready == {("Ready", "true"): 1, ("Ready", "false"): 0, ("Ready", "unknown"): 0}
    assert series(families, "kube_node_status_allocatable") == {("nvidia_com_gpu", "integer"): 8}


def test_a_failed_job_tells_why() -> None:
    def told(**status: object) -> dict[tuple[str, ...], float]:
        return series(parse(table((kinds.JOB, job(**status))).page()), "kube_job_status_failed")

    assert told() == {(): 0}
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    assert told(failed=3, conditions=failed) == {
        ("BackoffLimitExceeded",): 1, ("DeadlineExceeded",): 0, ("Evicted",): 0,
    }  # fmt: skip
    assert told(failed=2) == {("",): 2}


def test_labels_that_become_one_name_are_told_apart() -> None:
    families = parse(table((kinds.POD, pod(labels={"a.b": "1", "a-b": "2", "c": "3"}))).page())
    (sample,) = families["kube_pod_labels"].samples
    kept = {key: value for key, value in sample.labels.items() if key.startswith("label_")}
    assert kept == {"label_a_b_conflict1": "2", "label_a_b_conflict2": "1", "label_c": "3"}


def test_values_are_escaped() -> None:
    (sample,) = parse(table((kinds.POD, pod(labels={"a": 'x"\\\n'}))).page())["kube_pod_labels"].samples
    assert sample.labels["label_a"] == 'x"\\\n'


def test_a_disrupted_pod_says_by_whom() -> None:
    gone = pod()
    gone["status"]["conditions"] += [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    families = parse(table((kinds.POD, gone)).page())
    assert series(families, "kube_pod_status_disruption_reason") == {("PreemptionByScheduler",): 1}


def test_the_page_is_kept_while_nothing_changes_and_follows_what_does() -> None:
    made = whole()
    page = made.page()
    made.put(kinds.NODE, ("", "n"), node())
    assert made.page() is page and len(made) == 5
    made.put(kinds.NODE, ("", "n"), None)
    made.put(kinds.NODE, ("", "n"), None)
    assert 'node="n",resource' in page and "kube_node_info{" not in made.page()
    made.put(kinds.SERVICE, ("", "s"), node())
    assert len(made) == 4


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.data())
def test_no_shape_of_object_raises(data: st.DataObject) -> None:
    whole_ = {"metadata": {"name": "x", "labels": {"a": "b"}, "ownerReferences": [{"kind": "Job"}]},
              "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}], "taints": [{}]},
              "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "failed": 1,
                         "containerStatuses": [{"name": "c", "state": {"running": {}}}]}}  # fmt: skip
    broken = json.loads(json.dumps(whole_))
    part = broken[data.draw(st.sampled_from(sorted(broken)))]
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(hostile)
    for each in KINDS:
        parse(table((each.kind, broken)).page())
