"""Metrics that somebody broke: a backfill says so in one sentence, or makes of them what can be made."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from plimsoll.errors import PlimsollError
from tests.unit.backfill.past import HOUR, START, generate
from tests.unit.backfill.test_backfill import ask, empty, fill
from tests.unit.kube.promserver import Exposed, serving

VALUES = (float("inf"), float("-inf"), float("nan"), -1.0, 0.0, 1e18, 1e300, -1e300, 5e-324, 4e9, 2.0**63)
TEXTS = ("", "\x1b[31mred", 'a"b\\c\n', "x" * 5000, "nvidia_com_mig_", "nvidia_com_mig_9g_0gb", "é\u202e", "-1", "0")


def broken(random: Random, sample: Exposed) -> Exposed:
    name, labels, at, value = sample
    if random.random() < 0.5:
        return name, labels, at, random.choice(VALUES)
    victim = random.choice(sorted(labels)) if labels else ""
    if not victim:
        return sample
    return name, {**labels, victim: random.choice(TEXTS)}, at, value


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_broken_the_bill_adds_up_or_there_is_one_sentence(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    past = generate(random, hours=1)
    told: dict[tuple[str, str, float], Exposed] = {}
    for sample in past.samples(START, START + HOUR):
        if random.random() < 0.02:
            sample = broken(random, sample)
        told[sample[0], str(sorted(sample[1].items())), sample[2]] = sample
    ledger = empty()
    with serving(tmp_path, told.values()) as url:
        try:
            fill(ledger, url, 1)
        except PlimsollError as error:
            assert str(error).isprintable()
            return
    answer = ask(ledger, START, START + HOUR)
    assert sum(line.cost for line in answer.lines) == answer.total
    for line in answer.lines:
        assert line.seen_ms >= 0
        assert line.energy >= 0
