"""Cells of a device become usage: the same as adding up every single millisecond."""

from __future__ import annotations

from collections import defaultdict
from math import isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter.claims import GPU
from plimsoll.backfill import usage
from plimsoll.backfill.devices import Device, Name
from plimsoll.backfill.gauges import Cells, Grid, Values
from plimsoll.backfill.seats import Seat
from plimsoll.cost.sample import IDLE, LOW

ONE = Device("GPU-a")
RATIO = st.sampled_from([nan, 0.0, 0.005, 0.1, 0.5, 1.0])


def name(uid: str) -> Name:
    return "blue", uid


def seat(uid: str, began: int, ended: int, device: Device = ONE) -> Seat:
    return Seat(uid, device, GPU, 1, began, ended, True)


grids = st.builds(
    lambda began, span, step: Grid(began, began + span, step),
    st.integers(0, 200), st.integers(1, 120), st.integers(1, 40),
)  # fmt: skip


@given(grid=grids)
def test_cells_cover_a_grid_once(grid: Grid) -> None:
    cells = [grid.cell(place) for place in range(grid.count)]
    assert cells[0][0] == grid.began
    assert cells[-1][1] == grid.ended
    assert all(first < last for first, last in cells)
    assert [first for first, _ in cells[1:]] == [last for _, last in cells[:-1]]
    for moment in range(grid.began, grid.ended):
        first, last = grid.cell(grid.place(moment))
        assert first <= moment < last


@given(
    grid=grids,
    seats=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-20, 320), st.integers(1, 120)), max_size=5),
    data=st.data(),
)
def test_usage_is_the_sum_of_its_milliseconds(
    grid: Grid, seats: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    def cells(values: st.SearchStrategy[float]) -> Cells:
        return data.draw(st.lists(values, min_size=grid.count + 1, max_size=grid.count + 1))

    held = [seat(uid, began, began + span) for uid, began, span in seats]
    values = Values({"busy": cells(RATIO), "sm": cells(RATIO), "memory": cells(st.sampled_from([nan, 10.0]))})
    energy = cells(st.sampled_from([nan, 300.0]))[: grid.count]
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for each in usage.fold(ONE, held, grid, values, energy, name):
        assert grid.began <= each.began < each.ended <= grid.ended
        assert each.idle + each.low <= each.seen <= each.ended - each.began
        for field in ("seen", "idle", "low", "busy", "sm", "energy", "memory"):
            found[each.pod][field] += getattr(each, field)
    exact: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for moment in range(grid.began, grid.ended):
        uids = {each.uid for each in held if each.began <= moment < each.ended}
        sums, place = exact[uids.pop() if len(uids) == 1 else ""], grid.place(moment)
        busy, sm, memory = (values.fields[field][place] for field in ("busy", "sm", "memory"))
        sums["energy"] += 0 if isnan(energy[place]) else energy[place]
        sums["memory"] += 0 if isnan(memory) else memory
        if not isnan(busy):
            sums["seen"] += 1
            sums["busy"] += busy
            sums["sm"] += 0 if isnan(sm) else sm
            sums["idle"] += busy < IDLE
            sums["low"] += busy >= IDLE and (busy if isnan(sm) else sm) < LOW
    for uid in {*found, *exact}:
        for field, expected in exact[uid].items():
            assert found[uid][field] == pytest.approx(expected, abs=3), (uid, field)  # one for each piece's rounding


def test_what_sharers_did_is_theirs_where_it_is_told() -> None:
    grid = Grid(0, 100, 50)
    own = {name("a"): {"busy": [0.6, 0.6, nan]}, name("b"): {"busy": [0.2, nan, nan]}}
    values = Values({"busy": [0.8, 0.8, nan], "sm": [0.1, 0.1, nan]}, {}, own)
    found = {each.pod: each for each in usage.fold(ONE, [seat("a", 0, 100), seat("b", 0, 100)], grid, values,
                                                   [400.0, 400.0], name)}  # fmt: skip
    assert set(found) == {"a", "b"}
    assert (found["a"].seen, found["a"].busy, found["a"].low) == (100, 60, 0)
    assert (found["b"].seen, found["b"].busy) == (50, 10)
    assert (found["a"].energy, found["b"].energy) == (15_000 + 20_000, 5_000)


def test_a_device_that_changes_hands_within_a_cell() -> None:
    grid = Grid(0, 100, 50)
    values = Values({"busy": [0.0, 0.0, nan]}, {name("a"): {"busy": [0.9, nan, nan]}})
    found = {each.pod: each for each in usage.fold(ONE, [seat("a", 0, 20)], grid, values, [nan, nan], name)}
    assert (found["a"].seen, found["a"].busy, found["a"].idle) == (20, 18, 0)
    assert (found[""].seen, found[""].idle) == (80, 80)


def test_energy_is_by_the_counter_else_by_power() -> None:
    grid = Grid(0, 400, 100)
    counted = Values({"joules": [10.0, 40.0, 5.0, 15.0], "watts": [7.0] * 4}, before=nan)
    # At first nothing is before it, then 30 J in 100 ms; it began anew; 10 J.
    assert usage.power(grid, {ONE: counted}, None, lambda _: 56)[ONE] == [7.0, 300.0, 7.0, 100.0]
    assert usage.power(grid, {ONE: Values({"joules": [10.0] * 4}, before=4.0)}, None, lambda _: 56)[ONE][0] == 60.0


def test_instances_take_part_in_the_energy_of_their_gpu() -> None:
    grid = Grid(0, 100, 100)
    small, large = Device("GPU-a", "1"), Device("GPU-a", "2")
    told = {small: Values({"busy": [1.0], "watts": [300.0]}), large: Values({"busy": [0.5], "watts": [300.0]})}
    found = usage.power(grid, told, None, lambda device: {small: 8, large: 32}[device])
    assert found[small][0] == pytest.approx(100.0)
    assert found[large][0] == pytest.approx(200.0)
    idle = {device: Values({"busy": [0.0]}) for device in told}
    above = Values({"watts": [90.0]})
    found = usage.power(grid, idle, above, lambda device: {small: 28, large: 28}[device])
    assert found[small][0] == found[large][0] == pytest.approx(45.0)
