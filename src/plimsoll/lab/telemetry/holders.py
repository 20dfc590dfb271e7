"""Which container holds which GPU, as the kubelet's device manager would have decided.

A device once given stays with its container until the pod ends. New pods get the lowest free devices; shares of
GPUs are spread, the device with the fewest pods first, as the NVIDIA device plugin prefers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from plimsoll.kube.objects import Obj, items, mapping, name, namespace, text
from plimsoll.kube.pods import finished, is_gpu
from plimsoll.lab.telemetry.annotations import MEMORY, UTILISATION, amount
from plimsoll.lab.telemetry.devices import Device
from plimsoll.units import count, moment

UTILISED, FILLED = 0.7, 0.8  # of a running pod that does not say
_MOST = 1024  # devices that one container is given at most

Slot = tuple[int, int]  # index of the device, and which of its shares
Use = Callable[[Obj], float | None]


class Claim(msgspec.Struct, frozen=True):
    """What one container of a pod asks of one resource.

    key: unique and lasting. resource: unshared name. use, memory: share of each device it keeps busy and full, 0 while
    it does not run. since: when its pod started, seconds of the epoch.
    """

    key: str
    namespace: str
    pod: str
    container: str
    resource: str
    amount: int
    use: float
    memory: float
    since: float


def claims(pods: Iterable[Obj], use: Use = lambda _: None) -> list[Claim]:
    """What the pods of one node ask for, those that were made first first; pods that have ended ask for nothing.

    use: how busy a pod keeps its devices where it does not say it itself; None leaves it at the usual.
    """
    found = []
    for pod in pods:
        if not finished(pod):
            made = text(pod, "metadata", "creationTimestamp")
            found += [(made, each) for each in _claims(pod, use)]
    found.sort(key=lambda each: (each[0], each[1].namespace, each[1].pod, each[1].key))
    return [each for _, each in found]


def _claims(pod: Obj, use: Use) -> Iterable[Claim]:
    sidecars = [each for each in items(pod, "spec", "initContainers") if each.get("restartPolicy") == "Always"]
    for container in (*sidecars, *items(pod, "spec", "containers")):
        title = text(container, "name")
        for resource, wanted in sorted(mapping(container, "resources", "limits").items()):
            number = min(count(wanted), _MOST) if is_gpu(resource) else 0
            if number <= 0:
                continue
            running = _running(pod, title)
            said = use(pod) if running else None
            busy = amount(pod, UTILISATION, UTILISED if said is None else said, 1.0) if running else 0.0
            started = moment(text(pod, "status", "startTime")) or moment(text(pod, "metadata", "creationTimestamp"))
            yield Claim(
                f"{text(pod, 'metadata', 'uid') or name(pod)}/{title}/{resource}",
                namespace(pod),
                name(pod),
                title,
                resource.removesuffix(".shared"),
                number,
                busy,
                amount(pod, MEMORY, FILLED, 1.0) if running else 0.0,
                started.timestamp() if started else 0.0,
            )


def _running(pod: Obj, container: str) -> bool:
    """Whether a container runs now: one that waits to start or to be started again keeps its devices idle."""
    if text(pod, "status", "phase") != "Running":
        return False
    said = [*items(pod, "status", "containerStatuses"), *items(pod, "status", "initContainerStatuses")]
    state = next((mapping(each, "state") for each in said if text(each, "name") == container), {})
    return "running" in state or not state


def assign(
    devices: Sequence[Device], wanted: Sequence[Claim], before: Mapping[str, tuple[Slot, ...]]
) -> dict[str, tuple[Slot, ...]]:
    """The shares of devices that each claim holds, by its key; fewer than it asks for where there are no more.

    before: the same, as it was last.
    """
    given: dict[str, tuple[Slot, ...]] = {}
    taken: set[Slot] = set()
    for claim in wanted:
        kept = tuple(
            slot
            for slot in before.get(claim.key, ())
            if slot[0] < len(devices)
            and devices[slot[0]].resource == claim.resource
            and slot[1] < devices[slot[0]].replicas
            and slot not in taken
        )[: claim.amount]
        given[claim.key] = kept
        taken.update(kept)
    most = max((each.replicas for each in devices), default=0)
    for claim in wanted:
        lacking = claim.amount - len(given[claim.key])
        if lacking <= 0:
            continue
        free = [
            (index, share)
            for share in range(most)
            for index, device in enumerate(devices)
            if share < device.replicas and device.resource == claim.resource and (index, share) not in taken
        ][:lacking]
        given[claim.key] += tuple(free)
        taken.update(free)
    return given
