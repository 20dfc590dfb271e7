"""In which order objects need each other: waves, and ranks within them."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, Ref, text

WAVES = ("definitions", "namespaces and policies", "operators", "what needs them", "workloads")
DEFINITIONS, POLICIES, OPERATORS, RESOURCES, WORKLOADS = range(5)

_FIRST = ("Namespace", "ServiceAccount")
_WORKLOADS = frozenset({
    "Deployment", "StatefulSet", "DaemonSet", "LeaderWorkerSet", "Job", "CronJob", "JobSet", "Service",
    "PodDisruptionBudget", "ScaledObject", "HorizontalPodAutoscaler",
})  # fmt: skip
# What is looked up by what follows it. Others need nobody within their wave.
_RANKS = {kind: rank for rank, kind in enumerate((
    "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding",
    "Topology", "ResourceFlavor", "Cohort", "ClusterQueue", "LocalQueue",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "EC2NodeClass", "NodePool",
    "Service", "Deployment", "LeaderWorkerSet", "ScaledObject",
), start=len(_FIRST))}  # fmt: skip


def wave(obj: Obj) -> int:
    """The wave an object belongs to. Kinds that a CustomResourceDefinition brings come after the operators."""
    kind, group = text(obj, "kind"), text(obj, "apiVersion").rpartition("/")[0]
    if kind == "CustomResourceDefinition":
        return DEFINITIONS
    if kind in _WORKLOADS:
        return WORKLOADS
    return RESOURCES if ("." in group and not group.endswith(".k8s.io")) or "x-k8s.io" in group else POLICIES


def rank(ref: Ref) -> tuple[int, int]:
    """Of an object within its wave: those of one rank may be applied at once, ranks one after another."""
    if ref.kind in _FIRST:
        return 0, _FIRST.index(ref.kind)
    return 1, _RANKS.get(ref.kind, 0)
