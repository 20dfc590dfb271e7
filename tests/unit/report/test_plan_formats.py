"""Every form of a plan: complete, well-formed, and safe with text that somebody else chose."""

from __future__ import annotations

import json
import re

import jsonschema_rs
import pytest
from msgspec.structs import replace

from plimsoll.kube.objects import Ref
from plimsoll.plan.fields import Field
from plimsoll.plan.result import EVICTED, Action, Impact, Owner, Plan, Row, Struck
from plimsoll.report.plan import table, words
from plimsoll.report.plan.json import SCHEMA_VERSION, schema
from tests.unit.report import planned
from tests.unit.report.planned import item, render

HOSTILE = "<script>x</script> [l](javascript:x) |c| `t` **b** \x1b[31m\x00 \u202e \n# head [red]rich[/] ![i](http://x)"
FORMS = tuple(planned.FORMS.values())


@pytest.mark.parametrize("name", planned.FORMS)
def test_each_form_says_what_was_reviewed(name: str) -> None:
    found = planned.files()[name]
    kept = (planned.GOLDEN / name).read_text(encoding="utf-8")
    assert found == kept, "look at the difference; if it is meant, run `make golden` and commit it"


def test_the_goldens_show_every_action() -> None:
    plan = planned.full()
    assert {each.action for each in plan.items} == set(Action)
    text = (planned.GOLDEN / "plan.json").read_text()
    assert {each["action"] for each in json.loads(text)["changes"]} == {str(each) for each in Action} - {"keep"}


def empty(**more: object) -> Plan:
    return Plan(platform="acme", against="prod", items=(item(Action.KEEP, "Namespace", "a"),), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_a_plan_of_nothing(form: str) -> None:
    text = render(form, empty())
    assert "No change: 1 object as declared" in text


@pytest.mark.parametrize("plan", [planned.full(), empty()], ids=["full", "empty"])
def test_json_is_as_its_schema_says(plan: Plan) -> None:
    found = json.loads(render("json", plan))
    jsonschema_rs.validator_for(schema()).validate(found)
    assert found["schemaVersion"] == SCHEMA_VERSION == "plimsoll.dev/plan/v1"
    assert sum(found["counts"].values()) == len(plan.items)
    assert len(found["changes"]) == len(plan.changes)


def test_json_says_what_is_unknown_with_null() -> None:
    [_, chat] = json.loads(render("json", planned.full()))["impact"]["pods"]
    assert (chat["runningSeconds"], chat["gpuHours"], chat["team"]) == (None, None, "")


def hostile() -> Plan:
    return Plan(
        platform=HOSTILE,
        against=HOSTILE,
        items=(
            item(Action.CHANGE, HOSTILE, HOSTILE, HOSTILE, Field(HOSTILE, HOSTILE, HOSTILE + "x"),
                 Field("a", None, {HOSTILE: HOSTILE}), pillar="queueing",
                 owners=(Owner(HOSTILE, HOSTILE),), why=HOSTILE, hint=HOSTILE),
            *(item(each, "ConfigMap", HOSTILE, pillar="security", why=HOSTILE) for each in Action),
        ),
        impact=Impact(
            struck=(Struck(pod=Ref("v1", "Pod", HOSTILE, HOSTILE), team=HOSTILE, node=HOSTILE, how=EVICTED, why=HOSTILE,
                           devices={HOSTILE: 1}, running=1.0, gpu_hours=1.0),),
            unseen=HOSTILE,
            capacity=(Row(of=HOSTILE, what=HOSTILE, before=1, after=2),),
            quota=(Row(of=HOSTILE, what=HOSTILE, before=1, after=2),),
        ),
        notes=(HOSTILE,),
    )  # fmt: skip


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_nothing_of_a_cluster_drives_a_terminal(form: str) -> None:
    text = render(form, hostile())
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_nothing_of_a_cluster_is_read_as_markup_of_the_terminal() -> None:
    text = table.render(hostile(), color=True, width=400)
    assert "[red]rich[/]" in text
    assert "\x1b[31m\x00" not in text


def test_nothing_of_a_cluster_is_markup_in_markdown() -> None:
    text = render("markdown", hostile())
    outside = re.sub(r"`[^`\n]*`", "", text)
    assert not re.search(r"(?<!\\)<script", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"(?<!\\)!\[", outside)
    assert not [line for line in text.splitlines() if line.startswith("# head")]
    assert text.count("`") % 2 == 0
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    assert sorted(columns) == [5, 5, 5, 5, 8, 8], "no cell of a cluster makes another cell"


def test_json_keeps_hostile_text_as_it_is() -> None:
    found = json.loads(render("json", hostile()))
    assert found["against"] == HOSTILE
    jsonschema_rs.validator_for(schema()).validate(found)


def test_a_large_plan_fits_a_comment_and_shows_the_gravest() -> None:
    fields = [Field(f"spec.f{n}", "a" * 150, "b" * 150) for n in range(30)]
    many = [item(Action.CHANGE, "ConfigMap", f"m{n}", "a", *fields) for n in range(500)]
    plan = Plan(platform="p", against="c", items=(*many, item(Action.BLOCKED, "ConfigMap", "bad", why="it is wrong")))
    text = render("markdown", plan)
    assert len(text) < 65_536
    assert "it is wrong" in text
    assert re.search(r"And \d{3} more", text)
    assert len(render("table", plan).splitlines()) > 500 * 12


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("a", None, 1), "a: 1 (new)"),
        (Field("a", {"b": 1}, None), 'a: {"b": 1} (goes)'),
        (Field("a", "x", ""), 'a: x → ""'),
        (Field("a", True, False), "a: true → false"),
        (Field("a", "one\ntwo", "one\ntwo\nthree"), "a: lines +1 -0"),
        (Field("a", 1, "c" * 200), f"a: 1 → {'c' * 160}… (200 characters)"),
    ],
)
def test_a_field_in_one_line(field: Field, said: str) -> None:
    assert words.change(field) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "unknown"), (0.0, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (5400.0, "1.5 h"), (172800.0, "2.0 d")],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


def test_hours_that_are_not_all_known_are_a_lower_bound() -> None:
    known = planned.full().impact.struck[0]
    assert words.hours((known, replace(known, gpu_hours=1.5))) == "21.5"
    assert words.hours((known, replace(known, gpu_hours=None))) == "20.0 or more"


def test_money_before_and_after() -> None:
    assert words.money(planned.full()) == [
        "EUR per hour: unknown now, 98.32 with the fewest nodes and 196.64 with the most nodes that are declared",
        "without a price: l4",
    ]
    priced = replace(planned.full(), impact=Impact(cost=planned.full().impact.cost[:2]))
    assert words.money(priced)[0].startswith("USD per hour: 98.32 now, 98.32 with the fewest")
