"""Pillar spot: capacity that may vanish, and what makes that harmless."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plimsoll.spec.section import Section
from plimsoll.spec.values import Duration, Interval, Name, default

SERVING = "serving"


class Checkpoint(Section, frozen=True, kw_only=True):
    """The contract a job on spot capacity keeps.

    interval: time between two checkpoints; `auto` follows from the cost of one and the rate of interruptions.
    signal: what a pod gets when its node is about to go. grace: how long it may then take to save.
    storage: where checkpoints outlive the node: an address such as s3://bucket or pvc://claim; default none.
    """

    interval: Interval = default(Interval(0))
    signal: Literal["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"] = "SIGTERM"
    grace: Duration = default(Duration.read("90s"))
    storage: Annotated[
        str,
        Meta(
            pattern=r"^([a-z][a-z0-9+.-]*://\S+)?$",
            title="an address with its scheme, such as s3://bucket or pvc://claim",
        ),
    ] = ""


class Spot(Section, frozen=True, kw_only=True):
    """Rules for spot capacity.

    pools: the spot pools jobs may use, the preferred one first; default all of them.
    fallback: pools to use while there is no spot capacity, the preferred one first.
    checkpoint: what a job on spot must do. never: what stays off spot: `serving`, a team or a priority.
    """

    pools: tuple[Name, ...] = ()
    fallback: tuple[Name, ...] = ()
    checkpoint: Checkpoint = msgspec.field(default_factory=Checkpoint)
    never: tuple[Name, ...] = (SERVING,)
