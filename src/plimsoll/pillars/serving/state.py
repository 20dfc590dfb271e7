"""How scaling and serving are doing: KEDA's own parts, triggers, and workloads without a ready replica."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import NamedTuple

from plimsoll.check.model import Case
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.nodes import capacity, gpu_nodes, may_explain, selected, untolerated
from plimsoll.kube.objects import Obj, annotations_of, condition, get, items, labels, mapping, name, namespace, text
from plimsoll.kube.pods import Trouble, events_of, finished, ready, trouble
from plimsoll.kube.served import Served, pods_of, served, target_token
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import moment

STARTING = timedelta(minutes=20)  # the slowest published vLLM cold starts on a warm node (1 to 11 minutes)
YOUNG = timedelta(minutes=3)  # controllers and schedulers need a moment


def young(case: Case, obj: Obj, least: timedelta = YOUNG) -> bool:
    """Whether an object was made so recently that it may still be starting; an unknown age counts as old."""
    made = moment(text(obj, "metadata", "creationTimestamp"))
    return case.now is not None and made is not None and case.now - made < least


def starting(case: Case, workload: Obj) -> bool:
    """Whether a workload that asks for replicas has none yet because it, or its youngest pod, was just made."""
    if not replicas(workload):
        return False
    pods = [pod for pod in pods_of(case.snapshot, workload) if not finished(pod)]
    known = [why for pod in pods if (why := trouble(pod))]
    if any(why.state in ("crash", "image", "unschedulable") for why in known):
        return young(case, workload)
    return young(case, workload) or any(young(case, pod) for pod in pods)


def unavailable(workload: Obj) -> bool | None:
    """Whether a workload has no available replica; None where its status was not read."""
    status = mapping(workload, "status")
    if "observedGeneration" not in status and "conditions" not in status:
        return None
    return not (get(status, "availableReplicas") or get(status, "readyReplicas"))


def replicas(workload: Obj) -> int:
    """How many replicas a workload asks for; absent means 1."""
    value = get(workload, "spec", "replicas")
    return value if isinstance(value, int) else 1


def first_trouble(snapshot: Snapshot, workload: Obj) -> tuple[Obj, Trouble] | None:
    """The pod of a workload that says most about why it is not ready: crashes first. None if no pod says anything."""
    order = ("crash", "image", "unschedulable", "waiting", "init", "unready")
    found = [(pod, said) for pod in pods_of(snapshot, workload) if (said := trouble(pod))]
    return min(found, key=lambda pair: (order.index(pair[1].state), name(pair[0])), default=None)


def pod_tokens(snapshot: Snapshot, workload: Obj) -> set[str]:
    return {f"pod/{namespace(pod)}/{name(pod)}" for pod in pods_of(snapshot, workload) if not finished(pod)}


def says(found: tuple[Obj, Trouble] | None) -> str:
    """A pod's trouble as a clause."""
    if found is None:
        return "it has no pod"
    pod, why = found
    last = why.message.strip().splitlines()[-1] if why.message.strip() else ""
    what = {"crash": "crashes", "image": "cannot pull its image", "unschedulable": "has no node"}.get(
        why.state, "is not ready"
    )
    detail = ": ".join(part for part in (why.reason, last) if part)
    return f"pod {name(pod)} {what}" + (f" ({brief(detail, 160)})" if detail else "")


class Down(NamedTuple):
    """A served workload that asks for replicas and has none ready."""

    what: Served
    first: tuple[Obj, Trouble] | None
    affects: frozenset[str]


@fact
def down(snapshot: Snapshot) -> dict[str, Down]:
    """Served workloads without a ready replica, by service token. One that is meant to be at 0 is not among them."""
    found = {}
    for each in served(snapshot):
        if replicas(each.obj) == 0 or unavailable(each.obj) is not True:
            continue
        pods = [pod for pod in pods_of(snapshot, each.obj) if not finished(pod)]
        if any(ready(pod) for pod in pods):
            continue  # its controller has not caught up
        affects = {each.token} | tokens(snapshot, each, pods)
        if queue := text(labels(each.obj), "kueue.x-k8s.io/queue-name"):
            affects.add(f"localqueue/{namespace(each.obj)}/{queue}")
        found[each.token] = Down(each, first_trouble(snapshot, each.obj), frozenset(affects))
    return found


def tokens(snapshot: Snapshot, what: Served, pods: list[Obj]) -> set[str]:
    """What some pods of a workload that are not ready affect: themselves, and the nodes that may be why."""
    found = {f"pod/{namespace(pod)}/{name(pod)}" for pod in pods}
    found |= {f"node/{bound}" for pod in pods if (bound := _shaky_node(snapshot, pod))}
    if any(not text(pod, "spec", "nodeName") for pod in pods):
        found |= {f"node/{each}" for each in _homes(snapshot, what)}
    return found


