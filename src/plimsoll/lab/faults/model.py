"""What a fault is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from plimsoll.lab.faults.hands import Hands

Where = Literal["node", "cluster", "queue", "service", "pod"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One failure mode.

    id: its name, which begins with the check that must find it (`GPU054`, or `GPU054-image` where there are several).
    title: what is wrong, as one clause. where: what it befalls; `node` faults take a node.
    inject: does it. shown: whether the API shows the symptom; nothing is judged before it does.
    on: what a node must have to be given it (`gpu`, `mig`, `shared`), for the default node.
    later: minutes after which it counts as a fault, not as a change under way; judged as of then.
    """

    id: str
    title: str
    where: Where
    inject: Callable[[Hands], None]
    shown: Callable[[Hands], bool]
    on: Literal["", "gpu", "mig", "shared"] = ""
    later: int = 0

    @property
    def check(self) -> str:
        """The check that must name it."""
        return self.id.split("+")[0]
