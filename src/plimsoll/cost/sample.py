"""What a meter writes into the ledger: records that say the same whoever sends them, and however often.

Moments are whole milliseconds since 1970, UTC. An interval holds its first moment and not its last.
Every record has an identity made of what it is about, never of who sent it: written twice it counts once.
What ends is told by a record of its own (`Ended`), so that nothing written is ever changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import msgspec

from plimsoll.gpus import catalogue, mig

WHOLE = 56  # parts of one GPU: MIG counts compute in sevenths (quarters, halves) and memory in eighths
HOUR = 3_600_000
RATE_MAX = 500_000  # of a sum in a millisecond: what an hour holds, times an hour, fits into 64 bits
IDLE, LOW = (
    0.01,
    0.15,
)  # busy below: the GPU did nothing; SM active below: it did little (facts of the alerts of that name)

Kind = Literal["node", "gpu", "instance", "pod", "hold"]


@lru_cache(maxsize=1 << 16)  # the same devices and pods, round after round
def key(*names: str) -> int:
    """The number that stands for these names in the ledger: 63 bits of their hash, 0 for nothing.

    Meters that never met give one thing one number. Among ten million pods the chance that any two
    share theirs is 1 in 180,000.
    """
    if not any(names):
        return 0
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 1) or 1


def parts(sku: str, profile: str) -> int | None:
    """Of WHOLE, what a MIG instance takes of its GPU: the larger of its compute and its memory; None if unknown.

    The larger, because what is left beside a 3g.40gb is half a card though four sevenths of its compute are free.
    """
    known = catalogue.find(sku)
    found = mig.profile(known, profile) if known else None
    if known is None or known.mig is None or found is None:
        return None
    share = max(Fraction(found.compute_slices, known.mig.compute), Fraction(found.memory_slices, known.mig.memory))
    return round(share * WHOLE)


def parts_or_named(sku: str, profile: str) -> int:
    """The same; where the model is not known by the sevenths in the profile's name, and all where that says nothing."""
    known = parts(sku, profile)
    sevenths = profile.partition("g.")[0]
    return known if known is not None else min(WHOLE // 7 * int(sevenths), WHOLE) if sevenths.isdecimal() else WHOLE


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node and what its price depends on. uid: of the Node object; a name comes back, a uid does not.

    gpus: whole GPUs it is bought with, healthy or not. provider: `aws`, `gcp`, … as the price book writes it.
    """

    uid: str
    name: str
    pool: str = ""
    sku: str = ""
    capacity: str = "on-demand"
    provider: str = ""
    region: str = ""
    instance_type: str = ""
    gpus: int = 0
    cpu_milli: int = 0
    memory_mib: int = 0
    began: int


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU seen in a node. node: its uid. gpu: the device's UUID. began: since when."""

    node: str
    gpu: str
    began: int


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A MIG instance on a GPU. instance: its MIG UUID, or its number on this GPU. parts: of WHOLE."""

    node: str
    gpu: str
    instance: str
    profile: str
    parts: int
    began: int


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that holds GPUs. created, began: when it was made, and scheduled: from then on it holds them.

    job, workload: `namespace/name` of the batch job and of the outermost owner; job_uid: a job name comes back.
    model: the model it serves. tenant: whom it works for, where one pod works for one. labels: those worth keeping.
    """

    uid: str
    namespace: str
    name: str
    node: str
    team: str = ""
    job: str = ""
    job_uid: str = ""
    workload: str = ""
    model: str = ""
    tenant: str = ""
    labels: dict[str, str] = {}
    created: int = 0
    began: int


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A pod holds a device: a GPU (instance ""), a MIG instance, or a share of either.

    It lasts until it, its pod or its device ends. parts: of WHOLE, of the device. weight: shares it asked for.
    """

    pod: str
    node: str
    gpu: str
    instance: str = ""
    parts: int = WHOLE
    weight: int = 1
    began: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Something ended. subject: `(uid,)` of a node or pod, `(node, gpu[, instance])`, `(pod, gpu, instance)` of a hold.

    exact: the cluster told the moment. Else it is when its absence was noticed, and any exact one goes before it;
    of several alike the earliest counts. A thing that came back is a new record with a later `began`.
    """

    kind: Kind
    subject: tuple[str, ...]
    moment: int
    exact: bool = True
    why: str = ""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The containers of a pod run: from its schedule until here it pulled images and waited."""

    pod: str
    moment: int


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a node costs from a moment on, as somebody observed it: spot prices, invoices.

    scope: a pool's name, or the uid of one node, which goes before its pool. per_hour: micro-units.
    """

    scope: str
    moment: int
    per_hour: int
    source: str


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A meter watched the cluster all this time. What has not ended is billed until the last such moment."""

    meter: str
    began: int
    ended: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod did on a device in an interval; pod "" where only the device could be read.

    seen: milliseconds that were measured at all; of these idle: the GPU did nothing, low: it did little.
    busy, sm, tensor, dram: ratio × milliseconds. energy: millijoules. memory: MiB × milliseconds.
    """

    gpu: str
    instance: str = ""
    pod: str = ""
    began: int
    ended: int
    seen: int = 0
    idle: int = 0
    low: int = 0
    busy: int = 0
    sm: int = 0
    tensor: int = 0
    dram: int = 0
    energy: int = 0
    memory: int = 0


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that a model answered for a tenant in an interval. cached: prompt tokens that cost no computing.

    tenant "" with a pod: an engine's own counters, which know no tenants; pod is the uid of its pod, or any name
    that tells two sources of one model apart. They are what a model answered in all: tokens of tenants and requests are
    of those, and do not come on top.
    """

    model: str
    tenant: str = ""
    pod: str = ""
    began: int
    ended: int
    requests: int = 0
    prompt: int = 0
    cached: int = 0
    output: int = 0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as a gateway told it. cached: prompt tokens that cost no computing, 0 where it does not say.

    id: the gateway's. Clients may choose it and repeat it, so what tells two requests apart is all of
    id, model, tenant and began: one that is told twice counts once.
    """

    id: str
    model: str
    tenant: str = ""
    began: int
    ended: int
    prompt: int = 0
    cached: int = 0
    output: int = 0


Record = Node | Gpu | Instance | Pod | Hold | Ended | Running | Quote | Watch | Usage | Tokens | Request


def measured(
    gpu: str, instance: str, pod: str, began: int, ended: int, busy: float, sm: float | None = None, *,
    tensor: float = 0, dram: float = 0, watts: float = 0, memory_mib: float = 0,
) -> Usage:  # fmt: skip
    """The usage of an interval over which these gauges (ratios 0 to 1) held.

    Without an SM reading the busy ratio tells whether little was done.
    """
    span = ended - began
    idle = busy < IDLE
    low = not idle and (busy if sm is None else sm) < LOW
    return Usage(
        gpu=gpu, instance=instance, pod=pod, began=began, ended=ended, seen=span,
        idle=span if idle else 0, low=span if low else 0, busy=round(busy * span), sm=round((sm or 0) * span),
        tensor=round(tensor * span), dram=round(dram * span), energy=round(watts * span),
        memory=round(memory_mib * span),
    )  # fmt: skip


_SUMS = {Usage: ("seen", "idle", "low", "busy", "sm", "tensor", "dram", "energy", "memory"),
         Tokens: ("requests", "prompt", "cached", "output")}  # fmt: skip


_SUMS_AT = 5  # their place in a record


def _possible(record: Usage | Tokens) -> Usage | Tokens:
    """The record without sums that cannot be: one would make an error of every bill."""
    values, most = msgspec.structs.astuple(record)[_SUMS_AT:], RATE_MAX * max(record.ended - record.began, 0)
    if max(values) <= most and min(values) >= 0:
        return record  # nearly always
    kept = {name: value if 0 <= value <= most else 0 for name, value in zip(_SUMS[type(record)], values, strict=True)}
    return msgspec.structs.replace(record, **kept)


def by_hour(record: Usage | Tokens) -> Iterator[Usage | Tokens]:
    """The record in pieces that lie within one hour each; their sums are its own, but for those that cannot be."""
    record = _possible(record)
    if record.began // HOUR == (record.ended - 1) // HOUR and record.ended > record.began:
        yield record  # nearly always
        return
    span, done = record.ended - record.began, 0
    values = {name: getattr(record, name) for name in _SUMS[type(record)]}
    while done < span:
        start = record.began + done
        stop = min(record.ended, start - start % HOUR + HOUR)
        then = stop - record.began
        shares = {name: value * then // span - value * done // span for name, value in values.items()}
        yield msgspec.structs.replace(record, began=start, ended=stop, **shares)
        done = then
