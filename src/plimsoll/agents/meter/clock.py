"""The cluster's time: what the API server's clock says, carried on by a clock that nobody sets.

Moments in the ledger come from the cluster's objects, so what the meter adds must be of the same clock, whatever that
of its own machine says or jumps to.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_SLACK = 0.5  # seconds an honest round trip may put between two clocks that agree


class Clock:
    """Milliseconds since 1970 that never go back. Seconds of `steady` only ever pass.

    The API server tells its time in whole seconds. Each telling narrows the difference to our steady clock to an
    interval; while they have a part in common, it is kept to that, else (one of the clocks was set) it begins anew.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()
        self._low = self._high = 0.0
        self._told = False
        self._last = 0

    def heard(self, date: float, sent: float, got: float) -> None:
        """The server said `date` (whole seconds since 1970) between two moments of the steady clock."""
        low, high = date - got, date + 1 - sent
        if self._told and low <= self._high + _SLACK and high >= self._low - _SLACK:
            low, high = max(low, self._low), min(high, self._high)
            if low > high:
                low = high = (low + high) / 2
        self._low, self._high, self._told = low, high, True
        own = self._wall() - self._steady()
        self._offset = min(max(own, low), high)

    def now(self) -> int:
        if self._told:
            value = self._offset + self._steady()
        else:  # nobody told: our own clock, jumps and all
            value = self._wall()
        self._last = max(self._last, round(value * 1000))
        return self._last
