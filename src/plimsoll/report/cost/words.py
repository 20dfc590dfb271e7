"""What the forms of a bill say alike: numbers, names, and what is to be known beside them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from plimsoll.cost.bill import Line
from plimsoll.cost.sample import HOUR
from plimsoll.cost.statement import Statement
from plimsoll.cost.window import Window, text
from plimsoll.report.view import amount, clean

UNUSED = ("idle", "low", "unallocated", "stranded", "absent")  # classes of money for GPUs that did little or nothing
CAUSES = {
    "idle": "held and idle",
    "low": "held and hardly used",
    "unallocated": "held by nobody",
    "stranded": "left over by MIG",
    "absent": "bought and not there",
    "spread": "unused GPUs of the pool",
}
_NAMES_MAX = 8
_KWH = 3_600_000_000  # millijoules
_NAMERS = {
    "model": "no model is known: engines are known by their own counters, or by a service of the declaration",
    "tenant": "no tenant is known: a gateway's log names them (agent meter --gateway-log)",
    "served": "no tenant is known: a gateway's log names them (agent meter --gateway-log)",
    "request": "no request is known: a gateway's log tells them (agent meter --gateway-log)",
}


def plain(raw: str) -> str:
    """Somebody's words on one line, without control characters."""
    return clean(raw).replace("\n", " ")


def money(micro: int) -> str:
    """Micro-units for people: two decimals."""
    if 0 < abs(micro) < 10_000:
        return "<0.01" if micro > 0 else ">-0.01"
    return f"{Decimal(micro) / 1_000_000:,.2f}"


def exact(micro: int) -> Decimal:
    """Micro-units for programs: to the last of six decimals."""
    return Decimal(micro).scaleb(-6)


def hours(millis: int) -> str:
    if 0 < millis < HOUR // 20:
        return "<0.1"
    return f"{millis / HOUR:,.1f}"


def in_hours(millis: int) -> float:
    """For programs: to the last of six decimals."""
    return round(millis / HOUR, 6)


def ratio(found: float | None) -> float | None:
    """For programs: to the last of six decimals."""
    return None if found is None else round(found, 6)


def percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.0%}"


def change(now: int, before: int | None) -> str:
    """How much more or less than before: `+12%`, `new`, `` where that is not known."""
    if before is None:
        return ""
    if before == 0:
        return "new" if now else ""
    ratio = (now - before) / before
    return f"{ratio:+.0%}" if abs(ratio) < 10 else f"×{now / before:,.0f}"


def efficiency(line: Line) -> float | None:
    """Of the GPU time that was measured, the part in which the GPU was busy; None where nothing was measured."""
    return min(line.used_ms / line.known_ms, 1.0) if line.known_ms else None


def coverage(line: Line) -> float | None:
    """Of the GPU time that was held, the part that was measured; None where nothing was held."""
    return min(line.known_ms / line.held_ms, 1.0) if line.held_ms else None


def idle(line: Line) -> int:
    """Money for GPUs that did nothing: held and idle, or held by nobody."""
    return line.idle + line.unallocated + line.stranded


def waste(line: Line) -> int:
    """Money for GPUs that did nothing or little, or were not there; a line's part of it where that is spread."""
    return line.idle + line.low + line.unallocated + line.stranded + line.absent + line.spread


def cause(line: Line) -> str:
    """The class that most of a line's unused money is of; "" where none is."""
    most = max(CAUSES, key=lambda name: getattr(line, name))
    return most if getattr(line, most) > 0 else ""


def said(line: Line) -> str:
    """The cause in words, and how much of the line's money it is."""
    found = cause(line)
    if not found:
        return "not measured" if line.held_ms and not line.known_ms else ""
    share = getattr(line, found) / line.cost if line.cost else 0
    return f"{CAUSES[found]} ({share:.0%})"


def energy(line: Line) -> float:
    """Kilowatt-hours."""
    return line.energy / _KWH


def name(line: Line, by: str) -> str:
    """Whose line it is, for people."""
    if line.key:
        return plain(f"{line.key} for {line.id or '(nobody named)'}" if by == "served" else line.key)
    if by in ("pool", "sku", "node"):
        return f"(no {by})"
    return f"(no {'model' if by == 'served' else by}, or unused)" if line.held_ms else "(unused)"


def span(millis: int) -> str:
    """A length of time in its two largest units: `7d`, `3h 20m`, `45s`, `12ms`."""
    parts = []
    for unit, size in (("d", 86_400_000), ("h", HOUR), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, millis = divmod(millis, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def period(window: Window) -> str:
    """`2026-11-01 to 2026-12-01` where it is whole days, else with the time."""
    began, ended = text(window.began), text(window.ended)
    if began.endswith("T00:00:00Z") and ended.endswith("T00:00:00Z"):
        began, ended = began[:10], ended[:10]
    return f"{began} to {ended}"


def listed(names: Sequence[str]) -> str:
    found = [plain(each) for each in names[:_NAMES_MAX]]
    return "; ".join(found) + (f"; and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else "")


def balance(found: Statement) -> str:
    """That the lines add up, to what. A bill in which they do not is none: it was refused."""
    bill = found.bill
    return f"Σ lines = Σ nodes = {exact(bill.total):,f} {bill.currency}, {period(found.window)}"


def notes(found: Statement) -> list[str]:
    """What has to be known beside the figures, the gravest first."""
    bill, said = found.bill, []
    if bill.unpriced:
        nodes = amount(len(bill.unpriced), "node has", "nodes have")
        said.append(f"{nodes} no price and cost nothing here: {listed(bill.unpriced)}")
    if found.coverage is not None and found.coverage < 0.995:
        said.append(f"{found.coverage:.1%} of the GPU time that was held was measured; of the rest no use is known")
    if found.watched < 0.9995:
        said.append(f"meters watched {found.watched:.1%} of this time; the longest gap is {span(found.reach.gap)}")
    if found.asked.began < found.window.began:
        said.append(f"the ledger begins at {text(found.reach.first)}")
    if found.asked.ended > found.window.ended:
        said.append(f"meters watched until {text(found.reach.last)}: what came after is not in it")
    if found.compared and found.earlier is None:
        said.append("no comparison: the ledger does not reach back to the window before")
    if bill.query.by in _NAMERS and not any(line.id if bill.query.by == "served" else line.key for line in bill.lines):
        said.append(_NAMERS[bill.query.by])
    if bill.stale:
        said.append("a price is older than the price book allows (90 days): write the current one into platform.yaml")
    if bill.sources:
        said.append(f"prices: {listed(bill.sources)}")
    return said
