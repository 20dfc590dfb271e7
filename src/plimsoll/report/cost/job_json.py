"""The published JSON of a job: schema `plimsoll.dev/job/v1`, described in docs/reference/job.schema.json."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from plimsoll import __version__
from plimsoll.cost.job import Job, PodRow
from plimsoll.cost.window import Window, text
from plimsoll.report.cost import job, words
from plimsoll.report.cost.json import Span, encoded, schema_of, span

SCHEMA_VERSION = "plimsoll.dev/job/v1"


class Phase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a job's life: queued, starting or running."""

    phase: str
    window: Span
    seconds: float


class Pod(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pod. running: since when its containers run. ended: null while it runs. why it ended, as the cluster says.

    lost: of its cost, what was done since the last checkpoint where it was pushed out. null: not told.
    """

    name: str
    uid: str
    node: str
    devices: int
    created: str | None
    scheduled: str
    running: str | None
    ended: str | None
    why: str
    evicted: bool
    cost: Decimal
    starting: Decimal
    lost: Decimal
    gpu_hours: float
    measured_hours: float
    used_hours: float


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job over its whole life so far. cost: the sum of its pods. billedUntil: its end, or the meters' last moment.

    olderJobs: of the same name. checkpointSeconds: between two checkpoints, null where none is declared.
    """

    schema_version: str
    plimsoll: str
    job: str
    uid: str
    older_jobs: int
    team: str
    workload: str
    model: str
    ended: str | None
    billed_until: str
    currency: str
    cost: Decimal
    starting: Decimal
    lost: Decimal
    checkpoint_seconds: float | None
    phases: list[Phase]
    pods: list[Pod]
    sources: tuple[str, ...]
    unpriced: tuple[str, ...]
    notes: list[str]


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return schema_of(Document)


def render(found: Job) -> str:
    return encoded(
        Document(
            schema_version=SCHEMA_VERSION,
            plimsoll=__version__,
            job=found.found.name,
            uid=found.found.uid,
            older_jobs=found.found.others,
            team=found.team,
            workload=found.workload,
            model=found.model,
            ended=_moment(found.ended),
            billed_until=text(found.upto),
            currency=found.currency,
            cost=words.exact(found.cost),
            starting=words.exact(found.starting),
            lost=words.exact(found.lost),
            checkpoint_seconds=found.checkpoint / 1000 or None,
            phases=[
                Phase(phase=each.name, window=span(Window(each.began, each.ended)),
                      seconds=(each.ended - each.began) / 1000)
                for each in found.phases
            ],
            pods=[_pod(each) for each in found.pods],
            sources=found.sources,
            unpriced=found.unpriced,
            notes=job.notes(found),
        )
    )  # fmt: skip


def _moment(moment: int | None) -> str | None:
    return None if moment is None else text(moment)


def _pod(pod: PodRow) -> Pod:
    return Pod(
        name=pod.name,
        uid=pod.uid,
        node=pod.node,
        devices=pod.devices,
        created=_moment(pod.created),
        scheduled=text(pod.scheduled),
        running=_moment(pod.ran),
        ended=_moment(pod.ended),
        why=pod.why,
        evicted=pod.evicted,
        cost=words.exact(pod.cost),
        starting=words.exact(pod.starting),
        lost=words.exact(pod.lost),
        gpu_hours=words.in_hours(pod.held_ms),
        measured_hours=words.in_hours(pod.known_ms),
        used_hours=words.in_hours(pod.used_ms),
    )
