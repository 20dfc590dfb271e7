"""Pillar serving: models behind an address, with as few GPUs as their objectives allow."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plimsoll.spec.queueing import Unit
from plimsoll.spec.section import Section
from plimsoll.spec.values import Duration, Name, Natural, Positive, Quantity, Rate, Text, Version, Word, default

Option = Annotated[
    str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", title="the name of an option without its leading dashes")
]
Argument = Word | int | float | bool


class Engine(Section, frozen=True, kw_only=True):
    """What runs the model.

    image: where it comes from, best with its digest; default vLLM's own of that version, from the first registry of
        `security.images.registries`.
    args: its command line options, without the leading dashes.
    nodes: nodes one replica spans; more than 1 makes it a group of pods that start and stop together.
    """

    name: Literal["vllm"] = "vllm"
    version: Version = "0.33.0"
    image: Word = ""
    args: dict[Option, Argument] = msgspec.field(default_factory=dict)
    nodes: Positive = 1


class Replicas(Section, frozen=True, kw_only=True):
    """How many copies run.

    min: always; 0 lets it sleep when nobody asks. max: at most.
    """

    min: Natural = 1
    max: Positive = 1


class Percentiles(Section, frozen=True, kw_only=True):
    """Upper bounds on a latency, by the share of requests that must meet them."""

    p50: Duration | None = None
    p90: Duration | None = None
    p95: Duration | None = None
    p99: Duration | None = None


class Slo(Section, frozen=True, kw_only=True):
    """What callers may expect.

    ttft: time to the first token. itl: time between two tokens. e2e: time of the whole answer.
    """

    ttft: Percentiles = default(Percentiles(p90=Duration.read("2s")))
    itl: Percentiles = default(Percentiles(p90=Duration.read("100ms")))
    e2e: Percentiles | None = None


class Window(Section, frozen=True, kw_only=True):
    """Hours with a known load.

    start, end: cron expressions (minute hour day month weekday) in `timezone`. replicas: how many run between them.
    """

    start: Text
    end: Text
    timezone: Text = "UTC"
    replicas: Positive


class Service(Section, frozen=True, kw_only=True):
    """One served model.

    name: also the name of its Deployment and Service. team: who answers and pays for it.
    namespace: where it runs; default the team's first. model: what is served: a model id, a path or an address.
    engine: what runs it. pool: where. unit: what one of its `gpus_per_replica` is, on a pool that
        advertises several things: a MIG profile.
    gpus_per_replica: devices one replica holds. cpu, memory: of one replica; default from its GPUs.
    replicas: how many. queued: whether its pods count against the team's queue; where false its
        GPUs are set aside from the pool.
    slo: what callers may expect. scale_on: what makes it grow. schedule: windows for `scaleOn: schedule`.
    peak: requests it must stand at its busiest, for sizing and rehearsals.
    """

    name: Name
    team: Name
    namespace: Annotated[str, Meta(pattern="^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)] = ""
    model: Text
    engine: Engine = Engine()
    pool: Name
    unit: Unit | None = None
    gpus_per_replica: Positive = 1
    cpu: Quantity | None = None
    memory: Quantity | None = None
    replicas: Replicas = Replicas()
    queued: bool = True
    slo: Slo = msgspec.field(default_factory=Slo)
    scale_on: Literal["slo", "queue", "kv-cache", "schedule"] = "slo"
    schedule: tuple[Window, ...] = ()
    peak: Rate | None = None
