"""Pools: nodes of one GPU kind and one capacity type, and how their GPUs are shared."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plimsoll.spec.section import Section
from plimsoll.spec.values import (
    Currency,
    Date,
    LabelKey,
    LabelValue,
    Money,
    Name,
    Natural,
    Positive,
    Text,
    Word,
    default,
)

POOL_LABEL = "plimsoll.dev/pool"

Capacity = Literal["on-demand", "spot", "reserved"]
Profile = Annotated[
    str,
    Meta(
        pattern=r"^[1-9]g\.[0-9]+gb([+.-](me|gfx)(\.all)?)*$",
        title="a MIG profile, such as 1g.10gb",
    ),
]
Layout = dict[Profile, Natural]


class Nodes(Section, frozen=True, kw_only=True):
    """How many nodes a pool has.

    min: nodes that are always there. max: nodes there may ever be; equal to min where nothing scales.
    """

    min: Natural = 0
    max: Positive


class Owned(Section, frozen=True, kw_only=True):
    """A node that is one's own. An hour of it costs its purchase over its life, its power, its upkeep.

    capex: what one node cost, installed. years: over which it is written off.
    watts: its mean draw. pue: what the building draws for each watt of it, from 1. per_kwh: price of electricity.
    upkeep: space, support and people for one node and one year.
    """

    capex: Money
    years: Annotated[int, Meta(ge=1, le=50, title="a whole number of years from 1 to 50")]
    watts: Positive
    pue: Annotated[float, Meta(ge=1, le=10, title="a number from 1 to 10")]
    per_kwh: Money
    upkeep: Money = default(Money(0))


class Price(Section, frozen=True, kw_only=True):
    """What a node costs.

    per_node_hour: price of one whole node for one hour, without its currency; or owned: what makes it up.
    currency: ISO 4217 code. source: where the price comes from. as_of: the day it was true.
    """

    per_node_hour: Money | None = None
    owned: Owned | None = None
    currency: Currency = "USD"
    source: Text
    as_of: Date


class Topology(Section, frozen=True, kw_only=True):
    """Where nodes stand to each other, for jobs that need them close.

    levels: node labels from the widest domain to the narrowest.
    """

    levels: Annotated[tuple[LabelKey, ...], Meta(min_length=1, max_length=16)]


class Taint(Section, frozen=True, kw_only=True):
    """A taint that nodes of a pool carry and GPU pods must tolerate."""

    key: LabelKey
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class Mig(Section, frozen=True, kw_only=True):
    """MIG: each GPU cut into instances with their own memory and compute.

    layout: instances per GPU by profile, or `auto`: chosen from what teams and services are promised.
    strategy: `mixed` advertises one resource per profile, `single` advertises all as nvidia.com/gpu
        and needs one profile on every GPU of a node.
    """

    layout: Layout | Literal["auto"]
    strategy: Literal["mixed", "single"] = "mixed"


class TimeSlicing(Section, frozen=True, kw_only=True):
    """Several pods take turns on one GPU. No memory and no fault isolation.

    replicas: shares per GPU (or per MIG instance).
    rename_by_default: advertise `nvidia.com/gpu.shared`, so that nobody gets a share by accident.
    fail_requests_greater_than_one: refuse a pod that asks for two shares: it would get no more time.
    """

    replicas: Annotated[int, Meta(ge=2, le=128, title="a whole number from 2 to 128")]
    rename_by_default: bool = True
    fail_requests_greater_than_one: bool = True


class Mps(Section, frozen=True, kw_only=True):
    """CUDA Multi-Process Service: pods run at the same time on equal parts of one GPU, without fault isolation.

    replicas: parts per GPU; the device plugin allows at most 48.
    rename_by_default: advertise `nvidia.com/gpu.shared`, so that nobody gets a part by accident.
    """

    replicas: Annotated[int, Meta(ge=2, le=48, title="a whole number from 2 to 48")]
    rename_by_default: bool = True


class Partition(Section, frozen=True, kw_only=True):
    """How the GPUs of a pool are shared. Nothing here: whole GPUs.

    mig: instances in hardware. time_slicing: turns, on whole GPUs or on MIG instances.
    mps: parts at the same time; neither with MIG nor with time-slicing.
    """

    mig: Mig | None = None
    time_slicing: TimeSlicing | None = None
    mps: Mps | None = None


class Pool(Section, frozen=True, kw_only=True):
    """Nodes of one GPU kind and one capacity type.

    name: also the name of its queue flavor.
    gpu: a GPU of the catalogue, such as H100-SXM5-80GB. gpus_per_node: whole GPUs of one node.
    nodes: how many there are. capacity: how the nodes are paid for, and whether they may vanish.
    node_selector: labels that make a node one of this pool; default `plimsoll.dev/pool: <name>`.
    instance_type: the cloud's name for the machine. price: what a node costs.
    partition: how GPUs are shared. topology: where nodes stand to each other.
    taints: what nodes carry to keep other pods away.
    """

    name: Name
    gpu: Text
    gpus_per_node: Annotated[int, Meta(ge=1, le=64, title="a whole number from 1 to 64")]
    nodes: Nodes
    capacity: Capacity = "on-demand"
    node_selector: Annotated[dict[LabelKey, LabelValue], Meta(max_length=8)] = msgspec.field(default_factory=dict)
    instance_type: Word = ""
    price: Price | None = None
    partition: Partition = Partition()
    topology: Topology | None = None
    taints: tuple[Taint, ...] = (Taint(key="nvidia.com/gpu"),)

    @property
    def selector(self) -> dict[str, str]:
        """Labels that every node of this pool has, and no other node."""
        return self.node_selector or {POOL_LABEL: self.name}
