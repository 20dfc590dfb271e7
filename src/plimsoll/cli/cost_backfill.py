"""`plimsoll cost backfill`: the past into the ledger, out of a Prometheus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from plimsoll.cli import cost_options, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.backfill.state import Summary
    from plimsoll.cost.window import Window
    from plimsoll.kube.objects import Obj

SINCE = "30d"


@click.command("backfill")
@click.option("--prometheus", "url", required=True, metavar="URL", envvar="PLIMSOLL_PROMETHEUS", show_envvar=True,
              help="Its address, or of what speaks its API: Thanos, Mimir, VictoriaMetrics.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
              help="A bearer token that it accepts.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(1, 3600), default=120.0, show_default=True, metavar="SECONDS",
              help="That one answer may take.")  # fmt: skip
@click.option("--since", metavar="DURATION", help=f"The last so long, such as 12h. Default: {SINCE}")
@click.option("--window", "between", metavar="A,B", help="From A until before B: days or moments, UTC.")
@click.option("--step", metavar="DURATION", default="30s", show_default=True,
              help="From one look at what GPUs do to the next; costs do not depend on it.")  # fmt: skip
@click.option("--cluster-label", metavar="LABEL=VALUE", default="",
              help="Which cluster, where it has several.")  # fmt: skip
@click.option("-f", "--platform", type=click.Path(path_type=Path), metavar="FILE",
              help="The declaration: whose namespace is whose, pools and what selects their nodes.")  # fmt: skip
@cost_options.ledger
@click.option("--snapshot", type=click.Path(path_type=Path), metavar="FILE",
              help="The cluster, for uids and labels of its nodes; so does --context.")  # fmt: skip
@options.cluster
@click.option("--again", is_flag=True, help="Read also what an earlier run wrote: the server may know more by now.")
@click.option("-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(
    url: str,
    token_file: Path | None,
    timeout: float,
    since: str | None,
    between: str | None,
    step: str,
    cluster_label: str,
    platform: Path | None,
    at: str | None,
    snapshot: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    again: bool,
    output: str,
) -> None:
    """Write into the ledger what a Prometheus knows of the past.

    It reads what kube-state-metrics, dcgm-exporter and vLLM told, day by day, in queries that the server's limits
    allow. Stopped or killed, it goes on where it stood when it is run again; nothing counts twice.

    Moments that kube-state-metrics states (scheduled, completed, made) are exact. A pod that was deleted ends with the
    first scrape without it; one that came and went between two scrapes is not seen.

    \b
    plimsoll cost backfill --prometheus http://localhost:9090 -f platform.yaml
    plimsoll cost backfill --prometheus http://localhost:9090 --window 2026-10-01,2026-11-01 --context prod
    """
    from plimsoll.backfill.run import Job, run
    from plimsoll.cli.progress import bar
    from plimsoll.cost.ledger import Ledger
    from plimsoll.cost.store import open_store
    from plimsoll.kube import kinds
    from plimsoll.kube.prometheus import Prometheus

    asked = cost_options.wanted(since or (None if between else SINCE), between)
    window = asked._replace(ended=min(asked.ended, cost_options.now()))
    declared = options.load_platform(platform)
    nodes: Sequence[Obj] = ()
    if snapshot or context or kubeconfig:
        nodes = options.read_cluster(snapshot, context, kubeconfig).list(kinds.NODE)
    token = options.read_bytes(token_file, _TOKEN_MAX).decode("utf-8", "replace").strip() if token_file else ""
    place = at or cost_options.place()
    if "://" not in place:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    job = Job(began=window.began, ended=window.ended, step=_step(step), cluster=cluster_label, platform=declared,
              nodes=nodes, again=again)  # fmt: skip
    with Prometheus(url, timeout=timeout, token=token) as server, bar("backfill") as progress:
        store = open_store(place)
        try:
            found = run(server, Ledger(store), job, progress)
        finally:
            store.close()
    _show(found, window, place, output)


def _step(given: str) -> int:
    """Milliseconds."""
    from plimsoll.spec.values import Duration

    known = re.search(Duration.schema["pattern"], given)
    span = int(Duration.read(given)) if known else 0
    if not _STEPS[0] <= span <= _STEPS[1]:
        raise click.BadParameter(f"{given[:60]} is not from 5s to 1h", param_hint="--step")
    return span


def _show(found: Summary, window: Window, place: str, output: str) -> None:
    from plimsoll.cost.store import shown
    from plimsoll.cost.window import text

    counts, where = found.counts, shown(place)
    if output == "json":
        told = {"schemaVersion": 1, "ledger": where, "began": text(window.began), "ended": text(window.ended),
                "records": {name: counts[name] for name in _RECORDS}, "holdsNamed": counts["holds named"],
                "holdsByElimination": counts["holds by elimination"], "unwatchedSeconds": found.gaps / 1000,
                "resumed": text(found.resumed) if found.resumed else None,
                "missing": found.missing, "notes": found.notes, "warnings": found.warnings}  # fmt: skip
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
        return
    click.echo(f"{text(window.began)} to {text(window.ended)} is in {where}:")
    if found.resumed:
        click.echo(f"  until {text(found.resumed)} it was there already")
    for name, what in _RECORDS.items():
        if counts[name]:
            click.echo(f"  {counts[name]:>9,} {what}")
    if found.gaps:
        click.echo(f"  {found.gaps / 3_600_000:>9,.1f} hours without a scrape of kube-state-metrics")
    for lost in found.missing:
        click.echo(f"missing {lost}")
    for note in (*found.notes, *(f"the server warns: {each}" for each in found.warnings)):
        click.echo(f"note: {note}", err=True)


_TOKEN_MAX = 1 << 16
_STEPS = 5_000, 3_600_000
_RECORDS = {
    "Node": "nodes, once a day each",
    "Gpu": "GPUs",
    "Instance": "MIG instances",
    "Pod": "pods, once a day each",
    "Hold": "holds of a device by a pod",
    "Ended": "ends",
    "Usage": "hours of use, or parts of them",
    "Tokens": "intervals of answered tokens",
}
