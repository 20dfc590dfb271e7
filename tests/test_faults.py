"""Faults put into the healthy recording: one root cause per node, queue or service each, and nothing else new.

The shapes are those of tests/faults.py; the recordings with faults are judged in tests/test_recordings.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from plimsoll.check.model import Severity
from plimsoll.check.run import Judgement, Review, review
from plimsoll.pillars import all_checks
from tests.faults import AGO, Cluster, healthy, owner
from tests.recorded import whole

Fault = Callable[[Cluster], None]
Roots = set[tuple[str, str]]
FAULTS: list[tuple[Fault, Roots]] = []


def gives(*roots: str) -> Callable[[Fault], Fault]:
    """The root causes a fault must give, as `ID Kind/name`."""

    def note(fault: Fault) -> Fault:
        FAULTS.append((fault, {(root.partition(" ")[0], root.partition(" ")[2]) for root in roots}))
        return fault

    return note


GPU_NODES = ("a100-mig-0", "h100-0", "h100-1", "h100-2", "h100-3", "l4-0", "l4-1")


@gives("GPU045 Node/h100-2")
def toolkit_crashes(c: Cluster) -> None:
    c.crash(
        c.pod("toolkit", "h100-2"), "nvidia-container-toolkit-ctr", "unable to update containerd config: no such file"
    )
    for operand in ("validator", "plugin", "gfd", "exporter", "mig"):
        c.hold(c.pod(operand, "h100-2"), "toolkit-validation")
    c.offer("h100-2", allocatable="0")
    c.count("toolkit", "validator", "plugin", "gfd", "exporter", "mig")


@gives("GPU031 Node/h100-3")
def nouveau_is_loaded(c: Cluster) -> None:
    c.crash(
        c.pod("driver", "h100-3"),
        "nvidia-driver-ctr",
        "Could not unload NVIDIA driver kernel modules, nouveau is in use",
    )
    for operand in ("toolkit", "validator"):
        c.hold(c.pod(operand, "h100-3"), "driver-validation")
    for operand in ("plugin", "gfd", "exporter", "mig"):
        c.hold(c.pod(operand, "h100-3"), "toolkit-validation")
    c.offer("h100-3", allocatable="0", capacity="0")
    c.count("driver", "toolkit", "validator", "plugin", "gfd", "exporter", "mig")


@gives("GPU019 DaemonSet/gpu-operator/nvidia-device-plugin-daemonset")
def plugin_image_cannot_be_pulled(c: Cluster) -> None:
    message = 'Back-off pulling image "nvcr.io/nvidia/k8s-device-plugin:v0.17.3": ErrImagePull: 403 Forbidden'
    c.image(c.pod("plugin", "l4-1"), "nvidia-device-plugin", message)
    c.offer("l4-1", allocatable="0", capacity="0")
    c.count("plugin")


@gives("GPU058 Node/h100-0")
def one_gpu_is_unhealthy(c: Cluster) -> None:
    c.offer("h100-0", allocatable="7")


@gives("GPU060 Node/h100-0")
def one_gpu_never_came_up(c: Cluster) -> None:
    c.offer("h100-0", allocatable="7", capacity="7")
    c.node("h100-0")["metadata"]["labels"]["nvidia.com/gpu.count"] = "7"


@gives("GPU111 Node/h100-2")
def a_node_is_lost(c: Cluster) -> None:
    node = c.node("h100-2")
    c.conditions(node, Ready=("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."))
    node["spec"]["taints"] += [
        {"key": "node.kubernetes.io/unreachable", "effect": effect, "timeAdded": AGO}
        for effect in ("NoSchedule", "NoExecute")
    ]
    for pod in [o for o in c.items if o["kind"] == "Pod" and o["spec"].get("nodeName") == "h100-2"]:
        for entry in pod["status"]["conditions"]:
            if entry["type"] == "Ready":
                entry |= {"status": "False", "lastTransitionTime": AGO}
    c.count("driver", "toolkit", "validator", "plugin", "gfd", "exporter", "mig")


@gives("GPU001 ClusterPolicy/cluster-policy")
def nfd_is_not_installed(c: Cluster) -> None:
    c.remove(lambda o: "node-feature-discovery" in o["metadata"]["name"])
    for node in [o for o in c.items if o["kind"] == "Node"]:
        have = node["metadata"]["labels"]
        for key in [k for k in have if k.startswith(("feature.node", "nvidia.com/"))]:
            del have[key]
        for side in ("capacity", "allocatable"):
            for key in [k for k in node["status"][side] if k.startswith("nvidia.com/")]:
                del node["status"][side][key]
    owners = ("nvidia-", "gpu-feature")
    c.remove(
        lambda o: (
            o["kind"] == "Pod" and o["metadata"].get("ownerReferences", [{}])[0].get("name", "").startswith(owners)
        )
    )
    for daemonset in [o for o in c.items if o["kind"] == "DaemonSet" and o["metadata"]["namespace"] == "gpu-operator"]:
        daemonset["status"] = {
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        }
    c.policy("NFDLabelsMissing", "ClusterPolicy is ready: no NFD labels found", ready=True)


@gives("GPU015 Deployment/gpu-operator/gpu-operator")
def operator_runs_out_of_memory(c: Cluster) -> None:
    (pod,) = [
        p for p in c.pods_like("gpu-operator-", "gpu-operator") if p["metadata"]["labels"].get("app") == "gpu-operator"
    ]
    c.crash(pod, "gpu-operator", "", reason="OOMKilled", code=137)
    c.unavailable("gpu-operator", "gpu-operator")


@gives("GPU018 DaemonSet/gpu-operator/nvidia-device-plugin-daemonset")
def pod_security_refuses_operands(c: Cluster) -> None:
    c.find("Namespace", "gpu-operator")["metadata"].setdefault("labels", {})["pod-security.kubernetes.io/enforce"] = (
        "restricted"
    )
    refused = ("nvidia-device-plugin-daemonset", "nvidia-operator-validator")
    c.remove(lambda o: owner(o) in refused)
    for operand in refused:
        message = 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
        c.event(c.find("DaemonSet", operand, "gpu-operator"), "FailedCreate", message)
    for node in GPU_NODES:
        c.offer(node, allocatable="0", capacity="0")
    c.count("plugin", "validator")


@gives("GPU077 Node/a100-mig-0")
def mig_change_is_wedged(c: Cluster) -> None:
    have = c.node("a100-mig-0")["metadata"]["labels"]
    have |= {"nvidia.com/mig.config": "all-3g.40gb", "nvidia.com/mig.config.state": "pending"}
    for operand in ("device-plugin", "gpu-feature-discovery", "dcgm-exporter", "dcgm"):
        have[f"nvidia.com/gpu.deploy.{operand}"] = "paused-for-mig-change"
    gone = [c.pod(operand, "a100-mig-0") for operand in ("plugin", "gfd", "exporter")]
    c.remove(lambda o: any(o is pod for pod in gone))
    c.offer("a100-mig-0", allocatable="0", capacity="0")


@gives("GPU080 Node/a100-mig-0")
def mig_config_has_a_typo(c: Cluster) -> None:
    c.node("a100-mig-0")["metadata"]["labels"] |= {
        "nvidia.com/mig.config": "all-balansed",
        "nvidia.com/mig.config.state": "failed",
    }


@gives("GPU081 Node/a100-mig-0")
def mig_strategy_does_not_fit_the_layout(c: Cluster) -> None:
    have = c.node("a100-mig-0")["metadata"]["labels"]
    have |= {"nvidia.com/mig.strategy": "single", "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-INVALID",
             "nvidia.com/gpu.count": "0", "nvidia.com/gpu.replicas": "0"}  # fmt: skip
    c.find("ClusterPolicy", "cluster-policy")["spec"]["mig"]["strategy"] = "single"
    pod = c.pod("plugin", "a100-mig-0")
    c.crash(pod, "nvidia-device-plugin", "more than one MIG device type present on node")
    c.offer("a100-mig-0", allocatable="0")
    c.count("plugin")


@gives("GPU090 Node/l4-0")
def plugin_config_key_has_a_typo(c: Cluster) -> None:
    c.node("l4-0")["metadata"]["labels"]["nvidia.com/device-plugin.config"] = "l4-ts5"
    for operand in ("plugin", "gfd"):
        c.crash(c.pod(operand, "l4-0"), "config-manager-init", "specified config l4-ts5 does not exist", init=True)
    c.offer("l4-0", allocatable="0")
    c.count("plugin", "gfd")


@gives("GPU036 Node/h100-1")
def driver_upgrade_failed(c: Cluster) -> None:
    c.node("h100-1")["metadata"]["labels"]["nvidia.com/gpu-driver-upgrade-state"] = "upgrade-failed"
    c.node("h100-1")["spec"]["unschedulable"] = True
    c.node("h100-1")["spec"]["taints"].append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})


@gives("GPU020 Node/h100-1")
def somebody_opted_a_node_out(c: Cluster) -> None:
    c.node("h100-1")["metadata"]["labels"]["nvidia.com/gpu.deploy.device-plugin"] = "false"
    gone = c.pod("plugin", "h100-1")
    c.remove(lambda o: o is gone)
    c.find("DaemonSet", "nvidia-device-plugin-daemonset", "gpu-operator")["status"]["desiredNumberScheduled"] = 6
    c.offer("h100-1", allocatable="0", capacity="0")
    c.count("plugin")


@gives("GPU106 Node/h100-0")
def fabric_manager_is_down(c: Cluster) -> None:
    pod = c.pod("validator", "h100-0")
    c.crash(pod, "cuda-validation", "CUDA error 802: system not yet initialized", init=True)
    c.count("validator")


@gives("GPU062 DaemonSet/kube-system/nvidia-device-plugin-daemonset")
def a_second_device_plugin(c: Cluster) -> None:
    own = c.find("DaemonSet", "nvidia-device-plugin-daemonset", "gpu-operator")
    made = c.copy(own, "nvidia-device-plugin-daemonset", namespace="kube-system")
    made["metadata"].pop("ownerReferences", None)
    made["spec"]["template"]["spec"].pop("nodeSelector", None)
    made["spec"]["template"]["metadata"]["labels"] = {"name": "nvidia-device-plugin-ds"}
    made["spec"]["selector"] = {"matchLabels": {"name": "nvidia-device-plugin-ds"}}


@gives("GPU057 Node/h100-1")
def kubelet_restarted_and_plugin_did_not_register(c: Cluster) -> None:
    c.offer("h100-1", allocatable="0", capacity="0")


@gives("GPU020 ClusterPolicy/cluster-policy")
def device_plugin_is_switched_off(c: Cluster) -> None:
    c.find("ClusterPolicy", "cluster-policy")["spec"]["devicePlugin"]["enabled"] = False
    own = "nvidia-device-plugin-daemonset"
    c.remove(lambda o: o["kind"] == "Pod" and o["metadata"].get("ownerReferences", [{}])[0].get("name") == own)
    c.remove(lambda o: o["kind"] == "DaemonSet" and o["metadata"]["name"] == own)
    for node in c.gpu_nodes():
        for side in ("capacity", "allocatable"):
            for key in [k for k in node["status"][side] if k.startswith("nvidia.com/")]:
                del node["status"][side][key]


@gives("Q07 LocalQueue/team-b/gpu")
def local_queue_points_nowhere(c: Cluster) -> None:
    queue = c.find("LocalQueue", "gpu", "team-b")
    queue["spec"]["clusterQueue"] = "team-bee"
    message = "Can't submit new workloads to clusterQueue"
    c.conditions(queue, Active=("False", "ClusterQueueDoesNotExist", message))
    for workload in [o for o in c.items if o["kind"] == "Workload" and o["metadata"]["name"].startswith("job-rank-2")]:
        c.conditions(workload, QuotaReserved=("False", "Inadmissible", "ClusterQueue team-bee doesn't exist"))


@gives("Q06 Workload/team-b/job-rank-2-1e08d")
def job_names_a_queue_that_does_not_exist(c: Cluster) -> None:
    job, workload = c.find("Job", "rank-2", "team-b"), c.find("Workload", "job-rank-2-1e08d", "team-b")
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    workload["spec"]["queueName"] = "gpus"
    c.conditions(workload, QuotaReserved=("False", "Inadmissible", "LocalQueue gpus doesn't exist"))


@gives("Q15 ClusterQueue/team-b")
def queue_is_on_hold(c: Cluster) -> None:
    queue = c.find("ClusterQueue", "team-b")
    queue["spec"]["stopPolicy"] = "Hold"
    c.conditions(queue, Active=("False", "Stopped", "Can't admit new workloads: is stopped."))
    c.conditions(
        c.find("LocalQueue", "gpu", "team-b"),
        Active=("False", "ClusterQueueIsInactive", "Can't submit new workloads to clusterQueue"),
    )
    workload = c.find("Workload", "job-rank-2-1e08d", "team-b")
    c.conditions(workload, QuotaReserved=("False", "Inadmissible", "ClusterQueue team-b is inactive"))


@gives("Q00 Deployment/kueue-system/kueue-controller-manager")
def kueue_crashes(c: Cluster) -> None:
    (pod,) = c.pods_like("kueue-controller-manager", "kueue-system")
    c.crash(pod, "manager", "unable to load the configuration: unknown field")
    c.unavailable("kueue-controller-manager", "kueue-system")
    c.without_endpoints("kueue-webhook-service", "kueue-system")


@gives("Q24 ResourceFlavor/h100")
def flavor_selects_no_node(c: Cluster) -> None:
    c.find("ResourceFlavor", "h100")["spec"]["nodeLabels"] = {"pool": "h100-new"}


@gives("Q10 ClusterQueue/team-b")
def queue_selects_no_namespace(c: Cluster) -> None:
    del c.find("ClusterQueue", "team-b")["spec"]["namespaceSelector"]
    workload = c.find("Workload", "job-rank-2-1e08d", "team-b")
    c.conditions(
        workload, QuotaReserved=("False", "Inadmissible", "Workload namespace doesn't match ClusterQueue selector")
    )


@gives("V00 Deployment/keda/keda-operator")
def keda_operator_crashes(c: Cluster) -> None:
    (pod,) = c.pods_like("keda-operator", "keda")
    c.crash(pod, "keda-operator", "unable to run the manager")
    c.unavailable("keda-operator", "keda")
    hpa = c.find("HorizontalPodAutoscaler", "keda-hpa-chat", "serving")
    message = "the HPA was unable to compute the replica count: unable to get external metric serving/s0-prometheus"
    c.conditions(hpa, ScalingActive=("False", "FailedGetExternalMetric", message))


@gives("V00 APIService/v1beta1.external.metrics.k8s.io")
def metrics_api_is_unavailable(c: Cluster) -> None:
    (service,) = [
        o for o in c.items if o["kind"] == "APIService" and o["metadata"]["name"] == "v1beta1.external.metrics.k8s.io"
    ]
    c.conditions(
        service, Available=("False", "FailedDiscoveryCheck", "failing or missing response: context deadline exceeded")
    )
    hpa = c.find("HorizontalPodAutoscaler", "keda-hpa-chat", "serving")
    message = "the HPA was unable to compute the replica count: unable to get external metric: no matches"
    c.conditions(hpa, ScalingActive=("False", "FailedGetExternalMetric", message))


@gives("V51 ScaledObject/serving/chat")
def scale_target_does_not_exist(c: Cluster) -> None:
    scaled = c.find("ScaledObject", "chat", "serving")
    scaled["spec"]["scaleTargetRef"]["name"] = "chatt"
    message = "ScaledObject doesn't have correct scaleTargetRef specification"
    c.conditions(
        scaled,
        Ready=("False", "ScaledObjectCheckFailed", message),
        Active=("Unknown", "UnkownState", "ScaledObject check failed"),
    )
    c.event(scaled, "ScaledObjectCheckFailed", "Target resource doesn't exist")
    c.remove(lambda o: o["kind"] == "HorizontalPodAutoscaler")


@gives("V52 Deployment/serving/chat")
def the_served_model_crashes(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.crash(pod, "vllm", "torch.OutOfMemoryError: CUDA out of memory")
    c.unavailable("chat", "serving")


@gives("GPU023 Node/h100-1")
def exporter_runs_out_of_memory(c: Cluster) -> None:
    c.crash(c.pod("exporter", "h100-1"), "nvidia-dcgm-exporter", "", reason="OOMKilled", code=137)
    c.count("exporter")


@gives("GPU023 Node/a100-mig-0")
def mig_manager_crashes(c: Cluster) -> None:
    c.crash(c.pod("mig", "a100-mig-0"), "nvidia-mig-manager", "panic: runtime error")
    c.count("mig")


@gives("GPU013 ClusterPolicy/second")
def a_second_cluster_policy(c: Cluster) -> None:
    made = c.copy(c.find("ClusterPolicy", "cluster-policy"), "second", creationTimestamp="2026-11-24T11:00:00Z")
    made["status"] = {"state": "ignored", "namespace": "gpu-operator"}


@gives("GPU092 ConfigMap/gpu-operator/time-slicing-config")
def time_slicing_was_not_applied(c: Cluster) -> None:
    node = c.node("l4-0")
    for side in ("capacity", "allocatable"):
        del node["status"][side]["nvidia.com/gpu.shared"]
        node["status"][side]["nvidia.com/gpu"] = "1"
    node["metadata"]["labels"] |= {
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/gpu.product": "NVIDIA-L4",
    }


@gives("GPU065 Pod/team-b/wants-5gb")
def a_pod_asks_for_what_nobody_offers(c: Cluster) -> None:
    (pod,) = c.pods_like("notebook-mig", "team-b")
    made = c.copy(pod, "wants-5gb", creationTimestamp=AGO)
    del made["spec"]["nodeName"], made["metadata"]["ownerReferences"]
    amount = {"nvidia.com/mig-1g.5gb": "1"}
    made["spec"]["containers"][0]["resources"] = {"limits": amount, "requests": amount}
    message = "0/9 nodes are available: 9 Insufficient nvidia.com/mig-1g.5gb."
    made["status"] = {"phase": "Pending"}
    c.conditions(made, PodScheduled=("False", "Unschedulable", message))


@gives("V55 ScaledObject/serving/chat")
def scaling_is_paused(c: Cluster) -> None:
    scaled = c.find("ScaledObject", "chat", "serving")
    scaled["metadata"]["annotations"] = {"autoscaling.keda.sh/paused": "true"}
    c.conditions(scaled, Paused=("True", "ScaledObjectPaused", "ScaledObject is paused"))


@gives("V52 Deployment/serving/chat")
def the_servers_image_cannot_be_pulled(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.image(pod, "vllm", 'Back-off pulling image "registry.example.com/vllm:1"')
    c.unavailable("chat", "serving")


@gives("GPU006 Deployment/gpu-operator/gpu-operator-node-feature-discovery-master")
def nfd_master_crashes(c: Cluster) -> None:
    (pod,) = c.pods_like("gpu-operator-node-feature-discovery-master", "gpu-operator")
    c.crash(pod, "master", "x509: certificate has expired")
    c.unavailable("gpu-operator-node-feature-discovery-master", "gpu-operator")


@gives("GPU048 ClusterPolicy/cluster-policy")
def runtime_class_is_gone(c: Cluster) -> None:
    c.remove(lambda o: o["kind"] == "RuntimeClass")


@gives("GPU091 ClusterPolicy/cluster-policy")
def plugin_config_map_is_gone(c: Cluster) -> None:
    c.remove(lambda o: o["kind"] == "ConfigMap" and o["metadata"]["name"] == "time-slicing-config")
    pod = c.pod("plugin", "h100-0")
    for status in pod["status"]["initContainerStatuses"] + pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    pod["status"]["phase"] = "Pending"
    c.ready(pod, "False")
    c.event(pod, "FailedMount", 'MountVolume.SetUp failed: configmap "time-slicing-config" not found')
    c.offer("h100-0", allocatable="0")
    c.count("plugin")


@gives("GPU078 Node/a100-mig-0")
def mig_change_waits_for_a_reboot(c: Cluster) -> None:
    have = c.node("a100-mig-0")["metadata"]["labels"]
    have |= {"nvidia.com/mig.config": "all-3g.40gb", "nvidia.com/mig.config.state": "rebooting"}


@gives("GPU082 Node/a100-mig-0")
def mig_succeeded_but_nothing_is_offered(c: Cluster) -> None:
    c.offer("a100-mig-0", allocatable="0", capacity="0")


@gives("V00 Deployment/keda/keda-metrics-apiserver")
def keda_metrics_server_crashes(c: Cluster) -> None:
    (pod,) = c.pods_like("keda-metrics-apiserver", "keda")
    c.crash(pod, "keda-metrics-apiserver", "unable to load certificates")
    c.unavailable("keda-metrics-apiserver", "keda")
    c.without_endpoints("keda-metrics-apiserver", "keda")
    message = "endpoints for service/keda-metrics-apiserver in keda have no addresses"
    service = c.find("APIService", "v1beta1.external.metrics.k8s.io")
    c.conditions(service, Available=("False", "MissingEndpoints", message))
    hpa = c.find("HorizontalPodAutoscaler", "keda-hpa-chat", "serving")
    c.conditions(hpa, ScalingActive=("False", "FailedGetExternalMetric", "unable to get external metric"))


@gives("Q21 ClusterQueue/team-a")
def more_is_promised_than_there_is(c: Cluster) -> None:
    for resource in c.find("ClusterQueue", "team-a")["spec"]["resourceGroups"][0]["flavors"][0]["resources"]:
        if resource["name"] == "nvidia.com/gpu":
            resource["nominalQuota"] = "64"


@gives("Q12 ClusterQueue/team-b")
def admission_check_does_not_exist(c: Cluster) -> None:
    queue = c.find("ClusterQueue", "team-b")
    queue["spec"]["admissionChecksStrategy"] = {"admissionChecks": [{"name": "prov"}]}
    message = "Can't admit new workloads: references missing AdmissionCheck(s): prov."
    c.conditions(queue, Active=("False", "AdmissionCheckNotFound", message))
    local, workload = c.find("LocalQueue", "gpu", "team-b"), c.find("Workload", "job-rank-2-1e08d", "team-b")
    c.conditions(local, Active=("False", "ClusterQueueIsInactive", "Can't submit new workloads to clusterQueue"))
    c.conditions(workload, QuotaReserved=("False", "Inadmissible", "ClusterQueue team-b is inactive"))


@gives("GPU033 Node/h100-1")
def driver_never_becomes_ready(c: Cluster) -> None:
    pod = c.pod("driver", "h100-1")
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"running": {"startedAt": AGO}}}
    c.ready(pod, "False")
    c.event(pod, "Unhealthy", "Startup probe failed: NVIDIA-SMI couldn't communicate with the NVIDIA driver")
    for operand in ("toolkit", "validator"):
        c.hold(c.pod(operand, "h100-1"), "driver-validation")
    for operand in ("plugin", "gfd", "exporter", "mig"):
        c.hold(c.pod(operand, "h100-1"), "toolkit-validation")
    c.offer("h100-1", allocatable="0", capacity="0")
    c.count("driver", "toolkit", "validator", "plugin", "gfd", "exporter", "mig")


@gives("GPU059 Node/h100-2")
def labels_promise_more_than_is_registered(c: Cluster) -> None:
    c.offer("h100-2", allocatable="7", capacity="7")


@gives("GPU021 Node/l4-1")
def a_new_taint_waits_for_the_next_restart(c: Cluster) -> None:
    c.node("l4-1")["spec"]["taints"].append({"key": "team", "value": "x", "effect": "NoSchedule"})


def _failed(answer: Review) -> dict[tuple[str, str], Judgement]:
    return {
        (each.check.id, str(each.finding.object)): each for each in answer.failures if each.severity > Severity.INFO
    }


@cache
def _before() -> frozenset[tuple[str, str]]:
    return frozenset(_failed(review(whole(healthy().items), all_checks())))


@pytest.mark.parametrize(("fault", "roots"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_fault_is_the_root_cause_and_nothing_else_is_new(fault: Fault, roots: Roots) -> None:
    cluster = healthy()
    fault(cluster)
    answer = review(whole(cluster.items), all_checks())
    assert not answer.broken
    new = {key: each for key, each in _failed(answer).items() if key not in _before()}
    found = {key for key, each in new.items() if each.root_cause}
    assert found == roots, {key: each.finding.title for key, each in new.items() if each.root_cause}
