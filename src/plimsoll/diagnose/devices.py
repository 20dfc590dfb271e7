"""Signals of devices from Prometheus: who held them, where no ledger says it, and what they did in detail."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from statistics import fmean, median
from typing import NamedTuple

from plimsoll.cost.sample import IDLE, WHOLE, parts
from plimsoll.cost.window import Window
from plimsoll.diagnose.grid import Asker, Grid, Values, known, quantile, unevenness
from plimsoll.diagnose.held import Held
from plimsoll.diagnose.model import MINUTE, MINUTES_MIN, Value
from plimsoll.diagnose.queries import DEVICE, DEVICE_RATES, HOLDERS, OWNERS, filled, slowed
from plimsoll.gpus import catalogue

SOURCE = "prometheus"
UNDER_LOAD = 0.5  # use from which the clock of a GPU says how fast it is
_ALIKE_MIN = 3  # GPUs of which one can be slower than the others
_MEMORY_FAULT = 31  # Xid
_CRON = re.compile(r"(.+)-\d{8,10}")
_HASH = re.compile(r"(.+)-[a-z0-9]{5,10}")

Device = tuple[str, str]  # UUID of the whole GPU, number of the instance
Series = dict[Device, tuple[dict[str, str], Values]]


class Gpu(NamedTuple):
    """What is known of a GPU. workload: the one that held it longest. alike: its job had enough GPUs to compare it."""

    workload: str
    alike: bool
    values: dict[str, Value]


def device_of(labels: Mapping[str, str]) -> Device | None:
    uuid = labels.get("UUID", "")
    return (uuid, labels.get("GPU_I_ID", "")) if uuid else None


class Devices:
    """The series of every device over a window, asked for one metric at a time."""

    def __init__(self, asker: Asker, window: Window) -> None:
        self.grid = Grid.of(window)
        self.window = window
        self._asker = asker
        self.series: dict[str, Series] = {name: self._ask(query) for name, query in DEVICE.items()}
        span = f"{max(300, round(2 * self.grid.step))}s"
        for name, metric in DEVICE_RATES.items():
            self.series[name] = self._ask(slowed(metric, span))

    def _ask(self, query: str) -> Series:
        return {(key[0], key[1]): found for key, found in self._asker.ranged(query, self.grid, device_of).items()}

    def _of(self, name: str, row: Held) -> list[float]:
        """The values of a metric while a pod held a device."""
        found = self.series[name].get((row.uuid, row.instance))
        return known(found[1][self.grid.part(row.began, row.ended)]) if found else []

    # Who held what

    def rows(self, names: Mapping[tuple[str, str], str]) -> list[Held]:
        """Who held which device, from the exporter's labels, with what it did there. names: workloads of known pods."""

        def key(labels: dict[str, str]) -> tuple[str, ...] | None:
            device = device_of(labels)
            return (*device, labels.get("namespace", ""), labels.get("pod", "")) if device else None

        held = self._asker.ranged(HOLDERS, self.grid, key)
        owners = self._owners()
        gpus: dict[str, set[str]] = defaultdict(set)
        for labels, _ in held.values():
            gpus[labels.get("node", "")].add(labels.get("UUID", ""))
        found = []
        for (uuid, instance, space, pod), (labels, values) in held.items():
            there = [place for place, value in enumerate(values) if not isnan(value)]
            if not there:
                continue
            owner = owners.get((space, pod), ("", ""))
            kind, title = _outermost(*owner)
            workload = names.get((space, pod)) or f"{space}/{title or pod}"
            sku = catalogue.from_product(labels.get("modelName", "").replace(" ", "-"))
            profile = labels.get("GPU_I_PROFILE", "")
            row = Held(
                workload=workload, job=f"{space}/{owner[1]}" if owner[0] == "Job" else "", pod=pod, team="", model="",
                node=labels.get("node", ""), sku=sku.name if sku else "", gpus=len(gpus[labels.get("node", "")]),
                uuid=uuid, instance=instance, profile=profile,
                parts=(parts(sku.name, profile) or WHOLE) if sku and profile else WHOLE, shared=False,
                began=self._moment(there[0]), ended=min(self._moment(there[-1] + 1), self.window.ended),
                open=there[-1] >= self.grid.points - 2, owner=kind,
            )  # fmt: skip
            found.append(self._measured(row))
        return _shared(found)

    def _moment(self, place: int) -> int:
        return round((self.grid.began + place * self.grid.step) * 1000)

    def _owners(self) -> dict[tuple[str, str], tuple[str, str]]:
        span = f"{round(self.window.span / 1000)}s"
        query = filled(OWNERS, rate="", span=span, namespaces="")
        found = {}
        for labels, *_ in self._asker.instant(query, at=self.window.ended / 1000):
            pod = labels.get("namespace", ""), labels.get("pod", "")
            found[pod] = labels.get("owner_kind", ""), labels.get("owner_name", "")
        return found

    def _measured(self, row: Held) -> Held:
        """A row with what was measured, as a ledger would say it: each value stands for one step."""
        step = round(self.grid.step * 1000)
        part = self.grid.part(row.began, row.ended)
        found = self.series["busy"].get((row.uuid, row.instance))
        values = list(found[1][part]) if found else []
        seen = known(values)
        active = max((place for place, value in enumerate(values) if value >= IDLE), default=-1)
        until = self._moment(part.start + active + 1) if active >= 0 else 0

        def total(name: str) -> int:
            return round(sum(self._of(name, row)) * step)

        return row._replace(
            seen=min(len(seen) * step, row.span), busy=round(sum(seen) * step), active=until, samples=len(seen),
            idle=sum(value < IDLE for value in seen) * step, sm=total("sm"), tensor=total("tensor"), dram=total("dram"),
            energy=total("watts"), memory=total("memory"), quiet_seen=len(known(values[active + 1 :])) * step,
        )  # fmt: skip

    # What they did

    def workload(self, rows: Sequence[Held]) -> dict[str, Value]:
        """What the devices of a workload did, of rows that are long enough to be judged."""
        rows = [row for row in rows if row.span >= MINUTES_MIN * MINUTE and row.uuid]
        each = {name: [(row, self._of(name, row)) for row in rows] for name in self.series}
        found: dict[str, Value] = {}

        def put(signal: str, metric: str, values: Iterable[float]) -> None:
            said = list(values)
            if said:
                found[signal] = Value(
                    max(said) if "memory" in signal else fmean(said), SOURCE, *self._cover(each[metric])
                )

        put("memory.p99", "memory", (quantile(values, 0.99) for _, values in each["memory"] if values))
        put("memory.peak", "memory", (max(values) for _, values in each["memory"] if values))
        put("busy.cv", "busy", (unevenness(values) for _, values in each["busy"] if len(values) > 1))
        put("nvlink.rate", "nvlink", (fmean(values) for _, values in each["nvlink"] if values))
        put("pcie.lull", "pcie", (lull for row in rows if (lull := self._lull(row)) is not None))
        for metric in ("busy", "sm", "tensor", "dram", "watts"):
            put(f"{metric}.mean", metric, (fmean(values) for _, values in each[metric] if values))
        if self.series["xid"] and rows:
            faulty = {row.uuid for row, values in each["xid"] if _MEMORY_FAULT in values}
            found["xid.memory"] = Value(len(faulty), SOURCE, *self._cover(each["xid"]))
        return found

    def _cover(self, each: Iterable[tuple[Held, list[float]]]) -> tuple[int, float]:
        """Samples, and the part of the wanted ones that they are."""
        wanted = got = 0
        for row, values in each:
            part = self.grid.part(row.began, row.ended)
            wanted, got = wanted + part.stop - part.start, got + len(values)
        return got, got / wanted if wanted else 0.0

    def _pairs(self, one: str, other: str, row: Held) -> list[tuple[float, float]]:
        """Values of two metrics at the same moments."""
        first, second = (self.series[name].get((row.uuid, row.instance)) for name in (one, other))
        if first is None or second is None:
            return []
        part = self.grid.part(row.began, row.ended)
        return [(a, b) for a, b in zip(first[1][part], second[1][part], strict=True) if not (isnan(a) or isnan(b))]

    def _lull(self, row: Held) -> float | None:
        """PCIe traffic while a device is less busy than on average, by that while it is busier."""
        pairs = self._pairs("busy", "pcie", row)
        if len(pairs) < MINUTES_MIN:
            return None
        middle = fmean(busy for busy, _ in pairs)
        low, high = ([rate for busy, rate in pairs if (busy > middle) is up] for up in (False, True))
        return fmean(low) / fmean(high) if low and high and fmean(high) > 0 else None

    def gpus(self, rows: Iterable[Held]) -> dict[str, Gpu]:
        """Of each whole GPU, by `node/UUID`: how its clock compares in its job, how often it was slowed down."""
        clocks: dict[tuple[str, str], dict[str, tuple[Held, list[float]]]] = defaultdict(dict)
        members: dict[tuple[str, str], set[str]] = defaultdict(set)
        holder: dict[str, Held] = {}
        for row in rows:
            if not row.uuid:
                continue
            if row.uuid not in holder or row.span > holder[row.uuid].span:
                holder[row.uuid] = row
            if not row.job or row.instance or row.span < MINUTES_MIN * MINUTE:
                continue
            members[row.job, row.sku].add(row.uuid)
            clock_at = [clock for busy, clock in self._pairs("busy", "clock", row) if busy >= UNDER_LOAD]
            if clock_at:
                clocks[row.job, row.sku][row.uuid] = row, clock_at
        found: dict[str, dict[str, Value]] = defaultdict(dict)
        for alike in clocks.values():
            middle = median(fmean(values) for _, values in alike.values())
            for uuid, (row, values) in alike.items() if len(alike) >= _ALIKE_MIN and middle > 0 else ():
                loaded = sum(busy >= UNDER_LOAD for busy in self._of("busy", row))
                of = (SOURCE, len(values), len(values) / loaded)
                found[uuid]["clock.ratio"] = Value(fmean(values) / middle, *of)
        for name, signal in (("heat", "throttle.thermal"), ("power", "throttle.power")):
            for (uuid, _), (_, share) in self.series[name].items():
                if said := known(share):
                    found[uuid][signal] = Value(fmean(said), SOURCE, len(said), len(said) / self.grid.points)
        alike_ = {uuid for each in members.values() if len(each) >= _ALIKE_MIN for uuid in each}
        for each in members.values():
            for uuid in each & alike_:
                found[uuid]["job.gpus"] = Value(len(each), SOURCE)
        return {
            f"{row.node}/{uuid}": Gpu(row.workload, uuid in alike_, found.get(uuid, {}))
            for uuid, row in sorted(holder.items())
        }


def _outermost(kind: str, name: str) -> tuple[str, str]:
    """What an owner of pods belongs to, as far as its name tells: a ReplicaSet its Deployment, a Job its CronJob."""
    if kind == "ReplicaSet" and (found := _HASH.fullmatch(name)):
        return "Deployment", found[1]
    if kind == "Job" and (found := _CRON.fullmatch(name)):
        return "CronJob", found[1]
    return kind, name


def _shared(rows: list[Held]) -> list[Held]:
    """The rows, with whether several pods held a device at once."""
    by_device: dict[Device, list[Held]] = defaultdict(list)
    for row in rows:
        by_device[row.uuid, row.instance].append(row)
    both = set()
    for device, own in by_device.items():
        own.sort(key=lambda row: row.began)
        reach = 0
        for row in own:
            if row.began < reach:
                both.add(device)
            reach = max(reach, row.ended)
    return [row._replace(shared=(row.uuid, row.instance) in both) for row in rows]
