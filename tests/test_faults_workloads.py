"""Faults of queued jobs, model servers and the parts that scale them, put into the healthy recording.

Each gives one root cause per node, queue or service and nothing else new, as in tests/test_faults.py;
what is under way or deliberate gives none.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plimsoll.check.run import review
from plimsoll.kube.objects import Obj
from plimsoll.pillars import all_checks
from tests.faults import AGO, Cluster, healthy
from tests.recorded import whole
from tests.test_faults import Fault, Roots, _before, _failed

FAULTS: list[tuple[Fault, Roots]] = []
JUST_NOW = "2026-11-24T11:02:45Z"  # 15 seconds before the recording


def gives(*roots: str) -> Callable[[Fault], Fault]:
    """The root causes a fault must give, as `ID Kind/name`."""

    def note(fault: Fault) -> Fault:
        FAULTS.append((fault, {(root.partition(" ")[0], root.partition(" ")[2]) for root in roots}))
        return fault

    return note


@gives("V52 Deployment/serving/chat", "GPU058 Node/h100-0")
def an_image_that_cannot_be_pulled_beside_a_failing_gpu(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.image(pod, "vllm", 'Back-off pulling image "registry.example.com/vllm:1"')
    c.unavailable("chat", "serving")
    c.offer("h100-0", allocatable="7")


@gives("V52 Deployment/serving/chat", "GPU058 Node/h100-0")
def a_server_out_of_memory_beside_a_failing_gpu(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.crash(pod, "vllm", "torch.OutOfMemoryError: CUDA out of memory")
    c.unavailable("chat", "serving")
    c.offer("h100-0", allocatable="7")


@gives("GPU058 Node/h100-0")
def a_server_that_finds_no_device(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.crash(pod, "vllm", "RuntimeError: No CUDA GPUs are available")
    c.unavailable("chat", "serving")
    c.offer("h100-0", allocatable="7")


@gives("Q40 Workload/team-a/job-train-1-4f8a5", "GPU058 Node/h100-1")
def a_job_that_crashes_beside_a_failing_gpu(c: Cluster) -> None:
    (pod,) = c.pods_like("train-1", "team-a")
    pod["metadata"]["creationTimestamp"] = AGO
    c.crash(pod, pod["spec"]["containers"][0]["name"], "ModuleNotFoundError: No module named 'flash_attn'")
    workload = c.find("Workload", "job-train-1-4f8a5", "team-a")
    c.conditions(workload, PodsReady=("False", "WaitForStart", ""), Admitted=("True", "Admitted", ""))
    c.offer("h100-1", allocatable="7")


def _unschedulable(c: Cluster, pod: Obj, since: str, message: str) -> None:
    pod["spec"].pop("nodeName")
    pod["status"] = {"phase": "Pending"}
    pod["metadata"]["creationTimestamp"] = since
    c.conditions(pod, PodScheduled=("False", "Unschedulable", message))
    pod["status"]["conditions"][0]["lastTransitionTime"] = since


def _rank_1_waits(c: Cluster, since: str) -> Obj:
    """rank-1 is admitted and its pod finds no node; gives a copy of the pod as it ran on h100-3."""
    (pod,) = c.pods_like("rank-1", "team-b")
    before = c.copy(pod, "before")
    _unschedulable(c, pod, since, "0/9 nodes are available: 4 Insufficient nvidia.com/gpu.")
    c.conditions(c.find("Workload", "job-rank-1-09885", "team-b"), PodsReady=("False", "WaitForStart", ""))
    return before


@gives()
def a_preemption_under_way(c: Cluster) -> None:
    victim = _rank_1_waits(c, JUST_NOW)
    victim["metadata"] |= {"deletionTimestamp": "2026-11-24T11:03:20Z", "namespace": "default", "labels": {
        "kueue.x-k8s.io/managed": "true", "kueue.x-k8s.io/queue-name": "gpu"}}  # fmt: skip
    victim["metadata"].pop("ownerReferences")


@gives()
def a_preemption_under_way_of_two_halves(c: Cluster) -> None:
    """One of two victims has begun to end: what still stands is nobody's fault yet."""
    first = _rank_1_waits(c, JUST_NOW)
    for side in ("limits", "requests"):
        first["spec"]["containers"][0]["resources"][side]["nvidia.com/gpu"] = "4"
    first["metadata"] |= {"namespace": "default", "labels": {"kueue.x-k8s.io/managed": "true"}}
    first["metadata"].pop("ownerReferences")
    c.copy(first, "second", deletionTimestamp="2026-11-24T11:03:20Z")


