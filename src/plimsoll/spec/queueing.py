"""Pillar queueing: teams, what they are promised, and how they share the rest."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plimsoll.spec.section import Section
from plimsoll.spec.values import Duration, Money, Name, Natural, Version, default

Unit = Annotated[str, Meta(pattern=r"^(gpu|shared|[1-9]g\.[0-9]+gb([+.-](me|gfx)(\.all)?)*)$",
                           title="gpu, shared or a MIG profile such as 1g.10gb")]  # fmt: skip
Amount = Natural | dict[Unit, Natural]
Amounts = dict[Name, Amount]
Priority = Annotated[int, Meta(ge=-(2**31), le=1_000_000_000, title="a whole number, at most 1000000000")]


class Budget(Section, frozen=True, kw_only=True):
    """What a team may spend.

    monthly: amount per calendar month, in the currency of `observability.costs`.
    """

    monthly: Money


class Team(Section, frozen=True, kw_only=True):
    """Namespaces, quota and budget of one tenant.

    name: also the name of its cluster queue. namespaces: its own; default the one of its name.
    weight: its share of what is free, relative to other teams.
    quota: what it always gets, by pool: a number of what the pool advertises, or numbers by
        unit (`gpu`, `shared` or a MIG profile) where it advertises several.
    borrow: how much more it may use while others leave it idle; default nothing.
    lend: how much of its quota others may borrow; default all of it. It comes back on demand.
    budget: what it may spend.
    isolation: the sharing it tolerates: `shared` takes turns with other teams, `partitioned` wants at
        least MIG between itself and them, `exclusive` wants no other team on its GPUs.
    """

    name: Name
    namespaces: Annotated[tuple[Name, ...], Meta(max_length=200)] = ()
    weight: Annotated[float, Meta(ge=0.001, le=1000, title="a number from 0.001 to 1000")] = 1
    quota: Amounts = msgspec.field(default_factory=dict)
    borrow: Amounts = msgspec.field(default_factory=dict)
    lend: Amounts = msgspec.field(default_factory=dict)
    budget: Budget | None = None
    isolation: Literal["shared", "partitioned", "exclusive"] = "shared"

    @property
    def spaces(self) -> tuple[str, ...]:
        """Its namespaces, the first one the home of its services."""
        return self.namespaces or (self.name,)


class Preemption(Section, frozen=True, kw_only=True):
    """Who must make room.

    within_team: which of a team's own jobs one of its waiting jobs may push out.
    reclaim: which borrowers must go when the owner wants its quota back.
    """

    within_team: Literal["never", "lower-priority", "lower-or-newer-equal-priority"] = "lower-priority"
    reclaim: Literal["never", "lower-priority", "any"] = "any"


class Queueing(Section, frozen=True, kw_only=True):
    """How jobs of all teams queue (Kueue).

    version: of Kueue. cohort: name of the cohort all teams lend and borrow in.
    local_queue: name of the queue in each namespace; `default` also takes jobs that name none.
    order: whether a job that fits may overtake one that waits.
    fair_sharing: who borrowed least for its weight goes first.
    priorities: named priorities of jobs, higher first. preemption: who must make room.
    wait_for_pods_ready: an admitted job whose pods are not ready after this gives its quota back.
    """

    version: Version = "0.19.2"
    cohort: Name = "main"
    local_queue: Name = "default"
    order: Literal["best-effort-fifo", "strict-fifo"] = "best-effort-fifo"
    fair_sharing: bool = True
    priorities: dict[Name, Priority] = msgspec.field(
        default_factory=lambda: {"production": 1000, "batch": 100, "dev": 10}
    )
    preemption: Preemption = Preemption()
    wait_for_pods_ready: Duration = default(Duration.read("10m"))
