"""The ledgers of the bill's own tests."""

from __future__ import annotations

from tests.unit.cost.conftest import address, ledger, postgres

__all__ = ["address", "ledger", "postgres"]
