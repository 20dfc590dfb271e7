"""A libnvidia-ml that NVIDIA's own bindings are put on in place of the driver's.

It asks for sizes first, fills structures in place and returns codes. What it tells is set by a test, or read from a
recording of `nvidia-smi`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ctypes import addressof
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]
import pytest

OK, INVALID, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, SMALL = 0, 2, 3, 4, 6, 7
NOT_LOADED, MISSING, LOST, MISMATCH, UNKNOWN = 9, 13, 15, 18, 999
MIB = 1 << 20
Percents = tuple[float, float, float, float]  # busy, sm, tensor, dram
IDLE: Percents = (0.0, 0.0, 0.0, 0.0)


@dataclass
class Part:
    """A MIG device. instance: id of its GPU instance. percents: of that."""

    instance: int
    uuid: str
    name: str
    used: int = 0
    total: int = 0
    slices: int = 1
    start: int = 0
    percents: Percents = IDLE
    processes: dict[int, int | None] = field(default_factory=dict)


@dataclass
class Card:
    """A GPU. mig: None where it has none. percents: None where it has no counters. fails: codes by function."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    minor: int = 0
    used: int = 0
    reserved: int = 0
    total: int = 81559 * MIB
    milliwatts: int = 70_000
    millijoules: int = 1_000_000
    mig: bool | None = False
    util: int = 0
    percents: Percents | None = IDLE
    parts: list[Part] = field(default_factory=list)
    processes: dict[int, int | None] = field(default_factory=dict)
    clients: dict[int, int | None] = field(default_factory=dict)  # of an MPS server
    ran: list[tuple[int, int, int]] = field(default_factory=list)  # pid, moment in µs, percent
    repeats: bool = False  # it tells samples again that it was told to be seen
    fails: dict[str, int] = field(default_factory=dict)