def _shaky_node(snapshot: Snapshot, pod: Obj) -> str:
    """The node a pod is bound to where it may be why the pod is not ready; else ""."""
    bound, why = text(pod, "spec", "nodeName"), trouble(pod)
    return bound if bound and why and may_explain(snapshot.get(kinds.NODE, bound), why) else ""


def _homes(snapshot: Snapshot, what: Served) -> list[str]:
    """The GPU nodes a workload's pods may run on."""
    tolerations = items(what.template, "spec", "tolerations")
    return [
        name(node)
        for node in gpu_nodes(snapshot)
        if selected(node, what.template)
        and not untolerated(node, tolerations, daemon=True)
        and (any(resource in capacity(node) for resource in what.gpus) or not capacity(node))
    ]


class Broken(NamedTuple):
    """Why a ScaledObject does not scale.

    kind: target | address | bounds | parameter | dns | connect | auth | multiple | query | empty | server | other.
    """

    kind: str
    message: str
    path: str  # of the condition; "" where only the trigger itself shows it


_KINDS = (
    ("target", r"scaleTargetRef|target resource|the server could not find the requested resource"),
    ("address", r"serverAddress"),
    ("bounds", r"Min/Max Replica Counts|ReplicaCount=\d+ must be"),
    ("parameter", r"missing required parameter|error parsing .* metadata|unable to parse"),
    ("multiple", r"multiple elements"),
    ("empty", r"may be lost|result is empty|value list is empty|query returns \S*(NaN|Inf)"),
    ("auth", r"status: 40[13]|unauthori[sz]ed|forbidden|x509|certificate|permission denied|authentication"),
    ("query", r"status: 4(00|22)|parse error|bad_data|invalid expression"),
    ("server", r"status: (404|429|5\d\d)"),
    ("dns", r"no such host|\blookup \S+"),
    ("connect", r"connection refused|connection reset|i/o timeout|deadline exceeded|no route to host|unreachable|EOF"),
)
_WHEN = (("lastTimestamp",), ("series", "lastObservedTime"), ("eventTime",), ("metadata", "creationTimestamp"))


def paused(scaled: Obj) -> bool:
    """Whether somebody has told KEDA to leave a ScaledObject's replicas alone."""
    have = annotations_of(scaled)
    stopped = str(have.get("autoscaling.keda.sh/paused", "false")).lower() != "false"
    return stopped or "autoscaling.keda.sh/paused-replicas" in have or _is(scaled, "Paused", "True")


def _is(obj: Obj, type_: str, status: str) -> bool:
    return condition(obj, type_).get("status") == status


def addressless(scaled: Obj) -> int | None:
    """The index of a Prometheus trigger that names no server, or None."""
    for index, trigger in enumerate(items(scaled, "spec", "triggers")):
        if trigger.get("type") == "prometheus" and not text(trigger, "metadata", "serverAddress").strip():
            return index
    return None


def broken_trigger(snapshot: Snapshot, scaled: Obj) -> Broken | None:
    """Why a ScaledObject does not scale, or None if it does, is paused, or has not been looked at yet."""
    if paused(scaled):
        return None
    said = condition(scaled, "Ready")
    failing = said.get("status") == "False" or (
        said.get("status") == "Unknown" and "PartialTriggerError" in said.values()
    )
    if not failing:
        without = addressless(scaled)
        if without is None or said.get("status") == "True":
            return None
        return Broken("address", f"trigger {without} names no serverAddress", "")
    message, last = text(said, "message"), _last_failure(snapshot, scaled)
    for text_ in (message, last):
        for kind, pattern in _KINDS:
            if re.search(pattern, text_, re.IGNORECASE):
                return Broken(kind, text_, "status.conditions[Ready]")
    if addressless(scaled) is not None:
        return Broken("address", message, "status.conditions[Ready]")
    return Broken("other", last or message, "status.conditions[Ready]")


def _last_failure(snapshot: Snapshot, scaled: Obj) -> str:
    """What KEDA's newest warning about a ScaledObject says; "" if there is none."""

    def when(event: Obj) -> str:
        return next((said for path in _WHEN if (said := text(event, *path))), "")

    warnings = [event for event in events_of(snapshot, scaled) if event.get("type") == "Warning"]
    failures = [event for event in warnings if event.get("reason") != "ScaledObjectCheckFailed"] or warnings
    return text(max(failures, key=when, default={}), "message")


def scaling_services(snapshot: Snapshot) -> set[str]:
    """Tokens of the services KEDA scales, less those that are down for a reason of their own."""
    return {target_token(each) for each in snapshot.list(kinds.SCALED_OBJECT)} - set(down(snapshot))
