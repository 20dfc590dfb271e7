"""`plimsoll render`: the platform as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.cli import options
from plimsoll.errors import InputError
from plimsoll.pillars import PILLARS

if TYPE_CHECKING:
    from plimsoll.spec.model import Platform

DELIVERIES = ("apply", "argocd", "flux", "helmfile")


@click.command("render")
@options.declaration
@click.option("--pillar", "pillars", multiple=True, type=click.Choice(PILLARS), metavar="PILLAR",
              help="Only this one; may be repeated. Default: all that cluster.manage names.")  # fmt: skip
@click.option("-o", "--output", metavar="FOLDER", default="-", show_default=True,
              help="Where to; - for the objects alone, in one stream to stdout.")  # fmt: skip
@click.option("--delivery", type=click.Choice(DELIVERIES),
              help="What will apply the files; default: cluster.delivery.")  # fmt: skip
@click.option("--repository", metavar="URL", help="Of argocd and flux: the Git repository they read.")
@click.option("--revision", metavar="REV", default="main", show_default=True, help="Its branch or commit.")
@click.option("--path", metavar="PATH", default="", help="Of the folder in the repository; default: its root.")
@click.option("--force", is_flag=True, help="Go on where the folder has files that are not render's or were changed.")
def command(
    platform: Path,
    pillars: tuple[str, ...],
    output: str,
    delivery: str | None,
    repository: str | None,
    revision: str,
    path: str,
    force: bool,
) -> None:
    """Write every Kubernetes object and Helm value that a declaration asks for.

    The same declaration gives the same bytes. Files of an earlier render that are no longer asked for are taken away;
    others in the folder are never touched.

    \b
    plimsoll render -f platform.yaml | kubectl diff --server-side -f -
    plimsoll render -f platform.yaml -o rendered
    plimsoll render -f platform.yaml -o clusters/prod --delivery argocd \\
        --repository https://git.example.com/platform.git --path clusters/prod
    """
    from plimsoll.cli.progress import bar
    from plimsoll.pillars.render import render
    from plimsoll.plan import deliver
    from plimsoll.plan.deliver import folder, manifests
    from plimsoll.plan.deliver.source import Source

    if output == "-" and (delivery or repository):
        raise click.UsageError("--delivery and --repository say what is written into a folder: give -o FOLDER")
    declared = options.declared(platform)
    _refuse_unmanaged(declared, pillars)
    form = delivery or declared.cluster.delivery
    if repository and form not in deliver.NEEDS_SOURCE:
        raise click.UsageError(f"--repository is for {' and '.join(sorted(deliver.NEEDS_SOURCE))}, not for {form}")
    source = Source.of(repository, revision, path) if repository else None
    with bar("rendering"):
        wanted = render(declared, pillars or PILLARS)
        to_stdout = output == "-"
        files = {output: manifests.one_stream(wanted)} if to_stdout else deliver.files(wanted, form, source)
    if to_stdout:
        click.echo(files[output], nl=False)
        return
    written = folder.write(Path(output), files, force=force)
    click.echo(
        f"{output}: {len(files)} files for {form}; "
        f"{len(written.new)} written, {len(written.same)} as they were, {len(written.gone)} taken away",
        err=True,
    )
    if wanted.notes:
        click.echo(f"{len(wanted.notes)} things that no object says: {Path(output) / 'NOTES.md'}", err=True)


def _refuse_unmanaged(platform: Platform, pillars: tuple[str, ...]) -> None:
    for pillar in pillars:
        if pillar not in platform.cluster.manage:
            raise InputError(
                f"{pillar} is somebody else's to keep: cluster.manage does not name it",
                where="--pillar",
                hint="add it to cluster.manage, or leave it to them",
            )
