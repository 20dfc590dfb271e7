"""How busy a device was between two rounds, from samples of its counters."""

from __future__ import annotations

from collections.abc import Hashable

from plimsoll.agents.meter.driver import Activity, Driver, Handle

_MOST = 105.0  # percent; beyond it is no measurement: counters began anew between two samples


class Counters:
    """The last sample of each device, freed once there is a newer one or the device is gone."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Handle] = {}
        self._fresh: dict[Hashable, Handle] = {}

    def keep(self, device: Hashable, sample: Handle) -> Handle | None:
        """The sample before this one, if there is one; it lives until the round ends."""
        self._fresh[device] = sample
        return self._last.get(device)

    def turn(self, driver: Driver) -> None:
        """The round ends."""
        for sample in self._last.values():
            driver.free(sample)
        self._last, self._fresh = self._fresh, {}

    def free(self, driver: Driver) -> None:
        """All of them, those of a round that broke off too."""
        self.turn(driver)
        self.turn(driver)


def ratios(activity: Activity | None) -> dict[str, float | None]:
    """As fields of a reading, 0 to 1; None for what is no percentage."""
    told = activity._asdict() if activity is not None else {}
    return {
        name: min(percent, 100.0) / 100 if percent is not None and 0 <= percent <= _MOST else None
        for name, percent in told.items()
    }
