"""Performance bars, each a command that prints its figure."""
