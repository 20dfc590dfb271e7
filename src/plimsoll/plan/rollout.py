"""The changes that are more than one request: a release of a chart, an object created anew, a namespace that goes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from plimsoll.errors import ClusterError
from plimsoll.kube import helm, kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Ref, labels, name
from plimsoll.kube.pods import finished
from plimsoll.plan.model import Chart
from plimsoll.plan.patience import patiently

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


def refuse_full(client: Client, namespace: str) -> None:
    """A namespace takes all that is in it along. Raises ClusterError while pods run or volumes are claimed in it."""
    pods = [each for each in client.list(kinds.POD, namespace) if not finished(each)]
    claims = client.list(kinds.PVC, namespace)
    if pods or claims:
        raise ClusterError(
            f"it still holds {len(pods)} running pods and {len(claims)} volume claims",
            where=f"Namespace/{namespace}",
            hint="empty it first: deleting it would delete them",
        )
