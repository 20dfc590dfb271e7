"""Faults that cost nothing until the day they do: jobs and programs on spot nodes, and pods that own their node."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.kube.nodes import is_spot
from plimsoll.kube.objects import Obj, annotations_of, items, labels, mapping, name, namespace, number, text
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.queues import CLUSTER_QUEUE, FLAVOR
from plimsoll.lab.faults.work import GPU, NAME

_SPOT = "eks.amazonaws.com/capacityType"
_KUEUE, _QUEUE = "kueue.x-k8s.io/", "kueue.x-k8s.io/queue-name"
_MONITOR = (work.DEPLOYMENT, "prometheus", "monitoring")
_ENFORCE = "pod-security.kubernetes.io/enforce"

Change = Callable[[Obj], None]


def _model(hands: Hands) -> Obj:
    """The first Job that chooses spot nodes and comes through a queue."""
    found = [
        each for each in hands.client.list(work.JOB)
        if _SPOT in str(items(each, "spec", "template", "spec", "tolerations")) and labels(each).get(_QUEUE)
    ]  # fmt: skip
    return operands.first(hands, sorted(found, key=work.key), "a Job that chooses spot nodes")


def _batch(id_: str, title: str, how: Change) -> Fault:
    """Another job like the one on spot, of one GPU, that somebody has changed. how: changes the spec of the Job."""

    def inject(hands: Hands) -> None:
        model = _model(hands)
        template = model["spec"]["template"]
        pod = {key: value for key, value in template["spec"].items() if key != "nodeSelector"}
        for each in pod["containers"]:
            for side in ("requests", "limits"):
                each["resources"][side][GPU] = "1"
        notes = {key: value for key, value in annotations_of(template).items() if not key.startswith(_KUEUE)}
        kept = ("backoffLimit", "parallelism", "completions", "completionMode", "podFailurePolicy")
        spec = {each: model["spec"][each] for each in kept if each in model["spec"]}
        spec["template"] = {"metadata": {"labels": {"app": NAME}, "annotations": notes}, "spec": pod}
        how(spec)
        meta = {"name": NAME, "namespace": namespace(model), "labels": {_QUEUE: labels(model)[_QUEUE]}}
        hands.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})

    def shown(hands: Hands) -> bool:
        there = [text(each, "spec", "nodeName") for each in work.pods_of(hands, namespace(_model(hands)))]
        return any(node and is_spot(hands.get("v1/Node", node)) for node in there)

    return Fault(id=id_, title=title, where="pod", inject=inject, shown=shown)


def _slow(spec: Obj) -> None:
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = 900


def _countable(spec: Obj) -> None:
    spec.pop("podFailurePolicy", None)


def _in_place(spec: Obj) -> None:
    """Restarted in its pod; the API then takes no podFailurePolicy."""
    _countable(spec)
    spec["template"]["spec"]["restartPolicy"] = "OnFailure"


def _forgetful(spec: Obj) -> None:
    for each in spec["template"]["spec"]["containers"]:
        each["env"] = []


def _local(spec: Obj) -> None:
    """Checkpoints go to the pod's own scratch volume."""
    for each in spec["template"]["spec"]["containers"]:
        each["env"] = [{"name": "CHECKPOINT_PATH", "value": "/tmp/checkpoints"}]  # noqa: S108  a volume of the pod


def _held(hands: Hands) -> None:
    """A disruption budget that lets no pod of the job on spot go."""
    job = _model(hands)
    own = {"batch.kubernetes.io/job-name": name(job)}
    meta = {"name": f"keep-{name(job)}", "namespace": namespace(job)}
    spec = {"minAvailable": number(job, "spec", "parallelism"), "selector": {"matchLabels": own}}
    hands.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})


def _is_held(hands: Hands) -> bool:
    job = _model(hands)
    found = hands.get("policy/v1/PodDisruptionBudget", f"keep-{name(job)}", namespace(job))
    return number(found, "status", "expectedPods") > 0 and not number(found, "status", "disruptionsAllowed")


def _mixed(hands: Hands) -> Obj:
    """The first ClusterQueue that gives whole GPUs on spot nodes and on others."""
    spot = {name(each) for each in hands.client.list(FLAVOR) if _SPOT in str(items(each, "spec", "nodeTaints"))}
    found = sorted(hands.client.list(CLUSTER_QUEUE), key=name)
    fit = [each for each in found if any({*_order(group)} & spot and {*_order(group)} - spot
                                         for group in items(each, "spec", "resourceGroups"))]  # fmt: skip
    return operands.first(hands, fit, "a ClusterQueue with a spot flavor and others")


