"""The changes that are more than one request: a release of a chart, an object created anew, a namespace that goes."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from plimsoll.errors import ClusterError
from plimsoll.kube import helm, kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, Ref, labels, name, owner, text
from plimsoll.kube.pods import finished
from plimsoll.plan.model import Chart
from plimsoll.plan.patience import patiently

# What nobody brings back once it is deleted, and what works for somebody.
_KEPT = (
    kinds.POD, kinds.PVC, kinds.JOB, kinds.CRON_JOB, kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET,
    kinds.SERVICE, kinds.SECRET,
)  # fmt: skip
_CLUSTERS_OWN = ("kubernetes.io/service-account-token", "helm.sh/release.v1")
_SETTLES, _PAUSE = 30.0, 1.0  # seconds
_UNFINISHED = ("pending-install", "pending-upgrade", "pending-rollback")


def release(client: Client, chart: Chart, place: Path, kubeconfig: Path) -> None:
    """Install or upgrade a chart.

    A Helm that was killed leaves a revision that is pending for good and refuses every other. We hold the lease of
    this platform, so it is nobody's at work: its record is taken away, and what it made is taken over.
    """
    selector = f"owner=helm,name={chart.name}"
    for secret in patiently(partial(client.list, kinds.SECRET, chart.namespace, labels=selector)):
        if labels(secret).get("status") in _UNFINISHED:
            patiently(partial(client.delete, kinds.SECRET, name(secret), chart.namespace))
    patiently(
        partial(
            helm.upgrade, place, name=chart.name, namespace=chart.namespace, values=chart.values, kubeconfig=kubeconfig
        )
    )


def replace(client: Client, ref: Ref, *, timeout: float) -> None:
    """Delete an object and wait until it is gone."""
    kind = f"{ref.api_version}/{ref.kind}"
    patiently(partial(client.delete, kind, ref.name, ref.namespace, propagation="Foreground"))
    gone(client, ref, timeout=timeout)


def gone(client: Client, ref: Ref, *, timeout: float) -> None:
    """Wait until an object is there no more. Raises NotYet."""
    kind = f"{ref.api_version}/{ref.kind}"
    patiently(partial(client.wait, kind, ref.name, ref.namespace, until=lambda obj: obj is None, timeout=timeout))


def refuse_used(client: Client, namespace: str, going: Collection[Ref]) -> None:
    """Before anything is deleted: raises ClusterError where a namespace would not be empty without what is `going`.

    Else its quota, its policies and its team's rights would be gone, and what somebody runs there would run on.
    """
    known = {(ref.kind, ref.name) for ref in going if ref.namespace == namespace}
    counts: dict[str, int] = {}
    for kind in _KEPT:
        found = patiently(partial(client.list, kind, namespace))
        # What has a controller goes with it, or is counted as what that controller acts on.
        held = [each for each in found if _somebodys(each) and not owner(each).get("controller")]
        if count := sum((kind.kind, name(each)) not in known for each in held):
            counts[kind.plural] = count
    if counts:
        raise _full(namespace, counts)


def refuse_full(client: Client, namespace: str) -> None:
    """A namespace takes all that is in it along. Raises ClusterError where somebody has something in it.

    What goes with things that were deleted just now has a moment for it.
    """
    end = monotonic() + _SETTLES
    while held := _held(client, namespace):
        if monotonic() > end:
            raise _full(namespace, held)
        sleep(_PAUSE)


def _full(namespace: str, counts: dict[str, int]) -> ClusterError:
    return ClusterError(
        f"it still holds {', '.join(f'{count} {plural}' for plural, count in counts.items())}",
        where=f"Namespace/{namespace}",
        hint="empty it first: deleting it would delete them",
    )


def _held(client: Client, namespace: str) -> dict[str, int]:
    """How much of each kind is there that is somebody's."""
    found = {kind.plural: patiently(partial(client.list, kind, namespace)) for kind in _KEPT}
    counts = {plural: sum(map(_somebodys, objects)) for plural, objects in found.items()}
    return {plural: count for plural, count in counts.items() if count}


def _somebodys(obj: Obj) -> bool:
    """Pods count whoever made them: of what asked for them we may not know the kind."""
    if finished(obj) or text(obj, "metadata", "deletionTimestamp") or text(obj, "type") in _CLUSTERS_OWN:
        return False
    return text(obj, "kind") == "Pod" or not owner(obj).get("controller")
