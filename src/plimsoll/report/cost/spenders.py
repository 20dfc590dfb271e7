"""The biggest spenders: a bill by rank, with what most of the unused money is."""

from __future__ import annotations

from typing import NamedTuple

from plimsoll.cost.bill import Line
from plimsoll.cost.statement import Statement
from plimsoll.report.cost import words

HEADS = ("RANK", "WHO", "COST", "SHARE", "TREND", "WASTE", "TOP-CAUSE")
TEXTS = (1, 6)  # the columns that are no figures


class Spender(NamedTuple):
    """rank: from 1. share: of the whole bill, 0 to 1. before: its cost in the window before, None where unknown."""

    rank: int
    who: str
    line: Line
    share: float
    before: int | None


def ranked(found: Statement) -> list[Spender]:
    """The dearest first. What nobody held is among them: it is a spender, too."""
    total = found.bill.total
    return [
        Spender(
            rank, words.name(line, found.bill.query.by), line, line.cost / total if total else 0.0, found.before(line)
        )
        for rank, line in enumerate(found.bill.lines, 1)
    ]


def rows(found: Statement) -> list[tuple[str, ...]]:
    """The cells under HEADS; what is beyond the top, and the total, last."""
    said: list[tuple[str, ...]] = [
        (
            str(each.rank), each.who, words.money(each.line.cost), words.percent(each.share),
            words.change(each.line.cost, each.before), words.money(words.waste(each.line)), words.said(each.line),
        )
        for each in ranked(found)
    ]  # fmt: skip
    total = found.bill.total
    if (rest := found.bill.others) is not None:
        share = words.percent(rest.cost / total if total else 0.0)
        more = (words.money(rest.cost), share, "", words.money(words.waste(rest)), "")
        said.append(("", f"({found.bill.rest} others)", *more))
    waste = words.money(sum(map(words.waste, found.lines)))
    said.append(("", "TOTAL", words.money(total), "100%", words.change(total, found.earlier), waste, ""))
    return said
