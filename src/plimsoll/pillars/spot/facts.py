"""What runs, or may run, on nodes the cloud can take back, and how much warning it gives."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.nodes import SPOT_LABELS, is_spot
from plimsoll.kube.objects import Obj, containers, get, items, labels, mapping, name, namespace, owner, selects, text
from plimsoll.kube.pods import controller, gpu_requests, pods_by_node
from plimsoll.kube.snapshot import Snapshot, fact

Owner = tuple[str, str, str]  # kind, namespace, name

# Labels and taints of spot capacity beyond those of kube/nodes. Sources: GKE, OKE documentation.
SPOT_KEYS = {
    **SPOT_LABELS,
    "cloud.google.com/gke-provisioning": "spot",
    "oci.oraclecloud.com/oke-is-preemptible": "true",
}
_ENGINES = ("vllm", "sglang", "tritonserver", "text-generation-inference", "tgi", "nim/", "lmdeploy", "tensorrt-llm")
_POOLS = ("karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup", "cloud.google.com/gke-nodepool",
          "kubernetes.azure.com/agentpool")  # fmt: skip


class Notice(NamedTuple):
    """How long before the end a cloud tells."""

    seconds: int
    cloud: str


SHORTEST_NOTICE = 30


def notice(key: str) -> Notice:
    """The notice behind a spot label or taint. Sources: EC2 interruption notices, GCE preemption, AKS spot."""
    if key.startswith("cloud.google.com/"):
        return Notice(SHORTEST_NOTICE, "Google")
    if key.startswith("kubernetes.azure.com/"):
        return Notice(SHORTEST_NOTICE, "Azure")
    return Notice(120, "AWS")


def spot_key(have: dict[str, str]) -> str:
    """The label that makes a node or nodeSelector spot; "" if none does."""
    if SPOT_KEYS.keys().isdisjoint(have):  # nearly every node and template
        return ""
    return next((key for key, value in SPOT_KEYS.items() if have.get(key) == value), "")


def asks_for_spot(template: Obj) -> tuple[str, str]:
    """(label or taint key, path) by which a pod template chooses spot; ("", "") if it does not.

    A toleration counts: where spot nodes are tainted it is what lets a pod on to them. One that
    tolerates everything says nothing about spot.
    """
    if key := spot_key(mapping(template, "spec", "nodeSelector")):
        return key, f"spec.template.spec.nodeSelector[{key}]"
    rules = mapping(template, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    for each in (each for term in items(rules, "nodeSelectorTerms") for each in items(term, "matchExpressions")):
        key, values = text(each, "key"), each.get("values") or []
        if key in SPOT_KEYS and each.get("operator") == "In" and SPOT_KEYS[key] in values:
            return key, "spec.template.spec.affinity.nodeAffinity"
        if key in SPOT_KEYS and each.get("operator") in ("NotIn", "DoesNotExist"):
            return "", ""  # it tolerates spot nodes, but keeps off them
    for each in items(template, "spec", "tolerations"):
        key = text(each, "key")
        if key in SPOT_KEYS and each.get("value", SPOT_KEYS[key]) in (SPOT_KEYS[key], ""):
            return key, "spec.template.spec.tolerations"
    return "", ""


@fact
def spot_nodes(snapshot: Snapshot) -> dict[str, Obj]:
    """Spot nodes by name."""
    return {
        name(node): node
        for node in snapshot.list(kinds.NODE)
        if is_spot(node)
        or spot_key(labels(node))
        or any(text(taint, "key") in SPOT_KEYS for taint in items(node, "spec", "taints"))
    }


@fact
def on_spot(snapshot: Snapshot) -> dict[Owner, list[Obj]]:
    """Pods bound to spot nodes, by their topmost controller."""
    found: dict[Owner, list[Obj]] = defaultdict(list)
    bound = pods_by_node(snapshot) if spot_nodes(snapshot) else {}
    for title in sorted(spot_nodes(snapshot)):
        for pod in bound.get(title, []):
            found[controller(snapshot, pod)].append(pod)
    return dict(found)


def owner_of(obj: Obj) -> Owner:
    return text(obj, "kind"), namespace(obj), name(obj)


def templates(obj: Obj) -> list[Obj]:
    """The pod templates of a workload object of any kind we know."""
    kind = text(obj, "kind")
    if kind == "CronJob":
        return [mapping(obj, "spec", "jobTemplate", "spec", "template")]
    if kind == "JobSet":
        jobs = items(obj, "spec", "replicatedJobs")
        return [mapping(each, "template", "spec", "template") for each in jobs]
    if kind == "LeaderWorkerSet":
        both = (mapping(obj, "spec", "leaderWorkerTemplate", each) for each in ("leaderTemplate", "workerTemplate"))
        return [each for each in both if each]
    return [mapping(obj, "spec", "template")]


def pool_of(node: Obj) -> tuple[str, str]:
    """(label key, name) of the node pool a node belongs to; ("", "") if it says none."""
    have = labels(node)
    return next(((key, str(have[key])) for key in _POOLS if key in have), ("", ""))


@fact
def spot_pools(snapshot: Snapshot) -> tuple[Obj, ...]:
    """Karpenter NodePools that may buy spot nodes."""
    return tuple(
        pool for pool in snapshot.list(kinds.NODE_POOL) if "spot" in required(pool, "karpenter.sh/capacity-type")
    )


def required(pool: Obj, key: str) -> list[str]:
    """The values a NodePool's requirements allow for a label; empty where they do not list them."""
    for each in items(pool, "spec", "template", "spec", "requirements"):
        values = each.get("values")
        if each.get("key") == key and each.get("operator") == "In" and isinstance(values, list):
            return [value for value in values if isinstance(value, str)]
    return []


