"""What each pod did on a device that several may hold: from the driver's list of processes, and whose each is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from plimsoll.agents.meter.cgroups import Processes
from plimsoll.agents.meter.driver import Driver, Handle, Ran
from plimsoll.agents.meter.reading import Pod, Share

MIB = 1 << 20
_BUSY = 0.02  # a device this busy whose holders show nothing: whoever did it was not seen
Names = Callable[[str], Pod | None]  # of pods by uid; None for one that is not known


class Sharers:
    """Kept between rounds for the moment up to which each GPU has told what its processes did."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._told: dict[str, int] = {}

    def visible(self) -> bool:
        return self._processes.visible()

    def times(self, driver: Driver, gpu: str, handle: Handle) -> dict[int, float] | None:
        """Percent of the time since the last round in which each process ran; None in the first round.

        Where the driver keeps no samples of a process, it ran not at all. At times it gives rubbish among them.
        """
        before = self._told.get(gpu)
        ran = [each for each in driver.ran(handle, before or 0) if 0 <= each.percent <= 100 and each.at > (before or 0)]
        self._told[gpu] = max([before or 0, *(each.at for each in ran)])
        return None if before is None else _means(ran)

    def forget(self) -> None:
        self._told = {}

    def shares(
        self,
        memory: dict[int, int | None],
        times: dict[int, float] | None,
        names: Names,
        holders: Sequence[Pod],
        busy: float | None,
    ) -> tuple[Share, ...]:
        """By pod, in order of names. memory, times: by process, bytes and percent. busy: of the device, 0 to 1.

        Of a device with holders nobody else has a share: a daemon through which they use it (MPS) is no holder. One
        without a process has a share of nothing, unless there are processes of a pod that is not known (yet).
        times None: how busy each was is not known.
        """
        pods: dict[Pod, list[int]] = {}
        known = True
        for pid in sorted({*memory, *(times or {})}):
            owner = self._processes.owner(pid)
            pod = names(owner.pod) if owner else None
            known = known and (owner is None or pod is not None)
            if pod is not None and (pod in holders or not holders):
                pods.setdefault(pod, []).append(pid)
        if known:
            pods |= {pod: [] for pod in holders if pod not in pods}
        spent = {pod: sum((times or {}).get(pid, 0.0) for pid in pids) / 100 for pod, pids in pods.items()}
        if times is None or ((busy or 0) > _BUSY and not any(spent.values())):
            return tuple(Share(pod, None, _mib(memory, pids)) for pod, pids in sorted(pods.items()))
        return tuple(Share(pod, min(spent[pod], 1.0), _mib(memory, pids)) for pod, pids in sorted(pods.items()))


def _mib(memory: dict[int, int | None], pids: Iterable[int]) -> float | None:
    """The memory of processes together; None if it is not told of one. One that has ended has none."""
    took = [memory.get(pid, 0) for pid in pids]
    return None if None in took else sum(each or 0 for each in took) / MIB


def _means(ran: Sequence[Ran]) -> dict[int, float]:
    each: dict[int, list[int]] = {}
    for one in ran:
        each.setdefault(one.pid, []).append(one.percent)
    return {pid: sum(percents) / len(percents) for pid, percents in each.items()}
