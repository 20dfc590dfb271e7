"""`plimsoll lab fault`, `heal` and `interrupt`: break a lab on purpose, and mend it."""

from __future__ import annotations

import click

from plimsoll.cli.lab_life import named
from plimsoll.cli.progress import bar
from plimsoll.kube.client import Client
from plimsoll.lab import spot
from plimsoll.lab.faults import registry
from plimsoll.lab.faults.give import give
from plimsoll.lab.faults.hands import heal as undo
from plimsoll.lab.run import launch


@click.command("fault")
@named
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--node", default="", help="The node it befalls; default one that does little.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def fault(name: str, id_: str | None, node: str, output: str) -> None:
    """Give a running lab a fault; without ID, list the faults there are.

    Named after the check that finds it: what `plimsoll explain GPU054` is about, `plimsoll lab
    fault GPU054` shows live. The API then says what a real cluster with that fault would say.
    """
    if id_ is None:
        _list(output)
        return
    chosen = registry.find(id_)
    folder, _ = launch.ready(name)
    with Client(folder.kubeconfig) as client:
        place = give(folder, client, chosen, node)
    click.echo(f"{chosen.title}{f' on {place}' if place else ''}; `plimsoll lab heal {chosen.id}` mends it", err=True)


@click.command("heal")
@named
@click.argument("id_", metavar="[ID]", required=False)
def heal(name: str, id_: str | None) -> None:
    """Undo one fault of a lab, or all of them."""
    chosen = registry.find(id_).id if id_ else ""
    folder, _ = launch.ready(name)
    with Client(folder.kubeconfig) as client:
        healed = undo(folder, client, chosen)
    click.echo(f"healed: {', '.join(healed)}" if healed else "nothing to heal", err=True)


@click.command("interrupt")
@named
@click.argument("node")
@click.option("--notice", default=120, show_default=True, type=click.IntRange(0, 600), help="Seconds of notice.")
@click.option(
    "--agent", type=click.Choice(["nth", "karpenter", "none"]), default="nth", show_default=True,
    help="Who acts on it: AWS's node termination handler, Karpenter, nobody.",
)  # fmt: skip
@click.option("--for-good", is_flag=True, help="No machine comes back in its place.")
def interrupt(name: str, node: str, notice: int, agent: spot.Agent, for_good: bool) -> None:
    """Take a spot node of a lab back, as a cloud does: notice, drain, gone."""
    folder, _ = launch.ready(name)
    with Client(folder.kubeconfig) as client:
        with bar("interrupt") as progress:
            gone = spot.interrupt(client, node, notice=notice, agent=agent, progress=progress)
        if not for_good:
            spot.bring_back(client, gone)
    click.echo(f"{node} is gone" if for_good else f"{node} was taken and a new one is there", err=True)


def _list(output: str) -> None:
    rows = [(each.id, each.where, each.title) for each in registry.ALL]
    if output == "json":
        import msgspec

        faults = [dict(zip(("id", "where", "title"), row, strict=True)) for row in rows]
        click.echo(msgspec.json.format(msgspec.json.encode({"schemaVersion": 1, "faults": faults}), indent=2).decode())
        return
    for id_, where, title in rows:
        click.echo(f"{id_:<16} {where:<8} {title}")
