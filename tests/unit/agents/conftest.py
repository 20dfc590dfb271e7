"""The ledgers of tests/unit/cost, for what the meter makes of them."""

from tests.unit.cost.conftest import address, ledger, postgres

__all__ = ["address", "ledger", "postgres"]  # fixtures
