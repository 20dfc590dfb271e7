"""A plan in Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.plan.result import Action, Item, Plan, Row
from plimsoll.report.plan import words
from plimsoll.report.view import clean

_ITEMS_MAX = 200  # that a reader of a pull request still looks at
_CHARS_MAX = 40_000  # of what changes; a comment holds 65,536 characters
_FIELDS_MAX = 20
_GRAVEST_FIRST = (Action.BLOCKED, Action.REPLACE, Action.PRUNE, Action.CHANGE, Action.CREATE, Action.UNKNOWN)


def render(plan: Plan) -> str:
    lines = [
        f"# Plan for `{_code(plan.platform)}`",
        "",
        f"**{words.sentence(plan)}.** Against {_text(plan.against)}.",
        "",
    ]
    lines += [f"{_text(said)}." for said in words.money(plan)]
    lines += _changes(plan)
    if struck := plan.impact.struck:
        lines += ["", f"## Pods that feel it: {words.hours(struck)} GPU-hours at stake", ""]
        lines += ["| team | pod | holds | runs for | GPU-hours | is | because |", "|---|---|---|--:|--:|---|---|"]
        for each in struck[:_ITEMS_MAX]:
            pod, at_stake = _text(f"{each.pod.namespace}/{each.pod.name}"), words.number(each.gpu_hours)
            team, held = _text(each.team or "none"), _text(words.held(each))
            cells = (team, pod, held, words.duration(each.running), at_stake, each.how, _text(each.why))
            lines.append(f"| {' | '.join(cells)} |")
        if len(struck) > _ITEMS_MAX:
            lines += ["", f"And {len(struck) - _ITEMS_MAX} more."]
    if plan.impact.unseen:
        lines += ["", f"**{_text(plan.impact.unseen)}.**"]
    lines += _rows("Devices offered", "pool", plan.impact.capacity)
    lines += _rows("Devices promised", "team", plan.impact.quota)
    if plan.notes:
        lines += ["", "## To know", "", *(f"- {_text(each)}" for each in plan.notes)]
    return "\n".join(lines) + "\n"


def _changes(plan: Plan) -> list[str]:
    """By action, the gravest first as far as a comment has room."""
    lines: list[str] = []
    left, room = 0, _CHARS_MAX
    for action in _GRAVEST_FIRST:
        head = ["", f"## {str(action).capitalize()}", ""]
        for number, item in enumerate(each for each in plan.changes if each.action is action):
            said = (head if not number else []) + _item(item)
            room -= sum(map(len, said))
            if room < 0:
                left += 1
            else:
                lines += said
    return lines + (["", f"And {left} more: `plimsoll plan` lists them."] if left else [])


def _item(item: Item) -> list[str]:
    why = f": {_text(item.why)}" if item.why else ""
    lines = [f"- `{_code(words.title(item))}`{why}{f' ({_text(item.hint)})' if item.hint else ''}"]
    lines += [f"  - `{_code(words.change(each))}`" for each in item.fields[:_FIELDS_MAX]]
    if len(item.fields) > _FIELDS_MAX:
        lines.append(f"  - and {len(item.fields) - _FIELDS_MAX} more fields")
    return lines + [f"  - **{_text(each.path)} belongs to {_text(each.manager)}**" for each in item.owners]


def _rows(title: str, of: str, rows: Iterable[Row]) -> list[str]:
    found = words.moved(rows)
    if not found:
        return []
    body = [
        f"| {_text(each.of)} | {_text(each.what)} | {words.number(each.before)} | {words.number(each.after)} |"
        for each in found
    ]
    return ["", f"## {title}", "", f"| {of} | what | now | then |", "|---|---|--:|--:|", *body]


def _text(raw: str) -> str:
    """Words of a cluster as words: no markup, no cell borders."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#!" else char for char in clean(raw).replace("\n", " "))


def _code(raw: str) -> str:
    """Words of a cluster within a code span."""
    return clean(raw).replace("`", "'").replace("\n", " ")
