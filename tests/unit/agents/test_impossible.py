"""Exporters that tell what cannot be, and pods that ask for it: the meter goes on."""

from __future__ import annotations

import pytest

from plimsoll.agents.meter.dcgm import Pages
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.seats import Seats
from plimsoll.cost.sample import Usage

ROUND = 15_000
T = 1_790_000_000_000
_BUSY = '# HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE x\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1"} 0.5\n'


def _used(name: str, values: list[str]) -> Usage:
    """The usage of a GPU that is busy half the time and tells these values of a metric, a round each."""
    fold, seats, pages, at = Fold(ROUND), Seats("n", 8, lambda _: 8), Pages(), T
    for value in values:
        readings = pages.read("n", f'{_BUSY}# HELP {name} x\n{name}{{UUID="GPU-1"}} {value}\n'.encode())
        seats.read(readings, at, lambda _: "")
        fold.take(seats, readings, at, lambda _: "")
        at += ROUND
    fold.settle(at)
    [found] = fold.usage()
    return found


@pytest.mark.parametrize("value", ["1e308", "1e300", "1e16", "-1e300", "-5", "NaN", "+Inf"])
@pytest.mark.parametrize("name", ["DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_BOARD_POWER_WATTS"])
def test_a_gauge_that_cannot_be_counts_as_not_read(name: str, value: str) -> None:
    found = _used(name, [value] * 3)
    assert (found.energy, found.memory) == (0, 0)
    assert (found.seen, found.busy) == (4 * ROUND, 2 * ROUND)


@pytest.mark.parametrize("values", [["0", "1e300", "1e305"], ["-1e300", "1e300", "1e300"], ["0", "1e18", "0"]])
def test_a_counter_of_energy_that_jumps_tells_nothing(values: list[str]) -> None:
    found = _used("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", values)
    assert found.energy == 0
    assert found.busy == found.seen // 2 > 0
