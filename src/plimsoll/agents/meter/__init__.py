"""Every GPU-second metered: watches say who is there since when, readings what devices did; the ledger keeps it."""