class Library:
    """Functions are found by name, as in a shared library; `fails` sets what one returns instead of answering."""

    def __init__(self, *cards: Card) -> None:
        self.cards = list(cards)
        self.fails: dict[str, int] = {}
        self.samples = 0  # allocated and not freed
        self.asked: list[str] = []
        self._tokens: dict[int, tuple[Any, Any]] = {}  # by address: the token, and what it stands for

    def __getattr__(self, name: str) -> Callable[..., int]:
        answer = getattr(type(self), f"_{name.removeprefix('nvml')}", None)
        if not name.startswith("nvml") or answer is None or self.fails.get(name) == MISSING:
            raise AttributeError(name)

        def call(*values: Any) -> int:
            self.asked.append(name)
            about = self._about(values[0]) if values else None
            card = about[0] if isinstance(about, tuple) else about
            failure = self.fails.get(name) or (card.fails.get(name) if isinstance(card, Card) else 0)
            return failure or int(answer(self, *values) or OK)

        return call

    # Handles

    def _point(self, reference: Any, about: Any) -> None:
        kind = reference._obj._type_
        token = kind()
        self._tokens[addressof(token)] = token, about
        reference._obj.contents = token

    def _about(self, handle: Any) -> Any:
        try:
            return self._tokens[addressof(handle.contents)][1]
        except (AttributeError, KeyError, ValueError):
            return None

    def _of(self, handle: Any) -> Any:
        """The card, or the part, that a handle is of."""
        about = self._about(handle)
        return about[1] if isinstance(about, tuple) else about

    # The driver

    def _InitWithFlags(self, flags: int) -> int:  # noqa: N802
        return OK

    def _Shutdown(self) -> int:  # noqa: N802
        return OK

    def _DeviceGetCount_v2(self, count: Any) -> None:  # noqa: N802
        count._obj.value = len(self.cards)

    def _DeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> None:  # noqa: N802
        self._point(handle, self.cards[index.value])

    def _DeviceGetUUID(self, handle: Any, text: Any, size: Any) -> None:  # noqa: N802
        text.value = self._of(handle).uuid.encode()

    def _DeviceGetName(self, handle: Any, text: Any, size: Any) -> None:  # noqa: N802
        text.value = self._of(handle).name.encode()

    def _DeviceGetMinorNumber(self, handle: Any, number: Any) -> None:  # noqa: N802
        number._obj.value = self._of(handle).minor

    def _DeviceGetMemoryInfo(self, handle: Any, memory: Any) -> None:  # noqa: N802
        of = self._of(handle)
        memory._obj.used, memory._obj.total = of.used + getattr(of, "reserved", 0), of.total

    def _DeviceGetMemoryInfo_v2(self, handle: Any, memory: Any) -> int:  # noqa: N802
        if memory._obj.version != pynvml.nvmlMemory_v2:
            return INVALID
        of = self._of(handle)
        memory._obj.used, memory._obj.total, memory._obj.reserved = of.used, of.total, getattr(of, "reserved", 0)
        return OK

    def _DeviceGetPowerUsage(self, handle: Any, milliwatts: Any) -> None:  # noqa: N802
        milliwatts._obj.value = self._of(handle).milliwatts

    def _DeviceGetTotalEnergyConsumption(self, handle: Any, millijoules: Any) -> None:  # noqa: N802
        millijoules._obj.value = self._of(handle).millijoules

    def _DeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:  # noqa: N802
        if self._of(handle).mig:
            return NOT_SUPPORTED
        rates._obj.gpu = self._of(handle).util
        return OK

    # MIG

    def _DeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> int:  # noqa: N802
        mode = self._of(handle).mig
        if mode is None:
            return NOT_SUPPORTED
        current._obj.value = pending._obj.value = int(mode)
        return OK

    def _DeviceGetMaxMigDeviceCount(self, handle: Any, count: Any) -> None:  # noqa: N802
        count._obj.value = 7

    def _DeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, part: Any) -> int:  # noqa: N802
        card = self._of(handle)
        if index.value >= len(card.parts):
            return NOT_FOUND
        self._point(part, (card, card.parts[index.value]))
        return OK

    def _DeviceGetGpuInstanceId(self, handle: Any, number: Any) -> None:  # noqa: N802
        number._obj.value = self._of(handle).instance

    def _DeviceGetAttributes_v2(self, handle: Any, attributes: Any) -> None:  # noqa: N802
        part = self._of(handle)
        attributes._obj.gpuInstanceSliceCount, attributes._obj.memorySizeMB = part.slices, part.total // MIB

    def _DeviceGetGpuInstanceById(self, handle: Any, number: int, instance: Any) -> int:  # noqa: N802
        card = self._of(handle)
        parts = [each for each in card.parts if each.instance == number]
        if not parts:
            return NOT_FOUND
        self._point(instance, (card, parts[0]))
        return OK

    def _GpuInstanceGetInfo(self, instance: Any, info: Any) -> None:  # noqa: N802
        info._obj.placement.start = self._of(instance).start

    # Counters

    def _GpmQueryDeviceSupport(self, handle: Any, support: Any) -> None:  # noqa: N802
        support._obj.isSupportedDevice = int(self._of(handle).percents is not None)

    def _GpmSampleAlloc(self, sample: Any) -> None:  # noqa: N802
        self._point(sample, [])
        self.samples += 1

    def _GpmSampleFree(self, sample: Any) -> int:  # noqa: N802
        if self._tokens.pop(addressof(sample.contents), None) is None:
            return INVALID
        self.samples -= 1
        return OK

    def _GpmSampleGet(self, handle: Any, sample: Any) -> int:  # noqa: N802
        if self._of(handle).mig:
            return NOT_SUPPORTED
        self._about(sample)[:] = [self._of(handle).percents]
        return OK

    def _GpmMigSampleGet(self, handle: Any, number: int, sample: Any) -> int:  # noqa: N802
        parts = [each for each in self._of(handle).parts if each.instance == number]
        if not parts:
            return NOT_FOUND
        self._about(sample)[:] = [parts[0].percents]
        return OK

    def _GpmMetricsGet(self, asked: Any) -> int:  # noqa: N802
        first, second = self._about(asked._obj.sample1), self._about(asked._obj.sample2)
        if asked._obj.version != 1 or not first or not second:
            return INVALID
        order = {1: 0, 2: 1, 5: 2, 10: 3}  # ids of metrics in nvml.h
        for metric in asked._obj.metrics[: asked._obj.numMetrics]:
            metric.value = second[0][order[metric.metricId]]
            metric.nvmlReturn = OK
        return OK

    # Processes

    def _list(self, found: dict[int, int | None], count: Any, array: Any) -> int:
        if array is None:
            count._obj.value = len(found)
            return SMALL if found else OK
        for at, (pid, took) in enumerate(found.items()):
            array[at].pid, array[at].usedGpuMemory = pid, (1 << 64) - 1 if took is None else took
        count._obj.value = len(found)
        return OK

    def _DeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, array: Any) -> int:  # noqa: N802
        return self._list(self._of(handle).processes, count, array)

    def _DeviceGetMPSComputeRunningProcesses_v3(self, handle: Any, count: Any, array: Any) -> int:  # noqa: N802
        return self._list(getattr(self._of(handle), "clients", {}), count, array)

    def _DeviceGetProcessUtilization(self, handle: Any, array: Any, count: Any, since: Any) -> int:  # noqa: N802
        card = self._of(handle)
        if card.mig:
            return NOT_SUPPORTED
        found = [each for each in card.ran if card.repeats or each[1] > since.value]
        count._obj.value = len(found)
        if array is None:
            return SMALL if found else NOT_FOUND
        for at, (pid, moment, percent) in enumerate(found):
            array[at].pid, array[at].timeStamp, array[at].smUtil = pid, moment, percent
        return OK


