"""`plimsoll lab`: a cluster to practise on."""

from __future__ import annotations

import click

from plimsoll.cli.verbs import Verbs

VERBS = {
    "build": "Build the programs of the lab, once per version.",
    "up": "Start a lab: a real control plane with fake GPU nodes.",
    "adapt": "Print a declaration as a lab can run it.",
    "status": "Say which labs there are, what they run, and how to reach them.",
    "exec": "Run a command inside a lab's network.",
    "logs": "Print the end of a program's log.",
    "fault": "Give a lab a fault; without one, list them.",
    "heal": "Undo one fault of a lab, or all of them.",
    "interrupt": "Take a spot node of a lab back, as a cloud does.",
    "reset": "Put a lab back to how it was when it became ready.",
    "down": "End a lab and remove what it kept.",
}
_WHERE = {
    "build": "lab_build:command",
    "up": "lab_life:up",
    "adapt": "lab_adapt:command",
    "status": "lab_life:status",
    "exec": "lab_life:execute",
    "logs": "lab_life:logs",
    "fault": "lab_fault:fault",
    "heal": "lab_fault:heal",
    "interrupt": "lab_fault:interrupt",
    "reset": "lab_life:reset",
    "down": "lab_life:down",
}


@click.group("lab", cls=Verbs, verbs=VERBS, where=lambda verb: f"plimsoll.cli.{_WHERE[verb]}")
def command() -> None:
    """Run a real control plane with fake GPUs on this machine: no container engine, no GPU."""
