"""Is it production? Checks are asked of a Snapshot; findings are explained by one another."""
