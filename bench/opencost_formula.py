"""The allocation formula of OpenCost, written after its specification and what its source did at commit 5f653330.

    cost of a pod = hours × (GPUs asked for × GPU price + cores × core price + GiB × GiB price)

- Hours are those between the first and the last sample at which a pod of that name ran, by
  `kube_pod_container_status_running` on a grid of 300 s by default; a single sample counts one step of the grid. What
  was never sampled costs nothing, nor does the time in which a pod was scheduled and did not run yet.
- GPUs are what was asked for as `nvidia.com/gpu`, however much of a card that is; no other name is known.
- Where no price per GPU is set, the price of the node is divided by its default prices of a core, a GiB and a GPU.

What is left out: usage above what was asked for, storage, network, discounts, and that Prometheus scrapes at its own
moments. Later versions differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

HOUR = 3_600_000
GPU = "nvidia.com/gpu"
DEFAULTS = (Fraction("0.031611"), Fraction("0.004237"), Fraction("0.95"))  # core, GiB and GPU in configs/aws.json


@dataclass(frozen=True)
class Machine:
    """A node as the formula sees it, at list price. per_hour: micro-units. gpu_price: of one GPU, if that is set."""

    per_hour: int
    gpus: int
    cores: int = 192
    gib: int = 2048
    gpu_price: int | None = None

    def prices(self) -> tuple[Fraction, Fraction, Fraction]:
        """Of a core, a GiB and a GPU for an hour, micro-units."""
        if self.gpu_price is not None:  # the node's whole price on its GPUs: cores and memory are set to nothing
            return Fraction(0), Fraction(0), Fraction(self.gpu_price)
        core, gib, gpu = DEFAULTS
        unit = self.per_hour / (core * self.cores + gib * self.gib + gpu * self.gpus)
        return core * unit, gib * unit, gpu * unit


@dataclass(frozen=True)
class Asked:
    """A pod: what it asked for, and when its containers ran. Two of one name are one to the formula."""

    name: str
    machine: Machine
    ran: int
    ended: int
    requests: dict[str, int] = field(default_factory=dict)
    cores: int = 0
    gib: int = 0

    def rate(self) -> Fraction:
        """Micro-units an hour."""
        core, gib, gpu = self.machine.prices()
        return self.cores * core + self.gib * gib + self.requests.get(GPU, 0) * gpu


def hours(runs: Iterable[tuple[int, int]], began: int, ended: int, step: int) -> Fraction:
    """Hours that the samples of these intervals make, in a window, on a grid of `step` milliseconds."""
    first = -(-began // step) * step
    seen = [at for at in range(first, ended + 1, step) if any(start <= at < stop for start, stop in runs)]
    if not seen:
        return Fraction(0)
    start, stop = seen[0], seen[-1]
    if start == stop:
        start, stop = start - step // 2, stop + step // 2
    return Fraction(min(stop, ended) - max(start, began), HOUR)


def allocate(pods: Iterable[Asked], began: int, ended: int, step: int = 300_000) -> dict[str, Fraction]:
    """Micro-units by the name of a pod."""
    named: dict[str, list[Asked]] = defaultdict(list)
    for pod in pods:
        named[pod.name].append(pod)
    return {
        name: hours([(pod.ran, pod.ended) for pod in alike], began, ended, step) * alike[0].rate()
        for name, alike in named.items()
    }
