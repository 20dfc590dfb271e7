"""Ledgers in each kind of store."""

from tests.unit.cost.conftest import address, ledger, postgres

__all__ = ["address", "ledger", "postgres"]
