"""What the GPUs of a node read: seen at a moment, carried on from what was seen last.

Everything is a function of what it is given. A power draw holds until the next observation, and counters are its
integral, so they never fall.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from plimsoll.kube.objects import Obj, labels, name, text
from plimsoll.lab.telemetry.cards import BUSIEST, IDLE, Card, card
from plimsoll.lab.telemetry.devices import Device, Inventory, inventory
from plimsoll.lab.telemetry.exporter import Exporter
from plimsoll.lab.telemetry.faults import NONE, Fault, faults
from plimsoll.lab.telemetry.fields import METERED
from plimsoll.lab.telemetry.holders import Claim, Slot, Use, assign, claims
from plimsoll.units import moment

_DRIVER = "580.105.08"  # where no label states it
_AMBIENT, _RISE, _STACK = 27, 45, 6  # °C: of an idle card, from idle to its power limit, of HBM above the core
_HOT = 89  # °C of a card that throttles
_THROTTLED = 0.7  # share of the clock that is left, and of the time that a violation counts
_RESERVED = 0.015  # share of the memory that the driver keeps
_NVLINK_MBPS = 120_000  # at full use
_PCIE = 2e9  # bytes a second at full use


class Meter(msgspec.Struct, frozen=True):
    """A counter that grows evenly: `value` at `since`, then `rate` a second. Never falls, whatever the clock does."""

    value: float
    rate: float
    since: float

    def at(self, now: float) -> float:
        return self.value + self.rate * max(now - self.since, 0.0)


class Gpu(msgspec.Struct, frozen=True):
    """What one GPU reads. use: of the whole card. meters: by key, in mJ and ns."""

    use: float
    watts: float
    meters: dict[str, Meter]


Held = tuple[tuple[Claim, int], ...]
"""The claims on one device, each with the share it holds; the one that came last is last."""


class Seen(msgspec.Struct, frozen=True):
    """A node as it was seen. driver: its version. held: by place of the device. given: what `assign` returned."""

    node: str
    driver: str
    exporter: Exporter
    inventory: Inventory
    card: Card
    held: tuple[Held, ...]
    given: dict[str, tuple[Slot, ...]]
    gpus: tuple[Gpu, ...]
    faults: dict[int, Fault]

    def fault(self, gpu: int) -> Fault:
        return self.faults.get(gpu, NONE)


def observe(
    node: Obj, pods: Iterable[Obj], exporter: Exporter, at: float, before: Seen | None = None, use: Use = lambda _: None
) -> Seen:
    """A node with the pods bound to it, seen at a time (seconds of the epoch)."""
    found = inventory(node)
    wanted = claims(pods, use)
    given = assign(found.devices, wanted, before.given if before else {})
    by_device: dict[int, list[tuple[Claim, int]]] = defaultdict(list)
    for claim in wanted:
        for place, share in given[claim.key]:
            by_device[place].append((claim, share))
    held = tuple(tuple(by_device[place]) for place in range(len(found.devices)))
    ailing, model = faults(node), card(found.model)
    created = moment(text(node, "metadata", "creationTimestamp"))
    born = min(created.timestamp(), at) if created else at
    gpus = []
    for index in range(found.gpus):
        own = [(device, held[place]) for place, device in enumerate(found.devices) if device.gpu == index]
        last = before.gpus[index] if before and index < len(before.gpus) else None
        gpus.append(_gpu(own, model, ailing.get(index, NONE), at, born, last))
    return Seen(name(node), _driver(node), exporter, found, model, held, given, tuple(gpus), ailing)


def _driver(node: Obj) -> str:
    have = labels(node)
    parts = (text(have, f"nvidia.com/cuda.driver.{each}") for each in ("major", "minor", "rev"))
    return text(have, "nvidia.com/cuda.driver-version.full") or ".".join(filter(None, parts)) or _DRIVER


def device_use(held: Held) -> float:
    """How busy the pods that share a device keep it together."""
    return min(sum(claim.use for claim, _ in held), 1.0)


def _gpu(own: list[tuple[Device, Held]], model: Card, fault: Fault, at: float, born: float, last: Gpu | None) -> Gpu:
    """A GPU by its devices. born: when the node was made; last: the same GPU as it was seen before."""
    use = min(sum(device.share * device_use(held) for device, held in own), 1.0)
    watts = model.watts * (0.99 if fault.capped else IDLE + (BUSIEST - IDLE) * use)
    rates = {
        "energy": watts * 1000.0,
        "power_violation": _THROTTLED * 1e9 if fault.capped else 0.0,
        "thermal_violation": _THROTTLED * 1e9 if fault.hot else 0.0,
    }
    if last:
        return Gpu(use, watts, {key: Meter(last.meters[key].at(at), rates[key], at) for key in METERED})
    began = min((claim.since for _, held in own for claim, _ in held if claim.use and claim.since), default=at)
    idle = model.watts * IDLE
    start = {"energy": 1000.0 * (idle * (at - born) + (watts - idle) * max(at - max(began, born), 0.0))}
    return Gpu(use, watts, {key: Meter(start.get(key, 0.0), rates[key], at) for key in METERED})


def readings(seen: Seen, place: int) -> dict[str, float]:
    """What the exporter reads of a device, by key of the field, in the units of the old names; meters apart."""
    device, held, model = seen.inventory.devices[place], seen.held[place], seen.card
    gpu, fault, use = seen.gpus[device.gpu], seen.fault(device.gpu), device_use(held)
    own = hashlib.sha256(f"{seen.node}/{device.gpu}".encode()).digest()[0] % 5  # no two cards are just as warm
    reserved = int(device.memory_mib * _RESERVED)
    room = device.memory_mib - reserved
    used = min(int(room * sum(claim.memory / device.replicas for claim, _ in held)), room)
    warm = _AMBIENT + own + _RISE * (gpu.watts / model.watts - IDLE)
    temperature = _HOT if fault.hot else round(warm)
    idle_clock = model.sm_mhz if device.profile or device.empty else 210  # MIG keeps the clocks up
    clock = model.sm_mhz if gpu.use else idle_clock
    return {
        "zero": 0,
        "sm_clock": int(clock * _THROTTLED) if fault.hot or fault.capped else clock,
        "memory_clock": model.memory_mhz if gpu.use else model.memory_idle_mhz,
        "memory_temp": temperature + _STACK if model.hbm else 0,
        "gpu_temp": temperature,
        "power": gpu.watts,
        "power_limit": model.watts,
        "pcie_replay": 0,
        "gpu_util": round(use * 100),
        "copy_util": round(use * 50),
        "xid": fault.xid,
        "fb_free": room - used,
        "fb_used": used,
        "fb_reserved": reserved,
        "fb_total": device.memory_mib,
        "ecc": fault.ecc,
        "uncorrectable_rows": fault.ecc,
        "remap_failed": int(fault.remap_failed),
        "remap_pending": int(fault.remap_pending),
        "nvlink": round(gpu.use * _NVLINK_MBPS),
        "use": use,
        "sm": use * 0.85,
        "occupancy": use * 0.4,
        "tensor": use * 0.45,
        "dram": use * 0.5,
        "pcie_tx": round(use * _PCIE) + 16503,
        "pcie_rx": round(use * _PCIE / 2) + 11775,
    }