def _order(group: Obj) -> list[str]:
    return [text(each, "name") for each in items(group, "flavors")]


def _dear_first(hands: Hands) -> None:
    """The flavors are sorted by name."""

    def how(queue: Obj) -> None:
        for group in items(queue, "spec", "resourceGroups"):
            group["flavors"].sort(key=lambda each: str(each["name"]))

    hands.change(CLUSTER_QUEUE, name(_mixed(hands)), how)


def _sorted(hands: Hands) -> bool:
    groups = items(_mixed(hands), "spec", "resourceGroups")
    return all(_order(group) == sorted(_order(group)) for group in groups)


def _moved(hands: Hands) -> None:
    """Prometheus is moved to spot nodes, to save money."""

    def how(deployment: Obj) -> None:
        pod = deployment["spec"]["template"]["spec"]
        pod["nodeSelector"] = {_SPOT: "SPOT"}
        spot = {"key": _SPOT, "operator": "Exists", "effect": "NoSchedule"}
        pod["tolerations"] = [*items(pod, "tolerations"), spot, *work.TOLERATIONS]

    kind, title, here = _MONITOR
    hands.change(kind, title, how, here)


def _stands_on_spot(hands: Hands) -> bool:
    kind, title, here = _MONITOR
    found = hands.get(kind, title, here)
    tags = mapping(found, "spec", "selector", "matchLabels")
    pods = hands.client.list("v1/Pod", here, labels=",".join(f"{key}={value}" for key, value in tags.items()))
    nodes = [text(each, "spec", "nodeName") for each in pods]
    moved = bool(nodes) and all(node and is_spot(hands.get("v1/Node", node)) for node in nodes)
    return moved and number(found, "status", "readyReplicas") == number(found, "spec", "replicas")


def _owning(id_: str, title: str, how: Change) -> Fault:
    """A pod with a GPU that is given what Pod Security refuses: somebody has lifted it for a moment. how: changes the
    pod's spec."""

    def inject(hands: Hands) -> None:
        here = work.space(hands)
        hands.change("v1/Namespace", here, {"metadata": {"labels": {_ENFORCE: "privileged"}}})
        pods = work.template({GPU: "1"})
        how(pods["spec"])
        work.deploy(hands, here, pods)
        operands.until(lambda: work.running(hands, here), "the pod runs")
        hands.change("v1/Namespace", here, {"metadata": {"labels": {_ENFORCE: "restricted"}}})

    def shown(hands: Hands) -> bool:
        return work.running(hands, f"{NAME}-{hands.fault.lower()}")

    return Fault(id=id_, title=title, where="pod", inject=inject, shown=shown)


def _privileged(pod: Obj) -> None:
    pod["containers"][0]["securityContext"] = {"privileged": True}


def _shares(pod: Obj) -> None:
    pod["hostIPC"] = True


def _mounts(path: str) -> Change:
    def how(pod: Obj) -> None:
        pod["volumes"] = [{"name": "host", "hostPath": {"path": path}}]
        pod["containers"][0]["volumeMounts"] = [{"name": "host", "mountPath": "/host"}]

    return how


FAULTS: tuple[Fault, ...] = (
    _batch("S03", "a job on spot wants more time to end than the cloud gives", _slow),
    Fault(
        id="S06",
        title="a disruption budget keeps a job's pods on a spot node until it is gone",
        where="pod",
        inject=_held,
        shown=_is_held,
    ),
    _batch("S11", "a job on spot counts a reclaimed node as a failure of its own", _countable),
    _batch("S12", "a job on spot restarts its containers, and cannot tell a reclaimed node from a failure", _in_place),
    _batch("S16", "a job on spot says nothing of checkpoints", _forgetful),
    _batch("S17", "a job on spot keeps its checkpoints on a volume that goes with its node", _local),
    Fault(
        id="S22",
        title="a ClusterQueue tries on-demand nodes before spot",
        where="queue",
        inject=_dear_first,
        shown=_sorted,
    ),
    Fault(
        id="S30",
        title="what measures the cluster stands on spot nodes alone",
        where="cluster",
        inject=_moved,
        shown=_stands_on_spot,
    ),
    _owning("POD-01", "a pod with a GPU is privileged", _privileged),
    _owning("POD-03", "a pod with a GPU shares its node's memory between processes", _shares),
    _owning("POD-07", "a pod with a GPU keeps files on its node's disk", _mounts("/data/cache")),
    _owning("DEV-08", "a pod with a GPU mounts the devices of its node", _mounts("/dev")),
)
