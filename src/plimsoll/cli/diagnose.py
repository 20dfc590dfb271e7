"""`plimsoll diagnose`: why GPUs sit idle."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.check.model import Severity
from plimsoll.cli import cost_options, options
from plimsoll.errors import Exit, InputError

if TYPE_CHECKING:
    from plimsoll.cost.ledger import Ledger
    from plimsoll.cost.window import Window
    from plimsoll.diagnose.answer import Diagnosis
    from plimsoll.diagnose.gather import Sources
    from plimsoll.diagnose.model import Rule, Signals
    from plimsoll.kube.snapshot import Snapshot

FORMATS = ("table", "json", "markdown")
NEVER = "never"
SINCE = "24h"
SPAN_MIN = 30 * 60_000  # milliseconds: what is younger says nothing


@click.command("diagnose")
@click.argument("target", required=False)
@click.option("--since", metavar="DURATION", help=f"The last so long, such as 7d; at least 30m. Default: {SINCE}")
@click.option("--window", "between", metavar="A,B", help="From A until before B: days or moments, UTC.")
@options.platform
@cost_options.ledger
@click.option(
    "--prometheus",
    metavar="URL",
    envvar="PLIMSOLL_PROMETHEUS",
    show_envvar=True,
    help="A Prometheus with the metrics of dcgm-exporter, cAdvisor, vLLM, Kueue, as far as they are there.",
)
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A cluster in a file: what workloads ask for, what nodes have left.",
)
@options.cluster
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--fail-on",
    type=click.Choice([*(str(each) for each in reversed(Severity)), NEVER]),
    default="error",
    show_default=True,
    help="Exit 1 where a cause is at least this severe.",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0.01, 1),
    default=0.8,
    show_default=True,
    metavar="RATIO",
    help="What a verdict needs: this part of the time measured.",
)
@click.option("--require-complete", is_flag=True, help="Exit 3 where a question could not be answered.")
@click.option(
    "--explain",
    "explained",
    metavar="ID",
    help="Print one cause whole: what it needs, its limits, where it was found and where it could not be judged.",
)
def command(
    target: str | None,
    since: str | None,
    between: str | None,
    platform: Path | None,
    at: str | None,
    prometheus: str | None,
    snapshot: Path | None,
    context: str | None,
    kubeconfig: Path | None,
    output: str,
    fail_on: str,
    min_coverage: float,
    require_complete: bool,
    explained: str | None,
) -> None:  # fmt: skip
    """Say why GPUs sit idle: the cause, who, what was seen, what it costs a day, and what to type.

    TARGET is a workload (NAMESPACE/NAME), a team, node, queue or GPU, as its name or as `team/NAME`; `*` stands for any
    characters. Without it everything is looked at. A ledger tells who held what and what it cost; a Prometheus and a
    cluster (--snapshot or --context) add what a ledger does not hold. What needs a signal that none of them has is
    unknown, not a finding.

    \b
    plimsoll diagnose -f platform.yaml
    plimsoll diagnose team/vision --since 7d --prometheus http://localhost:9090
    plimsoll diagnose --snapshot prod.plimsoll --explain D52
    """
    from plimsoll.cli.progress import bar
    from plimsoll.diagnose.gather import gather
    from plimsoll.diagnose.rules import RULES
    from plimsoll.diagnose.run import diagnose

    rule = _rule(explained) if explained else None
    with ExitStack() as stack:
        cluster = options.read_cluster(snapshot, context, kubeconfig) if snapshot or context or kubeconfig else None
        ledger = _ledger(at, needed=not prometheus and cluster is None)
        if ledger is not None:
            stack.callback(ledger.store.close)
        sources = _sources(stack, platform, ledger, prometheus, cluster)
        window = _window(since, between, cluster, recorded=ledger is not None or prometheus is not None)
        told = stack.enter_context(bar("looking"))
        found = gather(sources, window, coverage_min=min_coverage, told=told)
    subjects = _chosen(found.subjects, target) if target else found.subjects
    answer = diagnose(subjects, RULES, found.answer, coverage_min=min_coverage)
    _print(answer, output, rule)
    worst = max((each.severity for each in answer.roots), default=None)
    if fail_on != NEVER and worst is not None and worst >= Severity[fail_on.upper()]:
        sys.exit(Exit.FINDINGS)
    if require_complete and answer.unknown:
        sys.exit(Exit.INCOMPLETE)


def _rule(wanted: str) -> Rule:
    from plimsoll.diagnose.rules import RULES

    for rule in RULES:
        if wanted.upper() == rule.id or wanted.lower() == rule.name:
            return rule
    known = ", ".join(f"{rule.id} {rule.name}" for rule in RULES)
    raise InputError(f"no cause has the id {wanted[:60]!r}", hint=f"One of: {known}")


def _ledger(at: str | None, *, needed: bool) -> Ledger | None:
    """The ledger that is named, or the one at its usual place; there must be one where nothing else is given."""
    if at is None and not needed and not Path(cost_options.place()).is_file():
        return None
    return cost_options.opened(at)


def _sources(
    stack: ExitStack, platform: Path | None, ledger: Ledger | None, prometheus: str | None, cluster: Snapshot | None
) -> Sources:
    from plimsoll.cost.bill import Query
    from plimsoll.diagnose.gather import Sources
    from plimsoll.kube.prometheus import Prometheus

    declared = options.load_platform(platform)
    split = Query(by="node", began=0, ended=1, **cost_options.divided(declared, None, None))
    asked = stack.enter_context(Prometheus(prometheus)) if prometheus else None
    return Sources(ledger=ledger, prometheus=asked, snapshot=cluster, platform=declared,
                   tariff=cost_options.tariff(declared), split=split)  # fmt: skip


def _window(since: str | None, between: str | None, cluster: Snapshot | None, *, recorded: bool) -> Window:
    """The window that is asked for. Of a snapshot alone it ends when that was taken."""
    from plimsoll.cost import window as windows

    if cluster is not None and not recorded and not between and cluster.taken_at is not None:
        found = windows.since(since or SINCE, windows.millis(cluster.taken_at))
    else:
        found = cost_options.wanted(since or (None if between else SINCE), between)
    if found.span < SPAN_MIN:
        raise InputError("the window is shorter than 30 minutes, too little to judge by", hint="--since 24h")
    return found


def _chosen(subjects: list[Signals], target: str) -> list[Signals]:
    """The subjects a target means, by kind and name, by name or its last part, and those that belong to one."""

    def meant(token: str) -> bool:
        name = token.partition("/")[2]
        return any(fnmatchcase(each, target) for each in (token, name, name.rpartition("/")[2]))

    def within(each: Signals) -> bool:
        kind, _, space = target.partition("/")
        named = kind == "namespace" and each.subject.kind == "workload" and fnmatchcase(
            each.subject.name.partition("/")[0], space
        )  # fmt: skip
        return named or any(meant(token) for token in (str(each.subject), *each.tokens))

    found = [each for each in subjects if within(each)]
    if not found:
        from difflib import get_close_matches

        names = sorted({name for each in subjects for name in (str(each.subject), each.subject.name)})
        near = get_close_matches(target, names, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`plimsoll diagnose` without a name looks at everything"
        raise InputError(f"nothing here is called {target[:80]!r}", hint=hint)
    return found


def _print(answer: Diagnosis, form: str, rule: Rule | None) -> None:
    if rule is not None and form == "table":
        from plimsoll.report.diagnose.explain import render as explain

        click.echo(explain(answer, rule), nl=False)
    else:
        render = import_module(f"plimsoll.report.diagnose.{form}").render
        if form == "table":
            color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            click.echo(render(answer, color=color, width=options.width()), nl=False, color=color)
        else:
            click.echo(render(answer), nl=False)
    for note in answer.notes if form == "table" else ():
        click.echo(f"note: {note}", err=True)
