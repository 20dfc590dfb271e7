"""What the forms of a plan say alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from plimsoll.plan.fields import Field
from plimsoll.plan.result import Action, Item, Plan, Row, Struck
from plimsoll.report.view import amount, clean

SIGNS = {
    Action.CREATE: "+",
    Action.CHANGE: "~",
    Action.REPLACE: "±",
    Action.PRUNE: "-",
    Action.BLOCKED: "!",
    Action.UNKNOWN: "?",
    Action.KEEP: " ",
}
_TEXT_MAX = 160
_ORDER = (Action.CREATE, Action.CHANGE, Action.REPLACE, Action.PRUNE, Action.BLOCKED, Action.UNKNOWN)
_VERBS = {
    Action.CREATE: "to create",
    Action.CHANGE: "to change",
    Action.REPLACE: "to replace",
    Action.PRUNE: "to prune",
    Action.BLOCKED: "blocked",
    Action.UNKNOWN: "unknown",
}
DONE = {
    Action.CREATE: "created",
    Action.CHANGE: "changed",
    Action.REPLACE: "replaced",
    Action.PRUNE: "pruned",
}


def sentence(plan: Plan) -> str:
    """The answer in one line."""
    kept = amount(plan.count(Action.KEEP), "object", "objects")
    if not plan.changes:
        return f"No change: {kept} as declared"
    counts = [f"{plan.count(each)} {_VERBS[each]}" for each in _ORDER if plan.count(each)]
    return f"{', '.join(counts)}; {kept} as declared"


def title(item: Item) -> str:
    return clean(f"{item.ref.kind}/{item.ref.namespace}/{item.ref.name}".replace("//", "/"))


def change(field: Field) -> str:
    """`path: before → after`."""
    if field.before is None:
        return f"{clean(field.path)}: {value(field.after)} (new)"
    if field.after is None:
        return f"{clean(field.path)}: {value(field.before)} (goes)"
    if isinstance(field.before, str) and isinstance(field.after, str) and ("\n" in field.before or "\n" in field.after):
        return f"{clean(field.path)}: {_lines(field.before, field.after)}"
    return f"{clean(field.path)}: {value(field.before)} → {value(field.after)}"


def value(found: Any) -> str:
    """A value in one line, long ones cut."""
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, sort_keys=True, default=str)
    text = clean(text.replace("\n", "⏎")) or '""'
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}… ({len(text)} characters)"


def _lines(before: str, after: str) -> str:
    """How many lines of a long text come and go."""
    old, new = before.splitlines(), after.splitlines()
    return f"lines +{len(set(new) - set(old))} -{len(set(old) - set(new))}"


def held(struck: Struck) -> str:
    return ", ".join(f"{number} × {resource}" for resource, number in sorted(struck.devices.items())) or "no GPU"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def moved(rows: Iterable[Row]) -> list[Row]:
    """The rows whose number changes, or may."""
    return [each for each in rows if each.before != each.after]


def number(found: float | None) -> str:
    return "unknown" if found is None else f"{found:,.2f}".removesuffix(".00")


def hours(struck: Iterable[Struck]) -> str:
    """GPU-hours at stake, together."""
    known = [each.gpu_hours for each in struck]
    total = sum(each for each in known if each is not None)
    return f"{total:,.1f}{'' if None not in known else ' or more'}"


def provisos(plan: Plan) -> list[str]:
    """What is still open about a plan."""
    found = []
    if unseen := sum(each.action is Action.CREATE and not each.judged for each in plan.items):
        found.append(
            f"{amount(unseen, 'object is', 'objects are')} judged by the server only once what they need is there"
        )
    if any(each.action is Action.PRUNE for each in plan.items):
        found.append("what is no longer declared goes only with --prune")
    if any(each.action is Action.CHANGE and each.disruptive for each in plan.items) and plan.impact.struck:
        found.append("nodes that pods hold GPUs of are given other partitions only with --drain")
    return found


def money(plan: Plan) -> list[str]:
    """Cost per hour now, and with the fewest and the most nodes declared; one sentence where all is known."""
    rows = plan.impact.cost
    unpriced = sorted({each.of for each in rows if each.after is None})
    now = [each.before for each in rows if each.what == "fewest nodes"]
    found = []
    for what in ("fewest nodes", "most nodes"):
        after = [each.after for each in rows if each.what == what and each.after is not None]
        found.append(f"{sum(after):,.2f} with the {what}")
    before = "unknown" if None in now or not now else f"{sum(each for each in now if each is not None):,.2f}"
    text = [f"{plan.impact.currency} per hour: {before} now, {' and '.join(found)} that are declared"]
    return text + ([f"without a price: {', '.join(unpriced)}"] if unpriced else [])
