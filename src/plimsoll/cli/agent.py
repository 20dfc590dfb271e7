"""`plimsoll agent`: what runs in the cluster."""

from __future__ import annotations

import click

from plimsoll.cli.verbs import Verbs

AGENTS = {"meter": "Record who uses which GPU when, into the ledger."}


@click.group("agent", cls=Verbs, verbs=AGENTS, where="plimsoll.cli.agent_{}:command".format)
def command() -> None:
    """What runs in the cluster, or beside it, until it is told to stop."""