@gives("Q01 StatefulSet/default/nb")
def an_old_notebook_grows_outside_the_queues(c: Cluster) -> None:
    """Its StatefulSet is older than the service chat, its pod is not."""
    pod = _rank_1_waits(c, "2026-11-24T11:01:30Z")
    own = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "nb", "uid": "nb", "controller": True}
    pod["metadata"] |= {"name": "nb-0", "namespace": "default", "labels": {"app": "nb"}, "ownerReferences": [own],
                        "annotations": {}, "creationTimestamp": "2026-11-24T11:01:00Z"}  # fmt: skip
    c.items.append({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "nb", "namespace": "default", "uid": "nb", "creationTimestamp": "2026-11-24T09:00:00Z"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "nb"}},
                 "template": {"metadata": {"labels": {"app": "nb"}}, "spec": pod["spec"]}},
        "status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1},
    })  # fmt: skip


def _train_1_has_no_pod(c: Cluster) -> Obj:
    c.remove(lambda o: o["kind"] == "Pod" and o["metadata"]["name"].startswith("train-1"))
    job = c.find("Job", "train-1", "team-a")
    job["status"] = {"active": 0}
    workload = c.find("Workload", "job-train-1-4f8a5", "team-a")
    c.conditions(workload, PodsReady=("False", "WaitForStart", ""), Admitted=("True", "Admitted", ""))
    return job


@gives("Q40 Workload/team-a/job-train-1-4f8a5")
def a_resource_quota_refuses_the_pods_of_an_admitted_job(c: Cluster) -> None:
    message = 'Error creating: pods "train-1-x" is forbidden: exceeded quota: gpu, requested: requests.nvidia.com/gpu=8'
    c.event(_train_1_has_no_pod(c), "FailedCreate", message)


@gives("Q40 Workload/team-a/job-train-1-4f8a5")
def an_admitted_job_without_a_pod_and_without_an_event(c: Cluster) -> None:
    _train_1_has_no_pod(c)


@gives()
def an_admitted_job_that_runs_in_another_cluster(c: Cluster) -> None:
    _train_1_has_no_pod(c)["spec"]["managedBy"] = "kueue.x-k8s.io/multikueue"


def _starts_again(c: Cluster, prefix: str) -> None:
    (pod,) = c.pods_like(prefix, "keda")
    c.unavailable(prefix, "keda")
    pod["metadata"]["creationTimestamp"] = JUST_NOW
    c.ready(pod, "False")
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"waiting": {"reason": "ContainerCreating"}}}


@gives()
def parts_of_keda_start_again(c: Cluster) -> None:
    for each in ("keda-operator", "keda-metrics-apiserver", "keda-admission"):
        _starts_again(c, each)
    c.without_endpoints("keda-metrics-apiserver", "keda")
    message = "endpoints for service/keda-metrics-apiserver in keda have no addresses"
    c.conditions(
        c.find("APIService", "v1beta1.external.metrics.k8s.io"), Available=("False", "MissingEndpoints", message)
    )


def _metrics_api_is_away(c: Cluster, group: str, metric: Obj) -> None:
    """Two plain HPAs read `metric` from an API without endpoints."""
    service = c.copy(c.find("APIService", "v1beta1.external.metrics.k8s.io"), f"v1beta1.{group}")
    service["spec"] |= {"group": group, "service": {"name": "adapter", "namespace": "monitoring"}}
    message = 'endpoints for service/adapter in "monitoring" have no addresses'
    c.conditions(service, Available=("False", "MissingEndpoints", message))
    for target in ("dev-l4", "other"):
        hpa = c.copy(c.find("HorizontalPodAutoscaler", "keda-hpa-chat", "serving"), target, namespace="team-b")
        hpa["metadata"].pop("ownerReferences")
        hpa["metadata"]["creationTimestamp"] = AGO
        hpa["spec"] |= {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "metrics": [metric],
        }
        c.conditions(hpa, ScalingActive=("False", "FailedGetResourceMetric", "the server is currently unable"))


@gives("V00 APIService/v1beta1.metrics.k8s.io")
def metrics_server_is_away(c: Cluster) -> None:
    _metrics_api_is_away(c, "metrics.k8s.io", {"type": "Resource", "resource": {"name": "cpu"}})


