"""A plan for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plimsoll.plan.result import Action, Item, Plan, Row, Struck
from plimsoll.report.plan import words
from plimsoll.report.terminal import drawn, line
from plimsoll.report.view import clean

_STYLES = {
    Action.CREATE: "green",
    Action.CHANGE: "yellow",
    Action.REPLACE: "bold red",
    Action.PRUNE: "red",
    Action.BLOCKED: "bold red",
    Action.UNKNOWN: "magenta",
}
_FIELDS_MAX = 12  # of one object
_PODS_MAX = 20


def render(plan: Plan, *, color: bool = False, width: int = 110) -> str:
    """`color`: ANSI codes; without them the signs carry the meaning alone."""
    return drawn(lambda console: _plan(console, plan), color=color, width=width)


def _plan(console: Any, plan: Plan) -> None:
    line(console, f"platform {plan.platform} against {plan.against}", "dim")
    for pillar in dict.fromkeys(each.pillar for each in plan.changes):
        console.print()
        line(console, pillar, "bold")
        for item in plan.changes:
            if item.pillar == pillar:
                _item(console, item)
    _struck(console, plan.impact.struck)
    if plan.impact.unseen:
        line(console, plan.impact.unseen, "magenta")
    _rows(console, "Devices offered", "pool", plan.impact.capacity)
    _rows(console, "Devices promised", "team", plan.impact.quota)
    console.print()
    for said in (*words.money(plan), *words.provisos(plan)):
        line(console, said)
    line(console, f"{words.sentence(plan)}.", "bold")


def _item(console: Any, item: Item) -> None:
    line(console, f"{words.SIGNS[item.action]} {words.title(item)}", _STYLES.get(item.action, ""), indent=2)
    if item.why:
        line(console, f"{item.why}{f' ({item.hint})' if item.hint else ''}", indent=6)
    for field in item.fields[:_FIELDS_MAX]:
        line(console, words.change(field), indent=6)
    if len(item.fields) > _FIELDS_MAX:
        line(console, f"and {len(item.fields) - _FIELDS_MAX} more fields", "dim", indent=6)
    for owner in item.owners:
        line(console, f"{owner.path} belongs to {owner.manager}: --force-conflicts takes it", "red", indent=6)


def _struck(console: Any, struck: tuple[Struck, ...]) -> None:
    if not struck:
        return
    rows = [
        (each.team or "none", f"{each.pod.namespace}/{each.pod.name}", words.held(each), words.duration(each.running),
         "unknown" if each.gpu_hours is None else f"{each.gpu_hours:,.1f}", each.how, each.why)
        for each in struck[:_PODS_MAX]
    ]  # fmt: skip
    _table(console, "Pods that feel it", ("team", "pod", "holds", "runs for", "GPU-hours", "is", "because"), rows)
    more = f"and {len(struck) - _PODS_MAX} more; " if len(struck) > _PODS_MAX else ""
    line(console, f"{more}{words.hours(struck)} GPU-hours at stake unless they are saved", indent=2)


def _rows(console: Any, title: str, of: str, rows: Iterable[Row]) -> None:
    if found := words.moved(rows):
        body = [(each.of, each.what, words.number(each.before), words.number(each.after)) for each in found]
        _table(console, title, (of, "what", "now", "then"), body)


def _table(console: Any, title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print()
    console.print(table)
