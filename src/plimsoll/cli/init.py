"""`plimsoll init`: a declaration of the cluster as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll import __version__
from plimsoll.cli import options
from plimsoll.errors import InputError

if TYPE_CHECKING:
    from plimsoll.kube.declare import Declared
    from plimsoll.kube.snapshot import Snapshot
    from plimsoll.spec.queueing import Amount

GUESSES_MAX = 200  # lines at the head of a file that somebody still reads


@click.command("init")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@options.cluster
@click.option(
    "-o", "--output", metavar="FILE", default="platform.yaml", show_default=True, help="Where to; - for stdout."
)  # fmt: skip
@click.option(
    "--name", default="", help="What to call the platform; default: after the context, else the provider and region."
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over an existing file.")
def command(
    snapshot: Path | None, context: str | None, kubeconfig: Path | None, output: str, name: str, force: bool
) -> None:
    """Write a platform.yaml that describes the cluster as it is.

    Pools come from the GPU nodes, teams and quota from Kueue, services from what serves with vLLM.
    What no cluster shows has its default; each guess is named at the head of the file. A declaration
    that Plimsoll applied is given back. `plimsoll plan` of the file changes nothing: pillars that would
    are left out of cluster.manage.

    \b
    plimsoll init cluster.plimsoll --name acme
    plimsoll init --context prod -o -
    """
    from plimsoll.cli.planning import adopted
    from plimsoll.kube.declare.words import valid
    from plimsoll.kube.files import whole
    from plimsoll.spec.dump import to_yaml
    from plimsoll.spec.values import Name

    if name and not valid(name, Name):
        raise click.BadParameter(f"{name!r} is not made of lower-case letters, digits and -", param_hint="--name")
    place = None if output == "-" else Path(output)
    if place is not None and place.exists() and not force:
        raise InputError("exists already", where=str(place), hint="--force writes over it")
    read = options.read_cluster(snapshot, context, kubeconfig)
    declared = adopted(read, name, snapshot is None, context, kubeconfig)
    text = _head(declared, read) + to_yaml(declared.platform)
    if place is None:
        click.echo(text, nl=False)
    else:
        with whole(place) as file:
            file.write(text.encode())
    click.echo("\n".join(_summary(declared, str(place) if place else "stdout")), err=True)


def _head(declared: Declared, read: Snapshot) -> str:
    """The comments a file begins with: where it comes from, and every guess."""
    from plimsoll.spec.problems import shown

    taken = f", taken {read.taken_at:%Y-%m-%d %H:%M} UTC" if read.taken_at else ""
    lines = [
        f"The GPU platform as found in {shown(read.source.place, 300)}{taken}, by plimsoll {__version__}.",
        "Correct what is wrong or not wanted, and keep it: plimsoll check judges the cluster against it.",
        *(f"guess: {shown(guess, 1000)}" for guess in declared.guesses[:GUESSES_MAX]),
    ]
    if len(declared.guesses) > GUESSES_MAX:
        lines.append(f"guess: and {len(declared.guesses) - GUESSES_MAX} more, which `plimsoll init` prints")
    return "".join(f"# {line}\n" for line in lines)


def _summary(declared: Declared, place: str) -> list[str]:
    from plimsoll.spec.problems import shown

    platform = declared.platform
    lines = [f"wrote {place}"]
    for pool in platform.pools:
        count = f"{pool.nodes.max} node{'' if pool.nodes.max == 1 else 's'} × {pool.gpus_per_node} {pool.gpu}"
        lines.append(f"  pool {pool.name}: {count}, {pool.capacity}")
    for team in platform.teams:
        quota = ", ".join(f"{_amount(amount)} of {pool}" for pool, amount in team.quota.items())
        lines.append(f"  team {team.name}: {quota or 'no quota'}")
    for service in platform.services:
        replicas = f"{service.replicas.min} to {service.replicas.max} replicas"
        lines.append(f"  service {service.name}: {replicas} on {service.pool}")
    lines.append(f"{len(declared.guesses)} guesses:")
    return [*lines, *(f"  {shown(guess, 1000)}" for guess in declared.guesses)]


def _amount(amount: Amount) -> str:
    if isinstance(amount, int):
        return str(amount)
    return " + ".join(f"{count} × {unit}" for unit, count in amount.items())