def put(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    """In place of the driver's, as long as a test runs."""
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


# What a recording of nvidia-smi says


def recorded(path: Path, state: str) -> Library:
    """The cards of a recording (`nvidia_gpu_exporter GPU capture`). state: `idle` or `load`."""
    text = path.read_text()
    listed = _section(text, "capabilities :: list (-L)")
    query = _section(text, f"{state} :: query (-q)")
    uuid = re.findall(r"^GPU 0: .*\(UUID: (\S+)\)", listed, re.MULTILINE)[0]
    name = re.findall(r"^ *Product Name +: (.+)$", query, re.MULTILINE)[0]
    mode = re.findall(r"^ *MIG Mode\n +Current +: (\w+)", query, re.MULTILINE)
    parts = [
        Part(int(gi), uuid, f"{name} MIG {profile}", int(used) * MIB, int(total) * MIB)
        for (profile, uuid), gi, (total, used) in zip(
            re.findall(r"^  MIG (\S+) +Device +\d+: \(UUID: (\S+)\)", listed, re.MULTILINE),
            re.findall(r"GPU Instance ID +: (\d+)", query),
            re.findall(r"Shared FB Memory Usage\n +Total +: (\d+) MiB\n.*\n +Used +: (\d+) MiB", query),
            strict=True,
        )
    ]
    memory = re.findall(
        r"^    FB Memory Usage\n +Total +: (\d+) MiB\n +Reserved +: (\d+) MiB\n +Used +: (\d+)", query, re.M
    )
    util = re.findall(r"^    Utilization\n +GPU +: (\S+)", query, re.MULTILINE)[0]
    watts = re.findall(r"GPU Power Readings\n +Average Power Draw +: ([\d.]+) W", query)[0]
    card = Card(
        uuid, name, 0, int(memory[0][2]) * MIB, int(memory[0][1]) * MIB, int(memory[0][0]) * MIB,
        milliwatts=round(float(watts) * 1000), mig=mode[0] == "Enabled", util=int(util) if util.isdecimal() else 0,
        parts=parts,
    )  # fmt: skip
    for gi, pid, mib in re.findall(r"^\|    0 +(\S+) +\S+ +(\d+) +C .* (\d+)MiB \|$", text, re.MULTILINE):
        if state == "load":
            owner = card if gi == "N/A" else next(each for each in parts if each.instance == int(gi))
            owner.processes[int(pid)] = int(mib) * MIB
    for pid, percent in re.findall(
        r"^ +0 +(\d+) +C +(\d+) ", _section(text, f"{state} :: pmon (per-process monitor)"), re.M
    ):
        card.ran.append((int(pid), 1_000_000 * (len(card.ran) + 1), int(percent)))
    return Library(card)


def _section(text: str, title: str) -> str:
    begin = text.index(f"# {title}\n")
    end = text.find("\n####", text.index("\n####", begin) + 1)
    return text[begin : end if end >= 0 else len(text)]
