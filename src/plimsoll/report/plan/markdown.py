"""A plan in Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.plan.result import Action, Item, Plan, Row
from plimsoll.report.escape import code, text
from plimsoll.report.plan import words

_ITEMS_MAX = 200  # that a reader of a pull request still looks at
_CHARS_MAX = 40_000  # of what changes; a comment holds 65,536 characters
_FIELDS_MAX = 20
_GRAVEST_FIRST = (Action.BLOCKED, Action.REPLACE, Action.PRUNE, Action.CHANGE, Action.CREATE, Action.UNKNOWN)


def render(plan: Plan) -> str:
    lines = [
        f"# Plan for {code(plan.platform)}",
        "",
        f"**{words.sentence(plan)}.** Against {text(plan.against)}.",
        "",
    ]
    lines += [f"{text(said)}." for said in words.money(plan)]
    lines += _changes(plan)
    if struck := plan.impact.struck:
        lines += ["", f"## Pods that feel it: {words.hours(struck)} GPU-hours at stake", ""]
        lines += ["| team | pod | holds | runs for | GPU-hours | is | because |", "|---|---|---|--:|--:|---|---|"]
        for each in struck[:_ITEMS_MAX]:
            pod, at_stake = text(f"{each.pod.namespace}/{each.pod.name}"), words.number(each.gpu_hours)
            team, held = text(each.team or "none"), text(words.held(each))
            cells = (team, pod, held, words.duration(each.running), at_stake, each.how, text(each.why))
            lines.append(f"| {' | '.join(cells)} |")
        if len(struck) > _ITEMS_MAX:
            lines += ["", f"And {len(struck) - _ITEMS_MAX} more."]
    if plan.impact.unseen:
        lines += ["", f"**{text(plan.impact.unseen)}.**"]
    lines += _rows("Devices offered", "pool", plan.impact.capacity)
    lines += _rows("Devices promised", "team", plan.impact.quota)
    if plan.notes:
        lines += ["", "## To know", "", *(f"- {text(each)}" for each in plan.notes)]
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
    why = f": {text(item.why)}" if item.why else ""
    lines = [f"- {code(words.title(item))}{why}{f' ({text(item.hint)})' if item.hint else ''}"]
    lines += [f"  - {code(words.change(each))}" for each in item.fields[:_FIELDS_MAX]]
    if len(item.fields) > _FIELDS_MAX:
        lines.append(f"  - and {len(item.fields) - _FIELDS_MAX} more fields")
    return lines + [f"  - **{text(each.path)} belongs to {text(each.manager)}**" for each in item.owners]


def _rows(title: str, of: str, rows: Iterable[Row]) -> list[str]:
    found = words.moved(rows)
    if not found:
        return []
    body = [
        f"| {text(each.of)} | {text(each.what)} | {words.number(each.before)} | {words.number(each.after)} |"
        for each in found
    ]
    return ["", f"## {title}", "", f"| {of} | what | now | then |", "|---|---|--:|--:|", *body]
