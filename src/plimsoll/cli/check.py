"""`plimsoll check`: the production review."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import click

from plimsoll.check.model import Check, Severity, Verdict
from plimsoll.check.run import Review, review
from plimsoll.check.waive import Waiver
from plimsoll.cli import options
from plimsoll.errors import Exit, InputError
from plimsoll.pillars import PILLARS, all_checks

FORMATS = ("table", "json", "sarif", "junit", "html", "markdown", "prometheus")
NEVER = "never"


@click.command("check")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@options.platform
@options.cluster
@click.option(
    "-o", "outputs", multiple=True, metavar="FORMAT[=FILE]", default=("table",), show_default=True,
    help=f"Report format, to stdout or to a file; may be given several times. One of {', '.join(FORMATS)}.",
)  # fmt: skip
@click.option(
    "--fail-on", type=click.Choice([*(str(each) for each in reversed(Severity)), NEVER]), default="error",
    show_default=True, help="Exit 1 where a finding is at least this severe.",
)  # fmt: skip
@click.option("--pillar", "pillars", multiple=True, type=click.Choice(PILLARS), help="Ask only this pillar's checks.")
@click.option("--only", multiple=True, metavar="ID[,ID]", help="Ask only these checks (`GPU0*` for a family).")
@click.option("--skip", multiple=True, metavar="ID[,ID]", help="Do not ask these checks.")
@click.option("--require-complete", is_flag=True, help="Exit 3 where a check could not be judged.")
def command(
    snapshot: Path | None,
    platform: Path | None,
    context: str | None,
    kubeconfig: Path | None,
    outputs: tuple[str, ...],
    fail_on: str,
    pillars: tuple[str, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    require_complete: bool,
) -> None:
    """Judge a cluster against the production checklist.

    SNAPSHOT is a file of `plimsoll capture`, a `kubectl get -o json` List, a manifest, a
    cluster-info dump or a must-gather (folder or archive), or - for stdin. Without it the
    current context of your kubeconfig is read, with get and list only.

    \b
    plimsoll check cluster.plimsoll
    plimsoll check cluster.plimsoll -f platform.yaml -o table -o html=report.html
    plimsoll check --context prod --fail-on warning -o sarif > plimsoll.sarif
    """
    from plimsoll.kube.store import without_collector
    from plimsoll.spec.settle import settled

    wanted = [_output(each) for each in outputs]
    if sum(place is None for _, place in wanted) > 1:
        raise click.BadParameter("only one report fits on stdout; give the others a file: FORMAT=FILE", param_hint="-o")
    checks = _select(pillars, _ids(only), _ids(skip))
    declared = options.load_platform(platform)
    if declared is not None:
        declared = settled(declared)  # `layout: auto` is what is rendered for it
    if declared is None and all(check.needs_platform for check in checks):
        raise InputError("nothing is left to ask", hint="these checks need a declaration: -f platform.yaml")
    waivers = declared.waivers if declared else ()
    read = options.read_cluster(snapshot, context, kubeconfig)
    today = read.taken_at.date() if read.taken_at else datetime.now(UTC).date()
    with without_collector():
        answer = review(read, checks, platform=declared, waivers=waivers, today=today)
    _idle_waivers(answer, waivers)
    for form, place in wanted:
        _write(answer, form, place, pillars or PILLARS)
    if answer.broken:
        click.echo(f"error: a bug in these checks: {', '.join(answer.broken)}; please report it", err=True)
    sys.exit(_exit_code(answer, fail_on, require_complete))


def _output(spec: str) -> tuple[str, Path | None]:
    form, _, place = spec.partition("=")
    if form not in FORMATS:
        raise click.BadParameter(f"{form!r} is not one of {', '.join(FORMATS)}", param_hint="-o")
    return form, Path(place) if place else None


def _select(pillars: tuple[str, ...], only: tuple[str, ...], skip: tuple[str, ...]) -> list[Check]:
    from difflib import get_close_matches
    from fnmatch import fnmatchcase

    known = [check.id for check in all_checks()]
    for pattern in (*only, *skip):
        if not any(fnmatchcase(id_, pattern.upper()) for id_ in known):
            near = get_close_matches(pattern.upper(), known, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "`plimsoll explain --list` prints every id"
            raise InputError(f"no check has the id {pattern!r}", hint=hint)

    def chosen(check: Check) -> bool:
        if pillars and check.pillar not in pillars:
            return False
        if only and not any(fnmatchcase(check.id, pattern.upper()) for pattern in only):
            return False
        return not any(fnmatchcase(check.id, pattern.upper()) for pattern in skip)

    found = [check for check in all_checks() if chosen(check)]
    if not found:
        raise InputError("no check is left to ask", hint="--pillar, --only and --skip together leave none")
    return found


def _ids(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Check ids, given one by one or with commas."""
    return tuple(part.strip() for pattern in patterns for part in pattern.split(",") if part.strip())


def _idle_waivers(answer: Review, waivers: Iterable[Waiver]) -> None:
    """Say which waivers accept nothing: a misspelt one looks like one that works."""
    asked, used = {check.id for check in answer.asked}, {each.waiver for each in answer.judgements}
    known = {check.id for check in all_checks()}
    for waiver in waivers:
        if waiver.check not in known:
            click.echo(f"note: a waiver names check {waiver.check}, which does not exist", err=True)
        elif waiver.check in asked and waiver not in used:
            click.echo(f"note: the waiver of {waiver.check} for {waiver.target} accepts no finding", err=True)


def _write(answer: Review, form: str, place: Path | None, pillars: tuple[str, ...]) -> None:
    render: Callable[..., str] = import_module(f"plimsoll.report.{form}").render
    if place is None and form == "table":
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        click.echo(render(answer, pillars, color=color, width=options.width()), nl=False, color=color)
        return
    text = render(answer, pillars)
    if place is None:
        click.echo(text, nl=False)
        return
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the {form} report: {error.strerror}", where=str(place)) from error
    click.echo(f"wrote {place}", err=True)


def _exit_code(answer: Review, fail_on: str, require_complete: bool) -> Exit:
    if answer.broken:
        return Exit.BUG
    if fail_on != NEVER and answer.worst is not None and answer.worst >= Severity[fail_on.upper()]:
        return Exit.FINDINGS
    if require_complete and Verdict.UNKNOWN in answer.verdicts.values():
        return Exit.INCOMPLETE
    return Exit.OK
