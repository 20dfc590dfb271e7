"""A page of dcgm-exporter as readings: names before and after 4.9, of 1.x too, MIG instances, shared GPUs.

Pages are long and most of them is not needed: only the blocks of the metrics used here are looked at, and what the
labels of a line say is looked up, because it is the same in every round.
"""

from __future__ import annotations

import re
from collections import defaultdict
from math import isfinite
from typing import NamedTuple

from plimsoll.agents.meter.reading import Pod, Reading, Share

MIB = 1 / (1 << 20)
_KNOWN_MAX = 200_000  # label sets remembered: some 30 for each of the GPUs of a large cluster


class Metric(NamedTuple):
    """What a metric says of a device. factor: to our unit. own: sharers have lines of their own beside the device's."""

    field: str
    factor: float = 1.0
    own: bool = False


# The first that a device has counts. Names and units: dcgm-exporter's default-counters.csv, DCGM 4.7 field reference.
METRICS = {
    b"DCGM_FI_PROF_GR_ENGINE_ACTIVE": Metric("busy"),
    b"DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO": Metric("busy"),
    b"DCGM_FI_DEV_GPU_UTIL": Metric("util", 0.01, own=True),
    b"DCGM_FI_DEV_GPU_UTIL_RATIO": Metric("util", own=True),
    b"dcgm_gpu_utilization": Metric("util", 0.01),
    b"DCGM_FI_PROF_SM_ACTIVE": Metric("sm"),
    b"DCGM_FI_PROF_SM_UTIL_RATIO": Metric("sm"),
    b"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": Metric("tensor"),
    b"DCGM_FI_PROF_TENSOR_UTIL_RATIO": Metric("tensor"),
    b"DCGM_FI_PROF_DRAM_ACTIVE": Metric("dram"),
    b"DCGM_FI_PROF_DRAM_UTIL_RATIO": Metric("dram"),
    b"DCGM_FI_DEV_POWER_USAGE": Metric("watts"),
    b"DCGM_FI_DEV_BOARD_POWER_WATTS": Metric("watts"),
    b"dcgm_power_usage": Metric("watts"),
    b"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": Metric("joules", 0.001),
    b"DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL": Metric("joules"),
    b"dcgm_total_energy_consumption": Metric("joules", 0.001),
    b"DCGM_FI_DEV_FB_USED": Metric("memory", own=True),
    b"DCGM_FI_DEV_FB_USED_BYTES": Metric("memory", MIB, own=True),
    b"dcgm_fb_used": Metric("memory"),
}
_OLD = b"\nDCGM_FI_DEV_FB_USED{"  # a page before 4.9: there DCGM_FI_DEV_GPU_UTIL_RATIO is another name of a percentage
_ANY = b"DCGM_FI_", b"dcgm_"
_PAIR = re.compile(rb'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ZERO_FILL = 0.2  # a device this busy whose sharers all read 0: the exporter could not see their processes


class Line(NamedTuple):
    """What the labels of a line say."""

    gpu: str
    instance: str
    profile: str
    model: str
    pod: Pod | None


class Values:
    """What a page says of one device: of itself, and of pods that share it."""

    __slots__ = ("device", "line", "own", "pods")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.device: dict[str, float] = {}
        self.own: dict[str, dict[Pod, float]] = {}
        self.pods: list[Pod] = []


class Pages:
    """Reads pages. Kept between rounds for what it remembers of labels."""

    def __init__(self) -> None:
        self._lines: dict[bytes, Line | None] = {}

    def read(self, node: str, page: bytes) -> list[Reading]:
        """The devices on a node's page. Raises ValueError where this is no page of dcgm-exporter, or one of no GPU."""
        if len(self._lines) > _KNOWN_MAX:
            self._lines.clear()
        page = b"\n" + page
        found: dict[tuple[str, str], Values] = {}
        percent = _OLD in page
        for name, metric in METRICS.items():
            factor = 0.01 if name == b"DCGM_FI_DEV_GPU_UTIL_RATIO" and percent else metric.factor
            lines = self._block(page, name)
            if lines:
                _put(found, metric, factor, lines)
        if not found:
            known = any(b"\n" + each in page for each in _ANY)
            raise ValueError("its page has no GPU" if known else "this is no page of dcgm-exporter")
        cut = {values.line.gpu for values in found.values() if values.line.instance}
        return [
            _reading(node, values, found.get((values.line.gpu, "")))
            for values in found.values()
            if values.line.instance or values.line.gpu not in cut
        ]

    def _block(self, page: bytes, name: bytes) -> list[tuple[Line, float]]:
        """The lines of one metric: they stand together."""
        opening = b"\n" + name + b"{"
        found: list[tuple[Line, float]] = []
        start = page.find(opening)
        while start >= 0:
            end = page.find(b"\n#", start)
            block = page[start + 1 : end if end >= 0 else len(page)]
            for row in block.split(b"\n"):
                labels, closed, value = row.rpartition(b"} ")
                if not closed or not labels.startswith(name) or labels[len(name) : len(name) + 1] != b"{":
                    continue
                try:
                    number = float(value.split(None, 1)[0])
                except (ValueError, IndexError):
                    continue
                line = self._line(labels[len(name) + 1 :])
                if line is not None and isfinite(number):
                    found.append((line, number))
            start = page.find(opening, end) if end >= 0 else -1
        return found

    def _line(self, labels: bytes) -> Line | None:
        try:
            return self._lines[labels]
        except KeyError:
            line = self._lines[labels] = _line(labels)
            return line


def _line(labels: bytes) -> Line | None:
    said = {key.decode(): value.decode("utf-8", "replace") for key, value in _PAIR.findall(labels)}
    gpu = said.get("UUID") or said.get("uuid") or ""
    if not gpu:
        return None
    space = said.get("namespace") or said.get("pod_namespace") or ""
    pod = said.get("pod") or said.get("pod_name") or ""
    return Line(gpu, said.get("GPU_I_ID", "") if said.get("GPU_I_PROFILE") else "", said.get("GPU_I_PROFILE", ""),
                said.get("modelName", ""), (space, pod) if space and pod else None)  # fmt: skip


def _put(found: dict[tuple[str, str], Values], metric: Metric, factor: float, lines: list[tuple[Line, float]]) -> None:
    """Note one metric of all devices. Where pods have lines of their own beside the device's, those are their parts."""
    each: dict[tuple[str, str], list[tuple[Pod | None, float]]] = defaultdict(list)
    for line, number in lines:
        key = line.gpu, line.instance
        each[key].append((line.pod, number * factor))
        if key not in found:
            found[key] = Values(line)
        if line.pod and line.pod not in found[key].pods:
            found[key].pods.append(line.pod)
    for key, rows in each.items():
        values = found[key]
        if metric.field in values.device:
            continue
        whole = [number for pod, number in rows if pod is None]
        values.device[metric.field] = max(whole or [number for _, number in rows])
        if metric.own and whole and len(rows) > len(whole):
            values.own[metric.field] = {pod: number for pod, number in rows if pod is not None}


def _reading(node: str, values: Values, parent: Values | None) -> Reading:
    device = values.device
    above = parent.device if parent is not None else device
    util = device.get("util")
    if util is not None and util > 1:  # DCGM 4.6 gives the new name the old unit
        util /= 100
    busy = _ratio(device.get("busy", util))
    return Reading(
        node=node, gpu=values.line.gpu, instance=values.line.instance, profile=values.line.profile,
        model=values.line.model, busy=busy, sm=_ratio(device.get("sm")), tensor=_ratio(device.get("tensor")),
        dram=_ratio(device.get("dram")), watts=device.get("watts", above.get("watts")),
        joules=device.get("joules", above.get("joules")), memory_mib=device.get("memory"),
        holders=tuple(values.pods), shares=_shares(values, busy),
    )  # fmt: skip


def _shares(values: Values, busy: float | None) -> tuple[Share, ...]:
    use, memory = values.own.get("util", {}), values.own.get("memory", {})
    if use and not any(use.values()) and (busy or 0) > _ZERO_FILL:
        use = {}
    return tuple(Share(pod, _ratio(use.get(pod)), memory.get(pod)) for pod in sorted({*use, *memory}))


def _ratio(value: float | None) -> float | None:
    return None if value is None or value < 0 else min(value, 1.0)
