"""`plimsoll lab adapt`: a declaration as the lab can run it."""

from __future__ import annotations

from pathlib import Path

import click

from plimsoll.cli.options import declaration, declared


@click.command("adapt")
@declaration
def command(platform: Path) -> None:
    """Print a declaration as the lab can run it, and say what is other in it.

    The versions become those that the lab builds, Prometheus is the lab's; nothing else changes.
    Comments are lost, and what is said that is the default.

    \b
    plimsoll lab adapt -f platform.yaml > lab.yaml
    plimsoll lab up -f lab.yaml --charts wait
    plimsoll lab exec -- plimsoll apply -f lab.yaml
    """
    from plimsoll.lab.adapt import adapt
    from plimsoll.spec.dump import to_yaml
    from plimsoll.spec.load import load

    adapted, said = adapt(declared(platform))
    text = to_yaml(adapted)
    load(text, "the declaration for the lab")  # what holds with the declared versions may not with these
    for line in said:
        click.echo(line, err=True)
    if not said:
        click.echo("the lab can run it as it is", err=True)
    click.echo(text, nl=False)
