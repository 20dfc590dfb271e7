"""The page of dcgm-exporter for one node: what its GPUs read, in the names and units of the exporter's version."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

import msgspec

from plimsoll.lab.telemetry import exposition
from plimsoll.lab.telemetry.devices import Device
from plimsoll.lab.telemetry.exporter import Exporter
from plimsoll.lab.telemetry.faults import xid_words
from plimsoll.lab.telemetry.fields import FIELDS, METERED, Field
from plimsoll.lab.telemetry.gpus import Held, Seen, readings
from plimsoll.lab.telemetry.holders import Claim

_UUIDS = uuid.UUID("6f0d9a0e-3a0c-5f6e-9d53-7c1f0f5a7e11")  # a name space of our own, so that names give UUIDs

Reading = tuple[int, str, float, int]
"""A meter on a page: its GPU, its key, the factor of its unit, the decimals shown."""


class Page(msgspec.Struct, frozen=True):
    """A page with gaps for what changes with time; made once per observation, because it is read far more often."""

    seen: Seen
    pieces: tuple[str | Reading, ...]

    def at(self, now: float) -> str:
        """The page at a time."""
        return "".join([piece if isinstance(piece, str) else self._meter(piece, now) for piece in self.pieces])

    def _meter(self, piece: Reading, now: float) -> str:
        gpu, key, factor, decimals = piece
        return f"{self.seen.gpus[gpu].meters[key].at(now) * factor:.{decimals}f}"


class _Row(msgspec.Struct, frozen=True):
    device: Device
    labels: str
    readings: dict[str, float]
    held: Held


def page(seen: Seen) -> Page:
    """The exporter's page for a node as it was seen."""
    rows = [
        _Row(device, _labels(seen, device), readings(seen, place), seen.held[place])
        for place, device in enumerate(seen.inventory.devices)
        if not seen.fault(device.gpu).lost
    ]
    pieces: list[str | Reading] = []
    for field in FIELDS:
        if field.only_new and not seen.exporter.generation.renamed:
            continue
        if field.needs == "nvlink" and not seen.card.nvlink:
            continue
        _family(seen.exporter, field, [row for row in rows if _has(field, row)], pieces)
    return Page(seen, tuple(_joined(pieces)))


def _joined(pieces: Iterable[str | Reading]) -> Iterable[str | Reading]:
    """Neighbouring stretches as one."""
    text: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            text.append(piece)
        else:
            yield "".join(text)
            text = []
            yield piece
    yield "".join(text)


def _has(field: Field, row: _Row) -> bool:
    if field.key == "xid":  # there is no series before the first error
        return row.readings["xid"] != 0
    cut, empty = bool(row.device.profile), row.device.empty
    return {"all": True, "whole": not cut and not empty, "cut-or-whole": not empty, "not-cut": not cut}[field.rows]


def _family(exporter: Exporter, field: Field, rows: Iterable[_Row], pieces: list[str | Reading]) -> None:
    title, renamed = field.name(exporter.generation), exporter.generation.renamed
    unit, decimals = (field.factor, field.new_decimals) if renamed else (1.0, field.decimals)
    opened = False
    for row in rows:
        if not opened:
            pieces.append(exposition.head(title, field.kind, field.help))
            opened = True
        for pod, part in _copies(exporter, field, row):
            line = f"{title}{{{row.labels}{pod}{_more(field, row.readings)}}} "
            if field.key in METERED:
                pieces += (line, (row.device.gpu, field.key, unit, decimals), "\n")
            else:
                pieces.append(f"{line}{row.readings[field.key] * unit * part:.{decimals}f}\n")


def _more(field: Field, reading: Mapping[str, float]) -> str:
    if field.key != "xid":
        return ""
    code = int(reading["xid"])
    return f',err_code="{code}",err_msg="{xid_words(code)}"'


def _copies(exporter: Exporter, field: Field, row: _Row) -> Iterable[tuple[str, float]]:
    """The labels that name who holds a device, each with the part of the reading it is given.

    One series, which names the pod that came last, unless the exporter knows of shares: then each pod has a copy of the
    whole reading, and from 4.6 on use and memory are the pod's own, beside the device's.
    """
    if not row.held:
        yield "", 1.0
    elif row.device.replicas < 2 or not exporter.shares:
        yield _pod(row.held[-1][0]), 1.0
    else:
        own = field.key in ("gpu_util", "fb_used") and exporter.version >= (4, 6)
        whole = sum(_part(field, claim) for claim, _ in row.held)
        if own:
            yield "", 1.0
        for claim, share in row.held:
            part = 1.0 if not own else _part(field, claim) / whole if whole else 0.0
            yield f'{_pod(claim)},vgpu="{share}"', part


def _part(field: Field, claim: Claim) -> float:
    return claim.use if field.key == "gpu_util" else claim.memory


def _pod(claim: Claim) -> str:
    pairs = (("container", claim.container), ("namespace", claim.namespace), ("pod", claim.pod), ("pod_uid", ""))
    return "," + exposition.labelled(pairs)


def _labels(seen: Seen, device: Device) -> str:
    generation = seen.exporter.generation
    instance = (("GPU_I_PROFILE", device.profile), ("GPU_I_ID", str(device.instance))) if device.profile else ()
    return exposition.labelled(
        (
            ("gpu", str(device.gpu)),
            ("UUID", gpu_uuid(seen.node, device.gpu)),  # of the whole GPU, for an instance too
            ("pci_bus_id", f"00000000:{(0x53 + 0x11 * device.gpu) % 0x100:02X}:00.0"),
            ("device", f"nvidia{device.gpu}"),
            ("modelName", seen.inventory.model),
            *instance,
            (generation.host, seen.node),
            (generation.driver, seen.driver),
        )
    )


def gpu_uuid(node: str, index: int) -> str:
    """The UUID of a fake GPU: always the same for a node's name and an index."""
    return f"GPU-{uuid.uuid5(_UUIDS, f'{node}/{index}')}"
