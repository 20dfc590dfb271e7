"""`plimsoll capture`: a cluster frozen in a file."""

from __future__ import annotations

from pathlib import Path

import click

from plimsoll.cli import options
from plimsoll.errors import InputError


@click.command("capture")
@options.cluster
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("cluster.plimsoll"), show_default=True)
@click.option("--from", "source", type=click.Path(path_type=Path), help="Convert this dump or List instead.")
@click.option("--anonymize", is_flag=True, help="Replace names consistently, for a file that leaves the company.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
def command(
    context: str | None, kubeconfig: Path | None, output: Path, source: Path | None, anonymize: bool, force: bool
) -> None:
    """Freeze a cluster in a snapshot file, with get and list only.

    Secret values never leave the cluster: a snapshot holds names, types and key names.
    Values that look like credentials are redacted everywhere else.
    """
    from plimsoll.kube.store import save

    if output.exists() and not force:
        raise InputError("exists already", where=str(output), hint="--force writes over it")
    snapshot = options.read_cluster(source, context, kubeconfig)
    if anonymize:
        from plimsoll.kube.anonymize import anonymized

        snapshot = anonymized(snapshot)
    save(snapshot, output)
    refused = f", {len(snapshot.unread)} kinds could not be read" if snapshot.unread else ""
    click.echo(f"wrote {output}: {len(snapshot)} objects{refused}", err=True)
    for kind, reason in snapshot.unread:
        click.echo(f"  {kind}: {reason}", err=True)
