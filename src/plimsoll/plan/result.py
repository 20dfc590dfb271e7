"""A plan: what would change, and what that does to those who use the cluster."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from plimsoll.kube.objects import Obj, Ref
from plimsoll.plan.fields import Field
from plimsoll.plan.model import Chart


class Action(StrEnum):
    """What becomes of one object, release or node."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"
    REPLACE = "replace"  # a field that cannot change must: deleted and created anew
    PRUNE = "prune"  # ours, and no longer declared
    BLOCKED = "blocked"  # the cluster does not take it as it is
    UNKNOWN = "unknown"  # what is there could not be read


class Owner(msgspec.Struct, frozen=True):
    """A field that we want and another manager has set to something else."""

    manager: str
    path: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One object, release (kind Release) or node (kind Node).

    fields: what changes. owners: conflicts with other managers. why: of BLOCKED, REPLACE, UNKNOWN and odd KEEPs.
    hint: what to do about it. judged: whether an API server has seen it (a dry run).
    disruptive: of a node: its GPU pods must go first. obj: the object as wanted, of a node its labels as a patch.
    chart: of a release. foreign: a system that somebody else installed.
    """

    ref: Ref
    action: Action
    pillar: str = ""
    wave: int = 0
    fields: tuple[Field, ...] = ()
    owners: tuple[Owner, ...] = ()
    why: str = ""
    hint: str = ""
    judged: bool = False
    disruptive: bool = False
    obj: Obj | None = None
    chart: Chart | None = None
    foreign: bool = False


EVICTED, RESTARTED, DELETED = "evicted", "restarted", "deleted"


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that a change evicts or restarts.

    running: seconds since it started; None where the moment is unknown. devices: GPU devices it holds, by resource.
    gpu_hours: devices × hours it has run, what is at stake if nothing is saved; MIG instances count as their part.
    """

    pod: Ref
    team: str
    node: str
    how: str  # EVICTED, RESTARTED or DELETED
    why: str
    devices: dict[str, int]
    running: float | None
    gpu_hours: float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A number before and after; None: unknown. `of` says of whom, `what` of what."""

    of: str
    what: str
    before: float | None
    after: float | None


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does beside what it changes.

    capacity: devices, pool by resource. quota: devices promised, team by pool and unit.
    unseen: why it is unknown who is met, where it is; struck then holds only those that are known.
    cost: per hour with the fewest and the most nodes, in `currency`; None where a price is missing.
    """

    struck: tuple[Struck, ...] = ()
    unseen: str = ""
    capacity: tuple[Row, ...] = ()
    quota: tuple[Row, ...] = ()
    cost: tuple[Row, ...] = ()
    currency: str = "USD"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. against: the cluster or file it was compared with. notes: what no object says."""

    platform: str
    against: str
    items: tuple[Item, ...]
    impact: Impact = Impact()
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Item, ...]:
        return tuple(each for each in self.items if each.action is not Action.KEEP)

    def count(self, action: Action) -> int:
        return sum(each.action is action for each in self.items)
