"""The bill beside another formula: ours is exact, theirs is what its description says, and the page shows both."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from bench.opencost_formula import GPU, Asked, Machine, allocate, hours
from bench.opencost_table import CASES, Case, compare, markdown, mig_single, price_split, time_sliced_renamed
from plimsoll.cost.sample import HOUR
from tests.unit.cost.truth import START

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "comparison.md"
MINUTE = 60_000
CARD = Machine(55_040_000, 8, gpu_price=6_880_000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_our_bill_is_exact_for_every_pod(case: Callable[[], Case]) -> None:
    row = compare(case())
    assert row.ours_off < 1
    assert row.truth > 0


def test_a_slice_is_billed_as_a_whole_card() -> None:
    asked = Asked("nb", CARD, START + 12 * HOUR, START + 18 * HOUR, {GPU: 1})
    # From the sample at 12:00 to that at 17:55, at 6.88 an hour; a seventh of it would be right.
    assert allocate([asked], START, START + 24 * HOUR) == {"nb": Fraction(6_880_000 * 71, 12)}
    assert compare(mig_single()).worst[1] > Fraction(699, 100)


def test_the_default_prices_leave_a_third_of_the_node_to_its_gpus() -> None:
    core, gib, gpu = Machine(55_040_000, 8).prices()
    assert round(float(gpu) / 1e6, 2) == 2.34
    assert core * 192 + gib * 2048 + gpu * 8 == 55_040_000
    pod = price_split().asked[0]
    # (8 × 0.95 + 16 × 0.031611 + 64 × 0.004237) ÷ (8 × 0.95 + 192 × 0.031611 + 2048 × 0.004237) = 8.376944 ÷ 22.346688
    assert pod.rate() == 55_040_000 * Fraction("8.376944") / Fraction("22.346688")


def test_a_resource_of_another_name_costs_nothing() -> None:
    row = compare(time_sliced_renamed())
    assert not any((*row.theirs, *row.worst))


@pytest.mark.parametrize(
    ("runs", "minutes"),
    [
        ([(1, 4)], 0),  # between two samples: never seen
        ([(4, 6)], 5),  # one sample counts a step
        ([(0, 60)], 55),  # the sample at its end is not there any more
        ([(4, 61)], 55),
        ([(0, 10), (200, 211)], 210),  # one name: what lies between is counted
    ],
)
def test_hours_are_those_between_samples(runs: list[tuple[int, int]], minutes: int) -> None:
    spans = [(START + began * MINUTE, START + ended * MINUTE) for began, ended in runs]
    assert hours(spans, START, START + 24 * HOUR, 5 * MINUTE) * 60 == minutes


def test_the_page_shows_what_the_comparison_gives() -> None:
    assert markdown([compare(case()) for case in CASES]) in PAGE.read_text(encoding="utf-8")
