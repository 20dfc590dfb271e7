"""A plan as text: for people at a terminal, for pull requests, for programs."""
