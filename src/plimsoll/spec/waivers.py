"""Waivers: findings somebody accepts, for a reason and until a day."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from plimsoll.spec.section import Section
from plimsoll.spec.values import Date, Text

Target = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[A-Za-z]+(/[A-Za-z0-9.:_-]+){1,2})$",
        max_length=600,
        title="kind/name, kind/namespace/name, namespace/NAME or *",
    ),
]
CheckId = Annotated[
    str,
    Meta(pattern="^[A-Za-z][A-Za-z0-9]*-?[0-9]+[A-Za-z]?$", max_length=20, title="the id of a check, such as GPU075"),
]


class Waiver(Section, frozen=True, kw_only=True):
    """One accepted finding.

    check: id of the check, in any case. owner: who answers for it. reason: why it is accepted.
    target: what it is accepted for: `kind/name`, `kind/namespace/name`, `namespace/NAME`
        (everything in it) or `*`.
    until: the last day (UTC) on which it holds; from the next day on the finding counts again.
    """

    check: CheckId
    target: Target
    owner: Text
    reason: Text
    until: Date

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "check", self.check.upper())
