"""A page of dcgm-exporter as readings: names before and after 4.9, of 1.x too, MIG instances, shared GPUs.

Pages are long and most of them is not needed: only the blocks of the metrics used here are looked at, and what the
labels of a line say is looked up, because it is the same in every round.
"""

from __future__ import annotations

import re
from math import isfinite, nan
from typing import NamedTuple

from plimsoll.agents.meter.reading import Pod, Reading, Share
from plimsoll.agents.meter.vllm import short

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
    """What the labels of a line say. device: GPU and instance."""

    device: tuple[str, str]
    profile: str
    model: str
    pod: Pod | None


class Values:
    """What a page says of one device: of itself, and of pods that share it. source: the metric each field is from."""

    __slots__ = ("device", "line", "own", "pods", "source")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.device: dict[str, float] = {}
        self.source: dict[str, bytes] = {}
        self.own: dict[str, list[tuple[Pod | None, float]]] = {}
        self.pods: list[Pod] = []


class Pages:
    """Reads pages. Kept between rounds for what it remembers of labels."""

    def __init__(self) -> None:
        self._lines: dict[bytes, Line | None] = {}

    def read(self, node: str, page: bytes) -> list[Reading]:
        """The devices on a node's page. Raises ValueError where this is no page of dcgm-exporter, or one of no GPU."""
        if len(self._lines) > _KNOWN_MAX:
            self._lines.clear()
        found: dict[tuple[str, str], Values] = {}
        page = b"\n" + page
        percent = _OLD in page
        blocks = _blocks(page)
        for name, metric in METRICS.items():
            block = blocks.get(name)
            if block is not None:
                factor = 0.01 if name == b"DCGM_FI_DEV_GPU_UTIL_RATIO" and percent else metric.factor
                self._take(found, name, metric, factor, block)
        if not found:
            known = any(b"\n" + each in page for each in _ANY)
            raise ValueError("its page has no GPU" if known else "this is no page of dcgm-exporter")
        cut = {gpu for gpu, instance in found if instance}
        return [
            _reading(node, values, found.get((gpu, "")))
            for (gpu, instance), values in found.items()
            if instance or gpu not in cut
        ]

    def _take(
        self, found: dict[tuple[str, str], Values], name: bytes, metric: Metric, factor: float, block: bytes
    ) -> None:
        """Note one metric of all devices. The hot loop of the meter: every line that is needed passes here."""
        field, own, opening, known = metric.field, metric.own, name + b"{", self._lines
        begins = len(opening)
        for row in block.split(b"\n"):
            end = row.rfind(b"} ")
            if end < 0 or not row.startswith(opening):
                continue
            labels = row[begins:end]
            try:
                line = known[labels]
            except KeyError:
                line = known[labels] = _line(labels)
            if line is None:
                continue
            try:
                number = float(row[end + 2 :]) * factor
            except ValueError:
                number = _stamped(row[end + 2 :]) * factor
            if not isfinite(number):
                continue
            device, _, _, pod = line
            values = found.get(device)
            if values is None:
                values = found[device] = Values(line)
            if pod is not None and pod not in values.pods:
                values.pods.append(pod)
            if own:
                if values.source.setdefault(field, name) == name:
                    values.own.setdefault(field, []).append((pod, number))
            elif field not in values.device:
                values.device[field], values.source[field] = number, name
            elif values.source[field] == name and number > values.device[field]:
                values.device[field] = number  # copies of one reading, for each pod that shares the device


def _blocks(page: bytes) -> dict[bytes, bytes]:
    """The page by metric: the format has all lines of one together, below what is said about it."""
    found: dict[bytes, bytes] = {}
    for block in page.split(b"\n# HELP ")[1:]:
        name = block[: block.find(b"\n")].partition(b" ")[0]  # what follows may be nothing
        found[name] = found[name] + b"\n" + block if name in found else block
    for name in METRICS if not found else ():  # nothing is said about them
        start = page.find(b"\n" + name + b"{")
        if start >= 0:
            found[name] = page[start:]
    return found


def _stamped(value: bytes) -> float:
    """A value that a timestamp may follow."""
    try:
        return float(value.split(None, 1)[0])
    except (ValueError, IndexError):
        return nan


def _line(labels: bytes) -> Line | None:
    said = {key.decode(): short(value.decode("utf-8", "replace")) for key, value in _PAIR.findall(labels)}
    gpu = said.get("UUID") or said.get("uuid") or ""
    if not gpu:
        return None
    space = said.get("namespace") or said.get("pod_namespace") or ""
    pod = said.get("pod") or said.get("pod_name") or ""
    instance = said.get("GPU_I_ID", "") if said.get("GPU_I_PROFILE") else ""
    whose = (space, pod) if space and pod else None
    return Line((gpu, instance), said.get("GPU_I_PROFILE", ""), said.get("modelName", ""), whose)


def _reading(node: str, values: Values, parent: Values | None) -> Reading:
    device, shares = values.device, {}
    for field, rows in values.own.items():
        whole = [number for pod, number in rows if pod is None]
        device[field] = max(whole or [number for _, number in rows])
        if whole and len(rows) > len(whole):  # pods have lines of their own beside the device's: those are their parts
            shares[field] = {pod: number for pod, number in rows if pod is not None}
    above = parent.device if parent is not None else device
    util = device.get("util")
    if util is not None and util > 1:  # DCGM 4.6 gives the new name the old unit
        util /= 100
    busy = _ratio(device.get("busy", util))
    return Reading(
        node=node, gpu=values.line.device[0], instance=values.line.device[1], profile=values.line.profile,
        model=values.line.model, busy=busy, sm=_ratio(device.get("sm")), tensor=_ratio(device.get("tensor")),
        dram=_ratio(device.get("dram")), watts=device.get("watts", above.get("watts")),
        joules=device.get("joules", above.get("joules")), memory_mib=device.get("memory"),
        holders=tuple(values.pods), shares=_shares(shares, busy) if shares else (),
    )  # fmt: skip


def _shares(own: dict[str, dict[Pod, float]], busy: float | None) -> tuple[Share, ...]:
    use, memory = own.get("util", {}), own.get("memory", {})
    if use and not any(use.values()) and (busy or 0) > _ZERO_FILL:
        use = {}
    return tuple(Share(pod, _ratio(use.get(pod)), memory.get(pod)) for pod in sorted({*use, *memory}))


def _ratio(value: float | None) -> float | None:
    return None if value is None or value < 0 else min(value, 1.0)
