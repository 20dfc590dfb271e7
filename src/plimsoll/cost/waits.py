"""How long pods waited: for a node, and then for their containers."""

from __future__ import annotations

import msgspec

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.window import Window


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Pods of a team that were scheduled in a window, and how long half and 95 % of them waited at most, in ms.

    queued: from their making to a node; starting: from there to running containers. None where neither was told.
    """

    team: str
    pods: int
    queued: tuple[int, int] | None
    starting: tuple[int, int] | None


def waits(ledger: Ledger, window: Window) -> list[Wait]:
    """By team, the one whose pods waited longest first. Only pods that were scheduled in the window count."""
    both = ", ".join(
        f"percentile_cont({part}) WITHIN GROUP (ORDER BY {span})"
        for span in ("queued", "starting")
        for part in (0.5, 0.95)
    )
    rows = ledger.store.rows(
        f"""SELECT team, COUNT(*), {both} FROM (
                SELECT p.team, CASE WHEN created > 0 THEN GREATEST(began - created, 0) END AS queued,
                    CASE WHEN m.moment IS NOT NULL THEN GREATEST(m.moment - began, 0) END AS starting
                FROM pods p LEFT JOIN (SELECT id, MIN(moment) AS moment FROM marks WHERE mark = 'running' GROUP BY id) m
                    ON m.id = p.id
                WHERE began >= ? AND began < ?) w
            GROUP BY team ORDER BY team""",
        list(window),
    )
    found = [
        Wait(team=team, pods=count, queued=_pair(middle, most), starting=_pair(begin, last))
        for team, count, middle, most, begin, last in rows
    ]
    return sorted(found, key=lambda each: -(each.queued or (0, 0))[1])


def _pair(middle: float | None, most: float | None) -> tuple[int, int] | None:
    return None if middle is None or most is None else (round(middle), round(most))
