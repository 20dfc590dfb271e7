"""What must always hold of root causes, whatever the faults."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.check.cause import Fault, explain
from plimsoll.check.model import Layer, Severity

TOKENS = ["node/a", "node/b", "node/*", "queue/q", "service/s/chat", "service/*", "pod/x/y"]
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(list(Layer)),
        st.sampled_from(list(Severity)),
        st.frozensets(st.sampled_from(TOKENS), max_size=3),
    ),
    max_size=12,
)


def share(left: Fault, right: Fault) -> bool:
    def touch(one: str, other: str) -> bool:
        kinds = one.partition("/")[0] == other.partition("/")[0]
        return one == other or (
            kinds and ("/*" in one or "/*" in other) and (one.endswith("/*") or other.endswith("/*"))
        )

    return any(touch(one, other) for one in left[2] for other in right[2])


@given(FAULTS)
def test_a_cause_is_deeper_as_severe_and_a_root_itself(faults: list[Fault]) -> None:
    roots = explain(faults)
    for index, causes in enumerate(roots):
        for cause in causes:
            assert faults[cause][0] < faults[index][0]
            assert faults[cause][1] >= faults[index][1]
            assert roots[cause] == ()


@given(FAULTS)
def test_a_root_has_nothing_above_it_that_could_explain_it(faults: list[Fault]) -> None:
    for index, causes in enumerate(explain(faults)):
        layer, severity, _ = faults[index]
        explained = any(
            Layer.RISK < other[0] < layer and other[1] >= severity and share(other, faults[index]) for other in faults
        )
        assert bool(causes) == (explained and layer is not Layer.RISK)


@given(FAULTS)
def test_risks_neither_explain_nor_are_explained(faults: list[Fault]) -> None:
    roots = explain(faults)
    risks = {index for index, fault in enumerate(faults) if fault[0] is Layer.RISK}
    assert all(roots[index] == () for index in risks)
    assert not any(cause in risks for causes in roots for cause in causes)


@given(FAULTS, st.randoms())
def test_the_order_of_findings_does_not_matter(faults: list[Fault], random: object) -> None:
    order = list(range(len(faults)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = explain([faults[index] for index in order])
    for place, index in enumerate(order):
        assert tuple(sorted(order[cause] for cause in shuffled[place])) == explain(faults)[index]


def test_explanations_chain() -> None:
    node = (Layer.DRIVER, Severity.ERROR, frozenset({"node/a"}))
    pod = (Layer.SCHEDULING, Severity.ERROR, frozenset({"node/a", "service/s/chat"}))
    service = (Layer.SERVICE, Severity.ERROR, frozenset({"service/s/chat"}))
    assert explain([service, pod, node]) == [(2,), (2,), ()]


def test_a_warning_does_not_hide_an_error() -> None:
    mild = (Layer.DRIVER, Severity.WARNING, frozenset({"node/a"}))
    bad = (Layer.CAPACITY, Severity.ERROR, frozenset({"node/a"}))
    assert explain([mild, bad]) == [(), ()]
