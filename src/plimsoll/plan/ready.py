"""Whether what was applied works: what its own controller says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, sleep

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import NotFound, NotYet
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, Ref, condition, get, number, text
from plimsoll.plan.patience import passes
from plimsoll.spec.values import Portion

Tell = Callable[[str], None]
_PAUSE = 0.5
_SHOWN = 3
# The condition by which a controller says that it acts on an object.
_CONDITIONS = {
    "CustomResourceDefinition": "Established",
    "ClusterQueue": "Active",
    "LocalQueue": "Active",
    "ScaledObject": "Ready",
}

# A queue that somebody has stopped works as they want it; one that hangs on another queue is waited for there.
_HELD = ("Stopped", "ClusterQueueIsInactive")


def waits(ref: Ref) -> bool:
    """Whether an object has a state that can be waited for."""
    return ref.kind in _CONDITIONS or ref.kind in ("Deployment", "StatefulSet", "DaemonSet", "ClusterPolicy")


def lacks(obj: Obj | None, ref: Ref) -> str:
    """What an object is still without, as a clause; "" if it works."""
    if obj is None:
        return "is not there"
    if ref.kind in ("Deployment", "StatefulSet"):
        return _replicas(obj)
    if ref.kind == "DaemonSet":
        return _daemon_set(obj)
    if ref.kind == "ClusterPolicy":
        state = text(obj, "status", "state")
        return "" if state == "ready" else f"is {state or 'not looked at yet'}"
    wanted = _CONDITIONS.get(ref.kind, "")
    found = condition(obj, wanted)
    seen = number(found, "observedGeneration") or number(obj, "status", "observedGeneration")
    if seen and seen < number(obj, "metadata", "generation"):
        return "is not looked at yet"
    if text(found, "status") == "True":
        return ""
    if text(found, "reason") in _HELD:
        return ""
    said = text(found, "message") or text(found, "reason")
    return f"is not {wanted}{f': {said}' if said else ''}"


def _replicas(obj: Obj) -> str:
    if number(obj, "status", "observedGeneration") < number(obj, "metadata", "generation"):
        return "is not looked at yet"
    replicas = get(obj, "spec", "replicas")
    wanted = replicas if isinstance(replicas, int) else 1
    updated, available = number(obj, "status", "updatedReplicas"), number(obj, "status", "availableReplicas")
    if updated < wanted or available < wanted:
        return f"has {min(updated, available)} of {wanted} pods available"
    return ""


def _daemon_set(obj: Obj) -> str:
    """As many nodes may be without it as its own rollout allows: of many nodes one is always on its way."""
    if number(obj, "status", "observedGeneration") < number(obj, "metadata", "generation"):
        return "is not looked at yet"
    wanted = number(obj, "status", "desiredNumberScheduled")
    allowed = get(obj, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
    spared = Portion.read(allowed).of(wanted) if isinstance(allowed, int | str) else 1
    updated, available = number(obj, "status", "updatedNumberScheduled"), number(obj, "status", "numberAvailable")
    if updated < wanted or available < wanted - min(spared, max(wanted - 1, 0)):
        return f"has {min(updated, available)} of {wanted} pods available"
    return ""


def wait(client: Client, refs: Iterable[Ref], *, timeout: float, tell: Tell | None = None) -> None:
    """Until all of them work. Raises NotYet with what they still lack."""
    open_ = {ref: "is not there" for ref in refs if waits(ref)}
    end = monotonic() + timeout
    while open_:
        for ref in list(open_):
            try:
                found = lacks(client.get(f"{ref.api_version}/{ref.kind}", ref.name, ref.namespace), ref)
            except NotFound:
                found = "is of a kind that the cluster does not serve"
            except ClusterError as error:
                if not passes(error):
                    raise
                found = error.what
            if found:
                open_[ref] = found
            else:
                del open_[ref]
        if not open_:
            return
        if tell:
            tell(_said(open_))
        if monotonic() > end:
            hint = "what is applied stays; run it again to go on, or look with `plimsoll check`"
            raise NotYet(f"waited {timeout:g} s in vain: {_said(open_)}", where="cluster", hint=hint)
        sleep(_PAUSE)


def _said(open_: dict[Ref, str]) -> str:
    shown = [f"{ref} {found}" for ref, found in list(open_.items())[:_SHOWN]]
    more = [f"and {len(open_) - _SHOWN} more"] if len(open_) > _SHOWN else []
    return "; ".join(shown + more)
