"""Kueue itself: its chart, and the Configuration that the chart takes only as one whole text."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from plimsoll.errors import InputError
from plimsoll.kube.objects import Obj
from plimsoll.plan.model import Chart
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.values import Duration
from plimsoll.units import version

NAMESPACE = "kueue-system"
AS_OF = "2026-08-20"  # v0.19.2; a later release is taken for one like it


class Release(msgspec.Struct, frozen=True):
    """What differs between releases of Kueue.

    since: the first release it is true of. api: version of its objects, and of its Configuration.
    search_on: what whenCanBorrow says for "borrow here before trying the next flavor".
    ray_services: whether it knows RayService. always_waits: whether waitForPodsReady is on unless a gate says no.
    """

    since: tuple[int, ...]
    api: str
    search_on: str
    ray_services: bool = False
    always_waits: bool = False


# Source: Kueue's change logs 0.14 to 0.19. Before 0.14 Topology, and topology-aware scheduling, were alpha.
RELEASES = (
    Release((0, 14), "v1beta1", "Borrow"),
    Release((0, 15), "v1beta2", "MayStopSearch"),
    Release((0, 17), "v1beta2", "MayStopSearch", ray_services=True),
    Release((0, 19), "v1beta2", "MayStopSearch", ray_services=True, always_waits=True),
)
_KINDS = (
    "admissionchecks", "clusterqueues", "cohorts", "localqueues", "multikueueclusters", "multikueueconfigs",
    "provisioningrequestconfigs", "resourceflavors", "topologies", "workloadpriorityclasses", "workloads",
)  # fmt: skip
# CPU, memory and network cards come with the GPUs of a node: whoever has these has those, so only GPUs are counted.
_UNCOUNTED = ("cpu", "memory", "ephemeral-storage", "hugepages-", "rdma/", "vpc.amazonaws.com/", "networking.gke.io")
_FRAMEWORKS = (
    "batch/job", "jobset.x-k8s.io/jobset", "kubeflow.org/mpijob", "kubeflow.org/pytorchjob",
    "trainer.kubeflow.org/trainjob", "ray.io/rayjob", "ray.io/raycluster", "workload.codeflare.dev/appwrapper",
    "leaderworkerset.x-k8s.io/leaderworkerset", "statefulset", "deployment", "pod",
)  # fmt: skip


def release(platform: Platform) -> Release:
    """What is true of the declared Kueue."""
    declared = version(str(platform.queueing.version))
    known = [each for each in RELEASES if each.since <= declared[:2]]
    if not known:
        raise InputError(
            f"Kueue {platform.queueing.version} is older than 0.14, the oldest that objects are written for",
            where="queueing.version",
            hint="declare a newer one, or leave queueing out of cluster.manage",
        )
    return known[-1]


def chart(platform: Platform, release: Release) -> Chart:
    """Two managers, since no pod of a team can be made while none answers."""
    number = str(platform.queueing.version).removeprefix("v")
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "kueue", "control-plane": "controller-manager"}},
    }
    image = {"repository": "registry.k8s.io/kueue/kueue", "tag": f"v{number}", "pullPolicy": "IfNotPresent"}
    return Chart(
        name="kueue",
        namespace=NAMESPACE,
        chart="kueue",
        repository="oci://registry.k8s.io/kueue/charts",
        version=number,
        values={
            "controllerManager": {
                "replicas": 2,
                "manager": {"image": image},
                "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
                "topologySpreadConstraints": [spread],
            },
            "managerConfig": {
                "controllerManagerConfigYaml": yaml.safe_dump(configuration(platform, release), sort_keys=False)
            },
        },
        crds=tuple(f"{kind}.kueue.x-k8s.io" for kind in _KINDS),
        deployments=("kueue-controller-manager",),
    )


def configuration(platform: Platform, release: Release) -> Obj:
    """The manager's Configuration. Ports are those that the chart's probes and Services name."""
    wide = {"ResourceFlavor.kueue.x-k8s.io": 1, "Workload.kueue.x-k8s.io": 10}
    settings: Obj = {
        "apiVersion": f"config.kueue.x-k8s.io/{release.api}",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": ":8443", "enableClusterQueueResources": True},
        "webhook": {"port": 9443},
        "leaderElection": {"leaderElect": True, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
        "controller": {
            "groupKindConcurrency": {
                "ClusterQueue.kueue.x-k8s.io": 5,
                "Job.batch": 5,
                "LocalQueue.kueue.x-k8s.io": 5,
                "Pod": 5,
                **wide,
            }
        },
        "clientConnection": {"qps": 300, "burst": 500},
        # Only a team's namespaces are looked at: the webhooks stand in nobody else's way.
        "managedJobsNamespaceSelector": derive.home_selector(platform),
        "integrations": {"frameworks": [*_FRAMEWORKS, *(["ray.io/rayservice"] if release.ray_services else [])]},
        "resources": {"excludeResourcePrefixes": list(_UNCOUNTED)},
        "objectRetentionPolicies": {"workloads": {"afterFinished": "168h"}},  # else they stay as long as their jobs
    }
    settings |= _waiting(platform.queueing.wait_for_pods_ready, release)
    if platform.queueing.fair_sharing:
        strategies = {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]}
        settings["fairSharing"] = _enabled(release) | strategies
    return settings


def _waiting(timeout: Duration, release: Release) -> Obj:
    """How long pods may take to be ready, and how often their workload may try again; 0 means: as long as it takes."""
    if not timeout:
        return {"featureGates": {"DisableWaitForPodsReady": True}} if release.always_waits else {}
    longest = f"{int(timeout) // 1000}s" if timeout % 1000 == 0 else f"{int(timeout)}ms"
    again = {"timestamp": "Eviction", "backoffLimitCount": 5, "backoffBaseSeconds": 60, "backoffMaxSeconds": 3600}
    times = {"timeout": longest, "recoveryTimeout": longest, "requeuingStrategy": again}
    return {"waitForPodsReady": _enabled(release) | times}


def _enabled(release: Release) -> dict[str, Any]:
    """v1beta1 wants to be told that a block that is there is meant."""
    return {"enable": True} if release.api == "v1beta1" else {}
