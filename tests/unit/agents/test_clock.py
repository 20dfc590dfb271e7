from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter.clock import Clock


class Machine:
    def __init__(self, wall: float) -> None:
        self.steady = 100.0
        self.ahead = wall - self.steady

    def pass_(self, seconds: float) -> None:
        self.steady += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.steady + self.ahead, lambda: self.steady)


def test_a_clock_that_is_set_does_not_move_the_meter() -> None:
    machine = Machine(1_000_000.0)
    clock = machine.clock()
    clock.heard(1_000_000, machine.steady, machine.steady)
    machine.pass_(10)
    machine.ahead += 3600
    clock.heard(1_000_010, machine.steady, machine.steady)
    assert abs(clock.now() - 1_000_010_000) <= 1000


def test_a_wrong_clock_is_corrected_by_the_server() -> None:
    machine = Machine(2_000_000.0)
    clock = machine.clock()
    for place in range(5):
        machine.pass_(1.21)
        true = 1_000_000 + machine.steady
        clock.heard(int(true), machine.steady - 0.01, machine.steady + 0.01)
        assert abs(clock.now() - true * 1000) <= 1020, place


def test_the_servers_clock_may_be_set() -> None:
    machine = Machine(1_000_000.0)
    clock = machine.clock()
    clock.heard(1_000_000, machine.steady, machine.steady)
    machine.pass_(5)
    clock.heard(1_003_605, machine.steady, machine.steady)
    assert abs(clock.now() - 1_003_605_000) <= 1000


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-5000, 5000)), max_size=30))
def test_time_never_goes_back(steps: list[tuple[float, float]]) -> None:
    machine = Machine(1_000_000.0)
    clock, last = machine.clock(), 0
    for seconds, jump in steps:
        machine.pass_(seconds)
        machine.ahead += jump
        clock.heard(int(machine.steady + machine.ahead), machine.steady, machine.steady)
        assert clock.now() >= last
        last = clock.now()
