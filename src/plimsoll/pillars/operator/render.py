"""Pillar operator: what the declaration asks of a cluster.

The GPU Operator's chart with its values, its namespace, and the list of what the exporter counts. All pools have one
driver, which the ClusterPolicy keeps; the declaration knows no driver of a pool's own, so there is no NVIDIADriver.
"""

from __future__ import annotations

from plimsoll.kube.objects import Obj, Ref
from plimsoll.pillars.operator import render_counters as counters
from plimsoll.pillars.operator import render_versions as versions
from plimsoll.pillars.operator.render_cloud import ground
from plimsoll.pillars.operator.render_values import received, values
from plimsoll.plan.model import Chart, Part, thing
from plimsoll.spec.model import Platform

_REPOSITORY = "https://helm.ngc.nvidia.com/nvidia"
_CRDS = ("clusterpolicies.nvidia.com", "nvidiadrivers.nvidia.com")  # of the operator alone, and of every release
_OPERANDS = 16  # pods that the operator and its node feature discovery may have on a node, with room to replace one


def render(platform: Platform) -> Part:
    declared, base = platform.operator.version, ground(platform)
    known = versions.release(declared)
    said = values(platform, base, known)
    chart = Chart(
        name="gpu-operator",
        namespace=platform.operator.namespace,
        chart="gpu-operator",
        repository=_REPOSITORY,
        version=versions.chart_version(declared),
        values=said,
        crds=_CRDS,
        deployments=("gpu-operator",),
        resources=(Ref("nvidia.com/v1", "ClusterPolicy", "", "cluster-policy"),),
        receives=received(said),
    )
    notes = (versions.doubt(declared), *base.notes, *_freezes(platform))
    return Part(objects=tuple(objects(platform)), charts=(chart,), notes=tuple(note for note in notes if note))


def objects(platform: Platform) -> list[Obj]:
    """The operator's namespace and what has to stand in it before the chart."""
    home, provider = platform.operator.namespace, platform.cluster.provider
    # Operands load kernel modules and open devices: they are privileged, and no weaker level lets them start.
    labels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    if provider == "openshift":
        labels["openshift.io/cluster-monitoring"] = "true"  # the cluster's own Prometheus looks only into such
    made = [
        thing("v1", "Namespace", home, labels=labels),
        thing("v1", "ConfigMap", counters.NAME, home, data={counters.KEY: counters.counters()}),
    ]
    if provider == "gke":
        made.append(_critical_pods(platform, home))
    return made


def _critical_pods(platform: Platform, home: str) -> Obj:
    """GKE takes pods of the system's priorities only in namespaces with a quota for them."""
    most = _OPERANDS * (1 + sum(pool.nodes.max for pool in platform.pools))
    classes = {
        "operator": "In",
        "scopeName": "PriorityClass",
        "values": ["system-node-critical", "system-cluster-critical"],
    }
    spec = {"hard": {"pods": str(most)}, "scopeSelector": {"matchExpressions": [classes]}}
    return thing("v1", "ResourceQuota", "critical-pods", home, spec=spec)


def _freezes(platform: Platform) -> list[str]:
    """What the operator cannot be told: it knows no calendar, and takes a new driver to the nodes at once."""
    days = [f"{each.from_} to {each.until}" for each in platform.operator.upgrades.freeze]
    if not days:
        return []
    return [
        f"Apply no other version of the GPU Operator or of the driver from {' or '.join(days)}: nodes follow at once."
    ]
