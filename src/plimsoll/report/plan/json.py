"""The published JSON of a plan: schema `plimsoll.dev/plan/v1`, described in docs/reference/plan.schema.json."""

from __future__ import annotations

import msgspec

from plimsoll import __version__
from plimsoll.plan.fields import Field
from plimsoll.plan.result import Action, Item, Owner, Plan, Row, Struck
from plimsoll.report.plan.words import sentence

SCHEMA_VERSION = "plimsoll.dev/plan/v1"


class Change(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One object, release of a chart (kind Release) or node (kind Node) that does not stay as it is.

    judgedByServer: an API server has tried it; else it is worked out by the rules of field ownership.
    fields: before and after, null for what is not there. conflicts: fields that another manager has set.
    """

    action: str  # create | change | replace | prune | blocked | unknown
    pillar: str
    api_version: str
    kind: str
    namespace: str
    name: str
    judged_by_server: bool
    fields: tuple[Field, ...]
    conflicts: tuple[Owner, ...]
    why: str
    hint: str


_POD = {"how": "is", "running": "runningSeconds", "gpu_hours": "gpuHours"}


class Pod(msgspec.Struct, frozen=True, kw_only=True, rename=_POD):
    """A pod that a change evicts or restarts. team: "" for none. null: unknown."""

    namespace: str
    name: str
    team: str
    node: str
    how: str  # evicted | restarted | deleted
    because: str
    devices: dict[str, int]  # that it holds, by resource
    running: float | None
    gpu_hours: float | None  # at stake if nothing is saved


class Effect(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the plan does beside what it changes; numbers before and after, null where unknown."""

    pods: list[Pod]
    unseen: str  # why others may be met, too; "" where all was seen
    capacity: tuple[Row, ...]  # devices offered, by pool and resource
    quota: tuple[Row, ...]  # devices promised, by team, pool and resource
    cost_per_hour: tuple[Row, ...]  # by pool, with the fewest and the most nodes that are declared
    currency: str


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A plan. counts: objects by action, of those that stay (keep), too."""

    schema_version: str
    plimsoll: str
    platform: str
    against: str  # context or path
    sentence: str
    counts: dict[str, int]
    changes: list[Change]
    impact: Effect
    notes: tuple[str, ...]  # what a person has to know or do


def schema() -> dict[str, object]:
    """The JSON Schema of the document."""
    return msgspec.json.schema(Document)


def render(plan: Plan) -> str:
    """Everything the table says and all it leaves out; objects that stay as they are are counted only."""
    found = plan.impact
    said = Document(
        schema_version=SCHEMA_VERSION,
        plimsoll=__version__,
        platform=plan.platform,
        against=plan.against,
        sentence=sentence(plan),
        counts={str(each): plan.count(each) for each in Action},
        changes=[_change(each) for each in plan.changes],
        impact=Effect(
            pods=[_pod(each) for each in found.struck],
            unseen=found.unseen,
            capacity=found.capacity,
            quota=found.quota,
            cost_per_hour=found.cost,
            currency=found.currency,
        ),
        notes=plan.notes,
    )
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode() + "\n"


def _change(item: Item) -> Change:
    ref = item.ref
    return Change(
        action=str(item.action),
        pillar=item.pillar,
        api_version=ref.api_version,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        judged_by_server=item.judged,
        fields=item.fields,
        conflicts=item.owners,
        why=item.why,
        hint=item.hint,
    )


def _pod(struck: Struck) -> Pod:
    return Pod(
        namespace=struck.pod.namespace,
        name=struck.pod.name,
        team=struck.team,
        node=struck.node,
        how=struck.how,
        because=struck.why,
        devices=struck.devices,
        running=struck.running,
        gpu_hours=struck.gpu_hours,
    )
