"""Every GPU-second metered: watches say who is there since when, readings say what devices did, the ledger keeps both."""
