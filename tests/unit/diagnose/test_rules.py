"""Every rule: it holds, it does not, it does not know. Without a signal there is never a verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.diagnose.answer import Diagnosis, Finding, Unknown
from plimsoll.diagnose.model import DAY, Facts, Signals, Subject, Value
from plimsoll.diagnose.rules import RULES
from plimsoll.diagnose.run import COVERAGE_MIN, ask, diagnose
from plimsoll.diagnose.signals import SIGNALS, shown
from tests.unit.diagnose.cases import CASES, MONEY, Case, signals

BY_ID = {rule.id: rule for rule in RULES}
EMPTY = Diagnosis(began=0, ended=DAY, measured=DAY, currency="USD", findings=(), unknown=(), asked=0, cost=None,
                  sources=("ledger",))  # fmt: skip
of_each = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{BY_ID[case.rule].name}")


def judged(case: Case, of: Signals, least: float = COVERAGE_MIN) -> Finding | Unknown | None:
    """What the rule of a case says; None also where it does not apply."""
    rule = BY_ID[case.rule]
    return ask(rule, of, DAY, least) if rule.applies(of.facts) else None


def test_every_rule_has_a_case_and_every_signal_a_meaning() -> None:
    assert [case.rule for case in CASES] == [rule.id for rule in RULES]
    used = {name for rule in RULES for name in rule.signals}
    assert used == set(SIGNALS)
    for rule in RULES:
        assert rule.title and rule.why and rule.name == rule.name.lower()
        assert rule.explains <= {*BY_ID, "*"}


def test_causes_explain_only_what_sits_less_deep() -> None:
    for rule in RULES:
        for effect in rule.explains - {"*"}:
            assert rule.depth < BY_ID[effect].depth, (rule.id, effect)


@of_each
def test_it_holds(case: Case) -> None:
    found = judged(case, signals(case))
    assert isinstance(found, Finding), found
    assert found.wasted_per_day == case.wasted
    assert found.fix and found.title and found.coverage == 1.0
    assert {each.signal for each in found.evidence} == set(case.values) & set(BY_ID[case.rule].signals)
    assert all(shown(each.signal, each.value) for each in found.evidence)


def _named(each: Case | dict[str, Any]) -> str:
    return each.rule if isinstance(each, Case) else ",".join(f"{key}={value}" for key, value in each.items())


@pytest.mark.parametrize(("case", "change"), [(case, change) for case in CASES for change in case.not_], ids=_named)
def test_it_does_not_hold(case: Case, change: dict[str, Any]) -> None:
    assert judged(case, signals(case, change)) is None


@pytest.mark.parametrize(("case", "change"), [(case, change) for case in CASES for change in case.still], ids=_named)
def test_it_holds_still(case: Case, change: dict[str, Any]) -> None:
    assert isinstance(judged(case, signals(case, change)), Finding)


@of_each
def test_without_a_signal_it_does_not_know(case: Case) -> None:
    for need in BY_ID[case.rule].needs:
        names = tuple(need.split("|"))
        said = judged(case, signals(case, without=names))
        assert isinstance(said, Unknown), need
        assert need in said.needs
        assert SIGNALS[names[0]].from_ in said.why


@of_each
def test_measured_too_little_it_does_not_know(case: Case) -> None:
    said = judged(case, signals(case, cover=COVERAGE_MIN - 0.01))
    assert isinstance(said, Unknown)
    assert "79%" in said.why
    assert isinstance(judged(case, signals(case, cover=COVERAGE_MIN)), Finding)


def test_what_was_measured_less_is_said_with_less_confidence() -> None:
    case = CASES[0]
    sure, less = judged(case, signals(case)), judged(case, signals(case, cover=0.9))
    assert isinstance(sure, Finding)
    assert isinstance(less, Finding)
    assert (sure.confidence, less.confidence) == ("high", "medium")


_value = st.one_of(st.floats(0, 1), st.floats(0, 1e4), st.sampled_from([0.0, 1.0, 1e11]))
_cover = st.floats(0, 1)


@st.composite
def _subjects(draw: st.DrawFn) -> Signals:
    names = draw(st.sets(st.sampled_from(sorted(SIGNALS))))
    facts = Facts(
        team="t", owner=draw(st.sampled_from(["", "Job", "Deployment", "Notebook"])), serves=draw(st.booleans()),
        batch=draw(st.booleans()), cut=draw(st.booleans()), shared=draw(st.booleans()),
        interactive=draw(st.booleans()), sku=draw(st.sampled_from(["", "L4", "H100-SXM5-80GB"])),
        profile=draw(st.sampled_from(["", "1g.10gb", "3g.40gb", "7g.80gb", "odd"])),
        memory_mib=draw(st.sampled_from([0, 20000, 81559])),
    )  # fmt: skip
    values = {name: Value(draw(_value), "ledger", draw(st.integers(0, 900)), draw(_cover)) for name in names}
    kind: Any = draw(st.sampled_from(["workload", "team", "node", "gpu", "queue"]))
    return Signals(subject=Subject(kind, "a/b"), facts=facts, values=values,
                   money=draw(st.sampled_from([None, MONEY])))  # fmt: skip


@settings(deadline=None)
@given(_subjects(), st.floats(0.01, 1))
def test_there_is_no_verdict_without_every_signal_it_needs(of: Signals, least: float) -> None:
    answer = diagnose([of], RULES, EMPTY, coverage_min=least)
    for found in answer.findings:
        assert found.rule.about == of.subject.kind
        for need in found.rule.needs:
            there = [of.values[name] for name in need.split("|") if name in of.values]
            assert any(value.coverage >= least for value in there), (found.rule.id, need)
        assert found.coverage >= least
        assert found.wasted_per_day is None or of.money is not None
    assert answer.asked >= len(answer.findings) + len(answer.unknown)


@settings(deadline=None)
@given(_subjects())
def test_a_rule_sees_only_what_it_declares(of: Signals) -> None:
    """It answers the same when everything else is gone."""
    for rule in RULES:
        if rule.about == of.subject.kind and rule.applies(of.facts):
            kept = of.only([*rule.signals, "held.minutes"])
            assert ask(rule, of, DAY, 0.5) == ask(rule, kept, DAY, 0.5)


@settings(deadline=None)
@given(st.lists(_subjects(), max_size=4))
def test_what_is_hidden_is_hidden_behind_root_causes(subjects: list[Signals]) -> None:
    answer = diagnose(subjects, RULES, EMPTY, coverage_min=0.1)
    for each in answer.findings:
        for index in each.hidden_behind:
            root = answer.findings[index]
            assert not root.hidden_behind
            assert root.severity >= each.severity
    assert not answer.findings or answer.roots
