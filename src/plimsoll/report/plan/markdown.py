"""A plan in Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.plan.result import Action, Item, Plan, Row
from plimsoll.report.plan import words
from plimsoll.report.view import clean

_ITEMS_MAX = 200  # that a reader of a pull request still looks at; a comment holds 65,536 characters
_FIELDS_MAX = 20


def render(plan: Plan) -> str:
    lines = [
        f"# Plan for `{_code(plan.platform)}`",
        "",
        f"**{words.sentence(plan)}.** Against {_text(plan.against)}.",
        "",
    ]
    lines += [f"{_text(said)}." for said in words.money(plan)]
    shown = plan.changes[:_ITEMS_MAX]
    for action in Action:
        if found := [each for each in shown if each.action is action]:
            lines += ["", f"## {str(action).capitalize()}", ""]
            lines += [line for each in found for line in _item(each)]
    if len(plan.changes) > _ITEMS_MAX:
        lines += ["", f"And {len(plan.changes) - _ITEMS_MAX} more."]
    if struck := plan.impact.struck:
        lines += ["", f"## Pods that feel it: {words.hours(struck)} GPU-hours at stake", ""]
        lines += ["| team | pod | holds | runs for | GPU-hours | is | because |", "|---|---|---|--:|--:|---|---|"]
        for each in struck[:_ITEMS_MAX]:
            pod, at_stake = f"`{_code(f'{each.pod.namespace}/{each.pod.name}')}`", words.number(each.gpu_hours)
            cells = (each.team or "none", pod, words.held(each), words.duration(each.running), at_stake, each.how)
            lines.append(f"| {' | '.join((*cells, _text(each.why)))} |")
    lines += _rows("Devices offered", "pool", plan.impact.capacity)
    lines += _rows("Devices promised", "team", plan.impact.quota)
    if plan.notes:
        lines += ["", "## To know", "", *(f"- {_text(each)}" for each in plan.notes)]
    return "\n".join(lines) + "\n"


def _item(item: Item) -> list[str]:
    lines = [f"- `{_code(words.title(item))}`{f': {_text(item.why)}' if item.why else ''}"]
    lines += [f"  - `{_code(words.change(each))}`" for each in item.fields[:_FIELDS_MAX]]
    if len(item.fields) > _FIELDS_MAX:
        lines.append(f"  - and {len(item.fields) - _FIELDS_MAX} more fields")
    return lines + [f"  - **{_text(each.path)} belongs to {_text(each.manager)}**" for each in item.owners]


def _rows(title: str, of: str, rows: Iterable[Row]) -> list[str]:
    found = words.moved(rows)
    if not found:
        return []
    body = [f"| {each.of} | {each.what} | {words.number(each.before)} | {words.number(each.after)} |" for each in found]
    return ["", f"## {title}", "", f"| {of} | what | now | then |", "|---|---|--:|--:|", *body]


def _text(raw: str) -> str:
    """Words of a cluster as words: no markup, no cell borders."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in clean(raw).replace("\n", " "))


def _code(raw: str) -> str:
    return clean(raw).replace("`", "'").replace("|", "\\|").replace("\n", " ")