@gives("V00 APIService/v1beta1.custom.metrics.k8s.io")
def the_metrics_adapter_is_away(c: Cluster) -> None:
    _metrics_api_is_away(c, "custom.metrics.k8s.io", {"type": "Pods", "pods": {"metric": {"name": "queue"}}})


def _a_node_is_lost(c: Cluster, node: str) -> None:
    lost = c.node(node)
    c.conditions(lost, Ready=("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."))
    lost["spec"].setdefault("taints", []).extend(
        {"key": "node.kubernetes.io/unreachable", "effect": effect} for effect in ("NoSchedule", "NoExecute")
    )
    for pod in [o for o in c.items if o["kind"] == "Pod" and o["spec"].get("nodeName") == node]:
        c.ready(pod, "False")


@gives("GPU111 Node/cpu-0")
def the_node_that_carries_the_controllers_is_lost(c: Cluster) -> None:
    _a_node_is_lost(c, "cpu-0")
    for part in [o for o in c.items if o["kind"] == "Deployment"]:
        if part["metadata"]["namespace"] in ("gpu-operator", "keda", "kueue-system"):
            c.unavailable(part["metadata"]["name"], part["metadata"]["namespace"])
    c.without_endpoints("kueue-webhook-service", "kueue-system")
    c.without_endpoints("keda-metrics-apiserver", "keda")
    c.conditions(c.find("APIService", "v1beta1.external.metrics.k8s.io"), Available=("False", "MissingEndpoints", ""))
    hpa = c.find("HorizontalPodAutoscaler", "keda-hpa-chat", "serving")
    c.conditions(hpa, ScalingActive=("False", "FailedGetExternalMetric", "unable to get external metric"))


@gives()
def an_exporter_starts_again(c: Cluster) -> None:
    pod = c.pod("exporter", "h100-1")
    pod["metadata"]["creationTimestamp"] = JUST_NOW
    c.ready(pod, "False")
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"running": {"startedAt": JUST_NOW}}}
    c.count("exporter")
    for entry in c.find("ClusterPolicy", "cluster-policy")["status"]["conditions"]:
        entry["lastTransitionTime"] = JUST_NOW


@gives()
def a_node_pool_of_gke_is_at_zero(c: Cluster) -> None:
    for node in [o for o in c.items if o["kind"] == "Node"]:
        node["metadata"]["labels"]["cloud.google.com/gke-nodepool"] = "fixed"
    flavor = c.copy(c.find("ResourceFlavor", "h100"), "l4-spot")
    flavor["spec"] = {"nodeLabels": {"cloud.google.com/gke-nodepool": "l4-spot"}}
    queue = c.copy(c.find("ClusterQueue", "team-b"), "spot")
    queue["spec"]["resourceGroups"][0]["flavors"][0]["name"] = "l4-spot"


@gives("V58 Deployment/serving/chat")
def a_rollout_is_stuck(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.crash(c.copy(pod, "chat-new-1", creationTimestamp=AGO), "vllm", "unrecognized arguments: --max-len")
    message = 'ReplicaSet "chat-new" has timed out progressing.'
    deployment = c.find("Deployment", "chat", "serving")
    c.conditions(deployment, Progressing=("False", "ProgressDeadlineExceeded", message))


# further faults stand above this line


@pytest.mark.parametrize(("fault", "roots"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_fault_is_the_root_cause_and_nothing_else_is_new(fault: Fault, roots: Roots) -> None:
    cluster = healthy()
    fault(cluster)
    answer = review(whole(cluster.items), all_checks())
    assert not answer.broken
    new = {key: each for key, each in _failed(answer).items() if key not in _before()}
    found = {key for key, each in new.items() if each.root_cause}
    assert found == roots, {key: each.finding.title for key, each in new.items() if each.root_cause}


def test_the_title_of_a_flavor_without_nodes_does_not_depend_on_the_order_of_the_input() -> None:
    cluster = healthy()
    cluster.find("ResourceFlavor", "h100")["spec"]["nodeLabels"] = {"pool": "h100-new"}
    titles = set()
    for items in (cluster.items, cluster.items[::-1]):
        answer = review(whole(items), all_checks())
        titles |= {each.finding.title for each in answer.failures if each.check.id == "Q24"}
    assert len(titles) == 1
