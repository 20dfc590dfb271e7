"""Figures as comma-separated values, for spreadsheets: raw numbers, money with six decimals."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from plimsoll.cost.bill import Line
from plimsoll.cost.lines import COST
from plimsoll.cost.sample import HOUR
from plimsoll.cost.statement import Statement
from plimsoll.cost.window import text
from plimsoll.report.cost import words

HEADS = (
    "by", "key", "id", "from", "until", "currency", "cost", *COST, "starting", "idle_total", "waste", "before",
    "gpu_hours", "held_hours", "measured_hours", "used_hours", "efficiency", "coverage", "energy_kwh", "devices",
    "requests", "prompt_tokens", "output_tokens",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(found: Statement) -> str:
    """One row per line; what is beyond `top` is one row with the key `(others)`. The costs add up to the bill."""
    rows = [_row(found, line, line.key) for line in found.bill.lines]
    if found.bill.others is not None:
        rows.append(_row(found, found.bill.others, "(others)"))
    return sheet(HEADS, rows)


def sheet(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Text that a spreadsheet would take for a formula begins with an apostrophe, which it hides."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([_safe(cell) if isinstance(cell, str) else "" if cell is None else cell for cell in row])
    return out.getvalue()


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _row(found: Statement, line: Line, key: str) -> list[object]:
    before = found.before(line) if key != "(others)" else None
    money = (line.cost, *(getattr(line, name) for name in COST), line.starting, words.idle(line), words.waste(line))
    return [
        found.bill.query.by, key, line.id, text(found.window.began), text(found.window.ended), found.bill.currency,
        *(words.exact(each) for each in money), None if before is None else words.exact(before),
        *(f"{each / HOUR:.6f}" for each in (line.gpu_ms, line.held_ms, line.known_ms, line.used_ms)),
        *(None if ratio is None else f"{ratio:.6f}" for ratio in (words.efficiency(line), words.coverage(line))),
        f"{words.energy(line):.6f}", line.holds, line.requests, line.prompt, line.output,
    ]  # fmt: skip