@fact
def services(snapshot: Snapshot) -> tuple[Obj, ...]:
    """GPU workloads that answer requests: scaled, behind a Service, or an inference engine by name."""
    scaled = set()
    for kind in (kinds.SCALED_OBJECT, kinds.HPA):
        for each in snapshot.list(kind):
            target = mapping(each, "spec", "scaleTargetRef")
            scaled.add((text(target, "kind") or "Deployment", namespace(each), text(target, "name")))
    selectors: dict[str, list[Obj]] = defaultdict(list)
    for service in snapshot.list(kinds.SERVICE):
        if mapping(service, "spec", "selector"):
            selectors[namespace(service)].append(mapping(service, "spec", "selector"))
    found = []
    for kind in (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.LEADER_WORKER_SET):
        for obj in snapshot.list(kind):
            engine = any(_is_engine(template) for template in templates(obj))
            if not engine and not any(gpu_requests(template) for template in templates(obj)):
                continue
            behind = any(
                selects({"matchLabels": selector}, labels(template))
                for selector in selectors[namespace(obj)]
                for template in templates(obj)
            )
            if engine or behind or owner_of(obj) in scaled:
                found.append(obj)
    return tuple(found)


def _is_engine(template: Obj) -> bool:
    for _, container in containers(template):
        command = container.get("command")
        said = f"{text(container, 'image')} {command if isinstance(command, list) else ''}".lower()
        if any(engine in said for engine in _ENGINES):
            return True
    return False


class Batch(NamedTuple):
    """A job that may be reclaimed: the object a user changes, its Job-like spec and its pod template."""

    obj: Obj
    spec: Obj  # of the (first) Job: backoffLimit, podFailurePolicy
    template: Obj
    key: str  # the spot label or taint


@fact
def batches(snapshot: Snapshot) -> tuple[Batch, ...]:
    """Unfinished Jobs, CronJobs and JobSets that choose spot nodes or run on them; owned Jobs through their owner."""
    return tuple(
        Batch(obj, spec, template, key)
        for kind in (kinds.CRON_JOB, kinds.JOB_SET, kinds.JOB)
        for obj in snapshot.list(kind)
        if not owner(obj).get("kind") and not _ended(obj)
        for spec, template in _jobs(obj)[:1]
        if (key := asks_for_spot(template)[0] or _key_of_nodes(snapshot, owner_of(obj)))
    )


def _jobs(obj: Obj) -> list[tuple[Obj, Obj]]:
    kind = text(obj, "kind")
    if kind == "JobSet":
        specs = [mapping(each, "template", "spec") for each in items(obj, "spec", "replicatedJobs")]
        chosen = [spec for spec in specs if asks_for_spot(mapping(spec, "template"))[0]] or specs
        return [(spec, mapping(spec, "template")) for spec in chosen]
    spec = mapping(obj, "spec", "jobTemplate", "spec") if kind == "CronJob" else mapping(obj, "spec")
    return [(spec, mapping(spec, "template"))]


def _ended(obj: Obj) -> bool:
    conditions = items(obj, "status", "conditions")
    return any(
        each.get("type") in ("Complete", "Completed", "Failed") and each.get("status") == "True" for each in conditions
    )


def _key_of_nodes(snapshot: Snapshot, who: Owner) -> str:
    for pod in on_spot(snapshot).get(who, []):
        node = spot_nodes(snapshot)[text(pod, "spec", "nodeName")]
        return spot_key(labels(node)) or "karpenter.sh/capacity-type"
    return ""


def grace(template: Obj) -> int:
    """Seconds a pod is given to end; Kubernetes' default is 30."""
    seconds = get(template, "spec", "terminationGracePeriodSeconds")
    return seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else 30
