"""Every form of a diagnosis: complete, well-formed, and safe with text that somebody else chose."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from plimsoll.check.model import Severity
from plimsoll.diagnose.answer import Diagnosis, Finding, Unknown
from plimsoll.diagnose.model import DAY, Facts, Money, Signals, Subject, Value
from plimsoll.diagnose.rules import RULES
from plimsoll.diagnose.run import diagnose, explained
from plimsoll.diagnose.waste import per_day
from plimsoll.report.diagnose import explain, markdown, table
from plimsoll.report.diagnose import json as as_json
from tests.unit.diagnose.cases import CASES, signals

HOSTILE = (
    "<script>x</script> [l](javascript:x) |c| `t` **b** \x1b[31m\x00 \u202e \n# head [red]rich[/]; kubectl delete ns x"
)
EMPTY = Diagnosis(began=0, ended=DAY, measured=DAY, currency="USD", findings=(), unknown=(), asked=0, cost=10**9,
                  sources=("ledger",))  # fmt: skip


def every() -> Diagnosis:
    """One subject for each rule."""
    subjects = [signals(case) for case in CASES]
    return diagnose([*subjects, Signals(subject=Subject("workload", "a/unseen"))], RULES, EMPTY)


def hostile() -> Diagnosis:
    case = next(case for case in CASES if case.rule == "D01")
    of = signals(case, {"facts.pod": HOSTILE, "facts.owner": HOSTILE, "facts.team": HOSTILE})
    named = Signals(subject=Subject("workload", f"a/{HOSTILE}"), facts=of.facts, values=of.values, money=of.money)
    return diagnose([named], RULES, EMPTY)


FORMS: dict[str, Callable[[Diagnosis], str]] = {
    "table": table.render,
    "markdown": markdown.render,
    "json": as_json.render,
    "explain": lambda answer: explain.render(answer, RULES[0]),
}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_in_a_name_drives_the_reader(form: str) -> None:
    text = FORMS[form](hostile())
    assert "\x1b" not in text
    assert "\x00" not in text
    if form == "json":
        assert json.loads(text)["findings"][0]["subject"]["name"] == f"a/{HOSTILE}"
    else:
        assert "\u202e" not in text
    if form == "markdown":
        outside = re.sub(r"```sh\n.*?\n```|`[^`]*`", "", text, flags=re.DOTALL)
        assert not re.search(r"(?<!\\)[<\[]", outside)


def test_a_name_is_no_command() -> None:
    """What is not of a Kubernetes name does not reach a command line."""
    (found,) = hostile().findings
    for line in found.fix.splitlines():
        if line.startswith("kubectl"):
            assert not re.search(r"[;<>|`\n]|delete ns", line.partition(" -- ")[0]), line


def test_the_table_shows_every_rule_and_the_best_paid_first() -> None:
    answer = every()
    text = table.render(answer, width=160)
    for each in answer.roots:
        assert f"{each.rule.id} {each.rule.name}" in " ".join(text.split())
    errors = [each.severity for each in answer.findings]
    assert errors == sorted(errors, reverse=True)
    assert f"Unknown: {len(answer.unknown)} questions of {answer.asked} could not be answered" in text


def test_many_of_one_kind_are_one_row() -> None:
    case = next(case for case in CASES if case.rule == "D02")
    of = signals(case)
    subjects = [
        Signals(subject=Subject("workload", f"a/nb-{n}"), facts=of.facts, values=of.values, money=of.money)
        for n in range(4)
    ]
    answer = diagnose(subjects, RULES, EMPTY)
    text = " ".join(table.render(answer, width=200).split())
    assert "a/nb-0 and 3 more" in text
    assert "160.00" in text  # four times 40
    assert "4 causes waste 160.00 USD a day, 16% of what the GPUs cost" in text


def test_nothing_found_is_not_nothing_known() -> None:
    quiet = diagnose([signals(CASES[0], {"unused.gpus": 0})], RULES[:1], EMPTY)
    assert table.render(quiet).splitlines()[-1] == "Nothing was found."
    blind = diagnose([Signals(subject=Subject("workload", "a/b"))], RULES, EMPTY)
    assert "Nothing could be judged; " in table.render(blind)


def test_without_a_ledger_there_is_no_money() -> None:
    free = replace(EMPTY, cost=None, currency="")
    case = signals(CASES[0])
    unpriced = Signals(subject=case.subject, facts=case.facts, values=case.values)
    answer = diagnose([unpriced], RULES[:1], free)
    assert "what they cost is not known without a ledger" in table.render(answer)
    assert json.loads(as_json.render(answer))["cost"] is None


# What hides what


def finding(rule: str, subject: Subject, wasted: int, severity: Severity = Severity.WARNING, *tokens: str) -> Finding:
    of = next(each for each in RULES if each.id == rule)
    return Finding(rule=of, subject=subject, facts=Facts(), severity=severity, title="", fix="", evidence=(),
                   wasted_per_day=wasted, confidence="high", samples=1, coverage=1.0,
                   tokens=frozenset({str(subject), *tokens}))  # fmt: skip


WORK, TEAM, GPU = Subject("workload", "a/w"), Subject("team", "t"), Subject("gpu", "n/GPU-1")


@pytest.mark.parametrize(
    ("cause", "effect", "hidden"),
    [
        (finding("D33", WORK, 10), finding("D11", WORK, 20), True),
        (finding("D33", Subject("workload", "a/x"), 10), finding("D11", WORK, 20), False),  # of another
        (finding("D33", WORK, 10, Severity.INFO), finding("D11", WORK, 20), False),  # a milder one hides nothing
        (finding("D32", WORK, 10), finding("D11", WORK, 20), False),  # one does not follow from the other
        (finding("D01", WORK, 10), finding("D62", WORK, 20), True),
        (finding("D41", GPU, 10, Severity.WARNING, "workload/a/w"), finding("D36", WORK, 5), True),
        (finding("D41", GPU, 10, Severity.WARNING, "workload/a/w"), finding("D11", WORK, 5), False),
        (finding("D02", WORK, 60, Severity.WARNING, "team/t"), finding("D03", TEAM, 100), True),
        (finding("D02", WORK, 40, Severity.WARNING, "team/t"), finding("D03", TEAM, 100), False),  # not half of it
    ],
)
def test_a_finding_hides_what_follows_from_it(cause: Finding, effect: Finding, hidden: bool) -> None:
    one, other = explained([cause, effect])
    assert (one.hidden_behind, other.hidden_behind) == ((), (0,) if hidden else ())


def test_hiding_goes_down_to_the_root() -> None:
    found = explained([finding("D31", WORK, 1), finding("D33", WORK, 2), finding("D12", WORK, 3)])
    assert [each.hidden_behind for each in found] == [(), (0,), (0,)]


@pytest.mark.parametrize(
    ("findings", "total"),
    [
        ([finding("D62", WORK, 30), finding("D32", WORK, 50)], 50),
        ([finding("D62", WORK, 30), finding("D42", GPU, 50, Severity.WARNING, "workload/a/w")], 50),
        ([finding("D62", WORK, 30), finding("D62", Subject("workload", "a/x"), 50)], 80),
        ([finding("D02", WORK, 40, Severity.WARNING, "team/t"), finding("D03", TEAM, 100)], 100),
        ([finding("D02", WORK, 40), finding("D03", TEAM, 100)], 140),  # of another team
        ([finding("D52", Subject("node", "n"), 30), finding("D54", Subject("queue", "q"), 50)], 50),
        ([finding("D52", Subject("node", "n"), 30), finding("D02", WORK, 50)], 80),
    ],
)
def test_money_counts_once(findings: list[Finding], total: int) -> None:
    assert per_day(replace(EMPTY, findings=tuple(findings))) == total


def test_an_unknown_names_what_would_tell() -> None:
    of = Signals(subject=WORK, values={"held.minutes": Value(60, "ledger")}, money=Money(cost=1, gpu_ms=1))
    answer = diagnose([of], RULES, EMPTY)
    assert not answer.findings
    assert all(isinstance(each, Unknown) and each.why.startswith("needs ") for each in answer.unknown)
