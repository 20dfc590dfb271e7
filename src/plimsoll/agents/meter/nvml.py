"""Readings of this node's GPUs and MIG instances from their driver, where no exporter runs.

How busy: from counters of Hopper and later (GPM), over the time between two rounds; else the driver's utilization of
its last sampling period, which is told of whole GPUs only. Whose: by numbers of processes, which are the node's own
only with hostPID; of MIG the driver tells the memory of processes and never their time.

What the driver does not tell is unknown, and said once. A GPU that it has lost is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from msgspec.structs import replace

from plimsoll.agents.meter.cgroups import Processes
from plimsoll.agents.meter.counters import Counters, ratios
from plimsoll.agents.meter.driver import Activity, Driver, DriverError, Handle, Lost, Unsaid, open_driver
from plimsoll.agents.meter.inventory import Gpu, Instance, holders, profile_in, profile_of
from plimsoll.agents.meter.reading import Pod, Reading
from plimsoll.agents.meter.sharers import MIB, Names, Sharers
from plimsoll.errors import IncompleteError

if TYPE_CHECKING:
    from plimsoll.agents.meter.podresources import Held

T = TypeVar("T")


class Found(NamedTuple):
    """A GPU and what to ask about it. parts: the MIG devices of each instance."""

    gpu: Gpu
    handle: Handle
    parts: dict[str, list[Handle]]


class Devices:
    """The GPUs of this node, read once a round.

    say: takes what could not be read, one line, once for each device and question. gpus: what the last round found.
    """

    def __init__(
        self,
        node: str,
        say: Callable[[str], None],
        *,
        driver: Callable[[], Driver] = open_driver,
        processes: Processes | None = None,
    ) -> None:
        self.gpus: tuple[Gpu, ...] = ()
        self._node, self._say, self._open = node, say, driver
        self._driver: Driver | None = None
        self._counters = Counters()
        self._sharers = Sharers(processes or Processes())
        self._said: set[tuple[str, str]] = set()

    def read(self, names: Names, held: Iterable[Held] = ()) -> list[Reading]:
        """All devices now. names: of pods by uid. held: what containers of this node hold, as the kubelet says.

        A cut GPU has a reading, and each of its instances, which says the GPU's watts and joules too.
        Errors: IncompleteError where the driver is away, the next round asks again; InputError without its bindings.
        """
        try:
            if self._driver is None:
                self._driver = self._open()
            return self._read(self._driver, names, held)
        except DriverError as error:
            self.close()
            raise IncompleteError(
                f"the GPU driver does not answer: {error}",
                where=self._node,
                hint="Is it loaded (nvidia-smi on the node), and its library mounted into this pod?",
            ) from None

    def close(self) -> None:
        if self._driver is not None:
            self._counters.free(self._driver)
            self._driver.close()
        self._driver = None
        self._sharers.forget()

    def _read(self, driver: Driver, names: Names, held: Iterable[Held]) -> list[Reading]:
        found: list[Found] = []
        for index in range(driver.count()):
            with self._present(index):
                found.append(self._find(driver, index))
        self.gpus = tuple(each.gpu for each in found)
        named = holders(held, self.gpus)
        visible = self._sharers.visible()
        if not visible:
            self._once("node", "processes", "what each pod did on shared GPUs is not known: that needs hostPID")
        readings: list[Reading] = []
        for each in found:
            with self._present(each.gpu.index):
                readings += self._gpu(driver, each, named, names if visible else None)
        self._counters.turn(driver)
        return readings

    # What there is

    def _find(self, driver: Driver, index: int) -> Found:
        """Raises Lost where the GPU is gone, Unsaid where it does not even tell its UUID."""
        handle = driver.device(index)
        uuid = driver.uuid(handle)
        ask = partial(self._told, uuid)
        cut = ask("", driver.cut, handle) is True
        parts: dict[str, list[Handle]] = {}
        for part in (ask("MIG devices", driver.parts, handle) or []) if cut else []:
            number = ask("instance of a MIG device", driver.instance, part)
            if number is not None:
                parts.setdefault(str(number), []).append(part)
        minor = ask("device file", driver.minor, handle)
        instances = tuple(self._instance(driver, uuid, handle, number, each) for number, each in parts.items())
        model = ask("model", driver.name, handle) or ""
        return Found(Gpu(uuid, index, index if minor is None else minor, model, cut, instances), handle, parts)

    def _instance(self, driver: Driver, gpu: str, handle: Handle, number: str, parts: Sequence[Handle]) -> Instance:
        ask = partial(self._told, gpu)
        uuids = (ask("UUID of a MIG device", driver.uuid, part) for part in parts)
        profile = profile_in(ask("", driver.name, parts[0]) or "")
        if not profile:
            slices, total = (
                ask("profile of a MIG device", driver.slices, parts[0]),
                ask("memory", driver.memory, handle),
            )
            profile = profile_of(*slices, total[1]) if slices and total else ""
        start = ask("", driver.start, handle, int(number))
        return Instance(number, profile, tuple(uuid for uuid in uuids if uuid), start)

    # What it says

    def _gpu(
        self, driver: Driver, found: Found, named: dict[tuple[str, str], tuple[Pod, ...]], names: Names | None
    ) -> list[Reading]:
        """names: None where processes cannot be told apart."""
        gpu, handle = found.gpu, found.handle
        ask = partial(self._told, gpu.uuid)
        milliwatts, millijoules = ask("power", driver.milliwatts, handle), ask("energy", driver.millijoules, handle)
        common = Reading(
            node=self._node, gpu=gpu.uuid, model=gpu.model,
            watts=None if milliwatts is None else milliwatts / 1000,
            joules=None if millijoules is None else millijoules / 1000,
        )  # fmt: skip
        if gpu.cut:
            whole = replace(common, cut=True, **self._memory(driver, gpu.uuid, handle))
            parts = [self._part(driver, common, found, each, named, names) for each in gpu.instances]
            return [whole, *parts]
        activity, waiting = self._activity(driver, gpu, handle, None)
        if activity is None and not waiting:
            percent = ask("utilization", driver.utilization, handle)
            activity = Activity(busy=percent)
        holding = named.get((gpu.uuid, ""), ())
        whole = replace(common, holders=holding, **ratios(activity), **self._memory(driver, gpu.uuid, handle))
        if names is None:
            return [whole]
        memory = ask("processes", driver.processes, handle)
        times = ask("time of processes", self._sharers.times, driver, gpu.uuid, handle)
        if memory is None:
            return [whole]
        return [replace(whole, shares=self._sharers.shares(memory, times, names, holding, whole.busy))]

    def _part(
        self, driver: Driver, common: Reading, found: Found, part: Instance,
        named: dict[tuple[str, str], tuple[Pod, ...]], names: Names | None,
    ) -> Reading:  # fmt: skip
        activity, _ = self._activity(driver, found.gpu, found.handle, part)
        handles = found.parts[part.id]
        holding = named.get((common.gpu, part.id), ())
        reading = replace(
            common, instance=part.id, profile=part.profile, holders=holding,
            **ratios(activity), **self._memory(driver, common.gpu, handles[0]),
        )  # fmt: skip
        if names is None:
            return reading
        memory: dict[int, int | None] = {}
        for each in handles:
            told = self._told(common.gpu, "processes of a MIG device", driver.processes, each)
            if told is None:
                return reading
            memory |= told
        return replace(reading, shares=self._sharers.shares(memory, None, names, holding, reading.busy))

    def _activity(
        self, driver: Driver, gpu: Gpu, handle: Handle, part: Instance | None
    ) -> tuple[Activity | None, bool]:
        """How busy it was since the last round; whether that is known only in the next."""
        if not self._told(gpu.uuid, "", driver.counts, handle):
            return None, False
        number = None if part is None else int(part.id)
        sample = self._told(gpu.uuid, "counters", driver.sample, handle, number)
        if sample is None:
            return None, False
        # An instance may get the number of one before it, but its MIG devices get UUIDs of their own.
        before = self._counters.keep((gpu.uuid, number, part.uuids if part else ()), sample)
        if before is None:
            return None, True
        return self._told(gpu.uuid, "activity", driver.between, before, sample), False

    def _memory(self, driver: Driver, gpu: str, handle: Handle) -> dict[str, float]:
        told = self._told(gpu, "memory", driver.memory, handle)
        return {"memory_mib": told[0] / MIB, "memory_total_mib": told[1] / MIB} if told else {}

    # How it is asked

    def _told(self, gpu: str, what: str, ask: Callable[..., T], *values: Any) -> T | None:
        """An answer, or None where the driver does not tell; `what` is then said, if it is given."""
        try:
            return ask(*values)
        except Unsaid as error:
            if what:
                self._once(gpu, what, f"the driver does not tell the {what}: {error}")
            return None

    @contextmanager
    def _present(self, index: int) -> Iterator[None]:
        """A GPU that goes while it is asked is left out of the round."""
        try:
            yield
        except (Lost, Unsaid) as error:
            self._once(f"GPU {index}", "gone", f"left out: {error}")
        else:
            self._said.discard((f"GPU {index}", "gone"))

    def _once(self, device: str, what: str, line: str) -> None:
        if (device, what) not in self._said:
            self._said.add((device, what))
            self._say(f"{device}: {line}")
