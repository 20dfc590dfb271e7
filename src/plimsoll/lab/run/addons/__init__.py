"""What can be put on the control plane, each as its users install it: chart or manifests unmodified, then the program.

An add-on's `declare` puts its objects into the cluster; its `start` runs the program that plays its pods.
All are declared before any is started: a webhook whose program does not run yet would refuse the objects of the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from plimsoll.lab.run.addons import crds, gpu_operator, keda, kueue, prometheus
from plimsoll.lab.run.cluster import Cluster


class Addon(msgspec.Struct, frozen=True):
    """One add-on, two steps; without `start` nothing runs for it."""

    declare: Callable[[Cluster], Awaitable[None]]
    start: Callable[[Cluster], Awaitable[None]] | None = None


BY_NAME = {
    "crds": Addon(crds.declare),
    "gpu-operator": Addon(gpu_operator.declare, gpu_operator.start),
    "keda": Addon(keda.declare, keda.start),
    "prometheus": Addon(prometheus.declare, prometheus.start),
    "kueue": Addon(kueue.declare, kueue.start),
}
"""In the order they are declared. Kueue is last: its webhooks refuse Deployments until it runs."""
