"""The ledgers of the bill's own tests, and an API server of the tests' own whose watches do not dawdle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.cost.conftest import address, ledger, postgres
from tests.unit.kube.writable import Api, serving

__all__ = ["address", "ledger", "postgres"]


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as found:
        yield found


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.kube.watching._BACK_OFF", (0.0, 0.0))
    monkeypatch.setattr("plimsoll.agents.meter.watches._PAUSE", 0.05)
    monkeypatch.setattr("plimsoll.agents.meter.watches._ASKED_EVERY", 0.05)
