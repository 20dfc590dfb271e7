"""`plimsoll lab`: a cluster to practise on."""

from __future__ import annotations

import click

from plimsoll.cli.verbs import Verbs

VERBS = {
    "build": "Build the programs of the lab, once per version.",
}
_WHERE = {
    "build": "lab_build:command",
}


@click.group("lab", cls=Verbs, verbs=VERBS, where=lambda verb: f"plimsoll.cli.{_WHERE[verb]}")
def command() -> None:
    """Run a real control plane with fake GPUs on this machine: no container engine, no GPU."""
