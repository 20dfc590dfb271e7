"""What can be put on the control plane, each as its users install it: chart or manifests unmodified, then the program.

An add-on's `declare` puts its objects into the cluster; its `start` runs the program that plays its pods. A program
of a chart is `followed`: it runs as its Deployment says, whoever installed that.
All are declared before any is started: a webhook whose program does not run yet would refuse the objects of the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from plimsoll.lab.run.addons import crds, gpu_operator, keda, kueue, prometheus
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.follow import Followed


class Addon(msgspec.Struct, frozen=True):
    """One add-on. Nothing runs for one that has neither `start` nor `followed`."""

    declare: Callable[[Cluster], Awaitable[None]]
    start: Callable[[Cluster], Awaitable[None]] | None = None
    followed: Followed | None = None


BY_NAME = {
    "crds": Addon(crds.declare),
    "gpu-operator": Addon(gpu_operator.declare, followed=gpu_operator.FOLLOWED),
    "keda": Addon(keda.declare, keda.start),
    "prometheus": Addon(prometheus.declare, prometheus.start),
    "kueue": Addon(kueue.declare, followed=kueue.FOLLOWED),
}
"""In the order they are declared. Kueue is last: its webhooks refuse Deployments until it runs."""
