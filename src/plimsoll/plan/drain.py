"""Nodes that are given another partition: emptied of GPU pods first, changed, and opened again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from time import monotonic, sleep

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import AnswerError, NotYet
from plimsoll.kube.client import Client
from plimsoll.kube.objects import MANAGER, Obj, Ref, annotations_of, get, items, labels, mapping, name, namespace, text
from plimsoll.kube.pods import finished, gpu_requests
from plimsoll.plan.patience import passes, patiently
from plimsoll.plan.result import Item

Tell = Callable[[str], None]
CORDONED = "plimsoll.dev/cordoned"  # annotation: closed by us, to be opened by us
_NODE = "v1/Node"
_MIG, _STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
_PAUSE = 1.0


def relabel(client: Client, item: Item, *, drain: bool, timeout: float, tell: Tell) -> None:
    """Give a node its labels. A disruptive change of one with GPU pods is refused without `drain`.

    timeout: seconds for its pods to go, and again for the change. Raises ClusterError, NotYet.
    """
    node = item.ref.name
    wanted = mapping(item.obj, "metadata", "labels")
    closed = False
    if item.disruptive and (held := _holders(client, node)):
        if not drain:
            raise refused(node, [Ref.of(each) for each in held])
        _close(client, node)
        closed = True
        _empty(client, node, timeout, tell)
    marks: dict[str, str | None] = dict(wanted)
    if _MIG in wanted:
        marks[_STATE] = None  # so that the state read next is that of this change
    patiently(partial(client.patch, _NODE, node, {"metadata": {"labels": marks}}, manager=MANAGER))
    if closed:
        reopen(client, node, timeout=timeout, tell=tell)


def refused(node: str, pods: list[Ref]) -> ClusterError:
    """Why a node with GPU pods stays as it is without --drain."""
    return ClusterError(
        f"its GPUs are to be cut anew, and {_named(pods)} hold them",
        where=f"Node/{node}",
        hint="--drain evicts them first, within their disruption budgets; or wait until they end",
    )


def left_closed(client: Client) -> list[str]:
    """Nodes that an apply has closed and not opened again, because it was ended in between."""
    return [name(each) for each in client.list(_NODE) if CORDONED in annotations_of(each)]


def reopen(client: Client, node: str, *, timeout: float, tell: Tell) -> None:
    """Open a node that we closed, once its partition is as its labels ask. Raises NotYet, and leaves it closed."""
    end = monotonic() + timeout
    while True:
        found = patiently(partial(client.get, _NODE, node))
        if found is None:
            return
        state, wanted = labels(found).get(_STATE, ""), labels(found).get(_MIG, "")
        if not wanted or state == "success":
            break
        if state == "failed" or monotonic() > end:
            raise NotYet(
                f"MIG layout {wanted} is {state or 'not looked at'}; the node stays closed",
                where=f"Node/{node}",
                hint="`plimsoll check` names the cause; run apply again when it is mended",
            )
        tell(f"node {node}: MIG layout {wanted} is {state or 'not looked at yet'}")
        sleep(_PAUSE)
    body = {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}
    patiently(partial(client.patch, _NODE, node, body, manager=MANAGER))


def _close(client: Client, node: str) -> None:
    """Nothing if somebody else has closed it: then it stays closed when we are done."""
    found = patiently(partial(client.get, _NODE, node)) or {}
    if get(found, "spec", "unschedulable") is True:
        return
    body = {"metadata": {"annotations": {CORDONED: "true"}}, "spec": {"unschedulable": True}}
    patiently(partial(client.patch, _NODE, node, body, manager=MANAGER))


def _holders(client: Client, node: str) -> list[Obj]:
    found = patiently(partial(client.list, "v1/Pod", fields=f"spec.nodeName={node}"))
    return [each for each in found if gpu_requests(each) and not finished(each) and not _of_daemon(each)]


def _of_daemon(pod: Obj) -> bool:
    return any(each.get("kind") == "DaemonSet" for each in items(pod, "metadata", "ownerReferences"))


def _empty(client: Client, node: str, timeout: float, tell: Tell) -> None:
    """Evict until no pod holds a GPU there; budgets are kept, so it may take until they allow it."""
    end = monotonic() + timeout
    first: set[str] | None = None
    while held := _holders(client, node):
        first = first or {text(each, "metadata", "uid") for each in held}
        if back := [each for each in held if text(each, "metadata", "uid") not in first and _ignores_closing(each)]:
            raise ClusterError(
                f"{_named([Ref.of(each) for each in back])} came to the closed node; the node stays closed",
                where=f"Node/{node}",
                hint="pods that tolerate every taint come back whenever they are evicted: scale what makes them to 0",
            )
        for pod in held:
            if not text(pod, "metadata", "deletionTimestamp"):
                _evict(client, pod)
        said = _named([Ref.of(each) for each in held])
        tell(f"node {node}: waiting for {said}")
        if monotonic() > end:
            raise NotYet(
                f"{said} did not leave within {timeout:g} s; the node stays closed",
                where=f"Node/{node}",
                hint="a disruption budget or a long goodbye holds them; run apply again to go on",
            )
        sleep(_PAUSE)


def _ignores_closing(pod: Obj) -> bool:
    """Whether the scheduler puts a pod on a node that takes none."""
    return any(
        each.get("key") in (None, "", "node.kubernetes.io/unschedulable")
        and each.get("effect") in (None, "", "NoSchedule")
        for each in items(pod, "spec", "tolerations")
    )


def _evict(client: Client, pod: Obj) -> None:
    """Ask once; what passes is asked again in the next round. Not of a pod that has come anew under the same name."""
    path = client.path("v1/Pod", name(pod), namespace(pod), "eviction")
    meta = {"name": name(pod), "namespace": namespace(pod)}
    options = {"preconditions": {"uid": text(pod, "metadata", "uid")}}
    try:
        client.post(path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options})
    except ClusterError as refusal:
        gone = isinstance(refusal, AnswerError) and refusal.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
        if not (gone or passes(refusal)):  # 429: a PodDisruptionBudget forbids it now
            raise


def _named(found: list[Ref]) -> str:
    shown = ", ".join(map(str, found[:3]))
    return f"{shown} and {len(found) - 3} more" if len(found) > 3 else shown
