"""What the lab tells the charts of the GPU Operator and Kueue about a platform, and writes on its nodes for them.

Of the GPU Operator it is what the pillars render, for the release that can be built from Go modules.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.kube.objects import Obj
from plimsoll.pillars.operator import render as operator
from plimsoll.pillars.partition import render as partition
from plimsoll.spec import nodeconfig
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.settle import settled

RELEASE = "v25.3.2"  # what the pseudo-version of the Go module is, as the release's own tag names it


def chart_values(platform: Platform | None) -> dict[str, Any]:
    """Values for the chart of the GPU Operator; none of ours without a platform."""
    return operator.render(_here(platform)).charts[0].values if platform else {}


def config_maps(platform: Platform | None, namespace: str) -> list[Obj]:
    """The ConfigMaps that the values name: what is counted, sharing by pool, and layouts."""
    if platform is None:
        return []
    here = _here(platform, namespace)
    counters = [each for each in operator.objects(here) if each["kind"] == "ConfigMap"]
    return counters + partition.config_maps(here)


def _here(platform: Platform, namespace: str = "") -> Platform:
    """The platform as the lab runs its GPU Operator: all of it, of its own release, without a Prometheus Operator.

    That release never gets ready where it is to make a ServiceMonitor, and the cluster does not know what that is.
    """
    home = namespace or platform.operator.namespace
    metrics = msgspec.structs.replace(platform.observability.prometheus, operator=False)
    return msgspec.structs.replace(
        settled(platform),
        cluster=msgspec.structs.replace(platform.cluster, manage=("operator", "partition")),
        operator=msgspec.structs.replace(platform.operator, version=RELEASE, namespace=home),
        observability=msgspec.structs.replace(platform.observability, prometheus=metrics),
    )


def kueue_config(platform: Platform | None) -> dict[str, Any]:
    """What Kueue's Configuration says beside the chart's own.

    CPU and memory come with the GPUs of a node, so only GPUs are counted.
    """
    counted = {"excludeResourcePrefixes": ["cpu", "memory", "ephemeral-storage"]}
    settings: dict[str, Any] = {"resources": counted, "metrics": {"enableClusterQueueResources": True}}
    if platform is None:
        return settings
    queueing = platform.queueing
    again = {"timestamp": "Eviction", "backoffLimitCount": 5, "backoffBaseSeconds": 60, "backoffMaxSeconds": 3600}
    timeout = f"{int(queueing.wait_for_pods_ready.seconds)}s"
    settings["waitForPodsReady"] = {"timeout": timeout, "recoveryTimeout": timeout, "requeuingStrategy": again}
    if queueing.fair_sharing:
        settings["fairSharing"] = {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]}
    return settings


def node_labels(pool: Pool) -> dict[str, str]:
    """The labels by which a node of the pool is told its layout and its sharing; of whole GPUs none."""
    wanted = partition.rule(pool).labels
    return {key: value for key, value in wanted.items() if value and value != nodeconfig.UNCUT}


def layout(pool: Pool) -> dict[str, int]:
    """Instances per GPU; {} without MIG and where the layout is open."""
    return nodeconfig.layout(pool)
