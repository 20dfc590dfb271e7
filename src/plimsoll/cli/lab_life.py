"""`plimsoll lab up`, `down`, `reset`, `status`, `logs`, `exec`: the life of a lab."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Literal

import click
import msgspec

from plimsoll.cli.progress import bar
from plimsoll.errors import InputError
from plimsoll.kube.yamldocs import documents
from plimsoll.lab.run import control, enter, launch
from plimsoll.lab.run.fleet import DEFAULT_PLATFORM
from plimsoll.lab.run.settings import ADDONS, Settings
from plimsoll.lab.run.state import State
from plimsoll.spec.load import load

_NAME = "lab"
_MIB = 1 << 20

named = click.option("--name", default=_NAME, show_default=True, help="Which lab; several can run side by side.")
as_json = click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)


def _addons(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    chosen = [each for each in value.split(",") if each]
    unknown = [each for each in chosen if each not in (*ADDONS, "all", "none")]
    if unknown:
        raise InputError(
            f"not an add-on: {', '.join(unknown)[:100]}", where="--with", hint=f"all, none, {', '.join(ADDONS)}"
        )
    if "none" in chosen and len(chosen) > 1:
        raise InputError("none, or some, not both", where="--with")
    return tuple(each for each in ADDONS if each in chosen or "all" in chosen)


@click.command("up")
@named
@click.option(
    "--with", "addons", default="all", show_default=True, callback=_addons, metavar="ADDON[,ADDON]",
    help=f"What runs on the control plane: all, none, or of {', '.join(ADDONS)}.",
)  # fmt: skip
@click.option(
    "--charts", type=click.Choice(["install", "wait"]), default="install", show_default=True,
    help="Install the charts of Kueue and the GPU Operator, or wait until you do: their programs follow.",
)  # fmt: skip
@click.option(
    "-f", "platform", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Nodes of its pools."
)
@click.option("--nodes", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Or these Node manifests.")
@click.option(
    "--apply", "manifests", type=click.Path(path_type=Path, exists=True),
    help="Manifests to apply when everything runs: a file, or a folder's YAML files by name.",
)  # fmt: skip
@as_json
def up(
    name: str,
    addons: tuple[str, ...],
    charts: Literal["install", "wait"],
    platform: Path | None,
    nodes: Path | None,
    manifests: Path | None,
    output: str,
) -> None:
    """Start a real control plane with fake GPU nodes on this machine.

    Everything runs as ordinary processes on loopback; no container engine, no GPU. Without -f or
    --nodes there are two nodes of eight H100. Ends with `plimsoll lab down`, or with the machine.

    \b
    plimsoll lab up -f platform.yaml
    plimsoll lab up -f examples/practice/platform.yaml --apply examples/practice/manifests
    plimsoll lab up -f platform.yaml --charts wait
    export KUBECONFIG=$(plimsoll lab status -o json | jq -r .kubeconfig)
    kubectl get nodes
    """
    if platform and nodes:
        raise InputError("give -f or --nodes, not both", where="lab up")
    settings = Settings(
        name=name,
        addons=addons,
        charts=charts,
        platform=_declared(platform) if platform else "" if nodes else DEFAULT_PLATFORM,
        nodes=_text(nodes) if nodes else "",
        manifests=manifests_in(manifests) if manifests else "",
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that it takes down what it started
    with bar("lab up") as progress:
        state = launch.up(settings, progress)
    _show(state, output)


@click.command("down")
@named
def down(name: str) -> None:
    """End a lab and remove what it kept."""
    folder = launch.folder_of(name)
    ran = launch.down(folder)
    launch.forget(folder)
    click.echo(f"lab {name} is down" if ran else f"lab {name} did not run", err=True)


@click.command("reset")
@named
def reset(name: str) -> None:
    """Put a lab back to how it was when it became ready."""
    folder, _ = launch.ready(name)
    control.ask(folder, "reset")
    click.echo(f"lab {name} is as it was, after {launch.ready(name)[1].seconds:.1f} s", err=True)


@click.command("status")
@click.option("--name", default="", help="Only this lab.")
@as_json
def status(name: str, output: str) -> None:
    """Say which labs there are, what they run, and how to reach them."""
    if name:
        launch.folder_of(name)
    states = [state for state in launch.all_labs() if name in ("", state.name)]
    if name and not states:
        raise InputError("no such lab", where=name, hint="`plimsoll lab status` lists them")
    if output == "json":
        one: object = states[0] if name else {"schemaVersion": 1, "labs": states}
        _json(one)
        return
    if not states:
        click.echo("no lab; `plimsoll lab up` starts one", err=True)
    for state in states:
        _show(state, output)


@click.command("logs")
@named
@click.argument("program", required=False)
@click.option(
    "-n", "lines", default=50, show_default=True, type=click.IntRange(1, 100_000), help="The last so many lines."
)
def logs(name: str, program: str | None, lines: int) -> None:
    """Print the end of a program's log; without PROGRAM, name the programs that have one."""
    folder = launch.folder_of(name)
    if not folder.root.is_dir():
        raise InputError("no such lab", where=name, hint="`plimsoll lab status` lists them")
    found = launch.log_files(folder)
    if program is None:
        click.echo("\n".join(found))
        return
    if program not in found:
        raise InputError(f"no log of {program[:60]}", where=name, hint=f"one of {', '.join(found) or 'none yet'}")
    with found[program].open(errors="replace") as log:
        for line in deque(log, maxlen=lines):
            click.echo(line, nl=False)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@named
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGUMENT]...")
def execute(name: str, argv: tuple[str, ...]) -> None:
    """Run a command inside a lab's network, where its Services answer, with KUBECONFIG set.

    PLIMSOLL_CHARTS is set, too: `plimsoll apply` takes the charts that the lab has. So is PLIMSOLL_DISCOVERY:
    `plimsoll agent meter` reads the pages of its exporters and model servers.
    """
    folder, state = launch.ready(name)
    enter.network(state.pid)
    sys.stdout.flush()
    own = {"KUBECONFIG": str(folder.pki / "admin.kubeconfig"), "PLIMSOLL_CHARTS": str(folder.charts),
           "PLIMSOLL_DISCOVERY": state.discovery}  # fmt: skip
    try:
        os.execvpe(argv[0], argv, {**os.environ, **own})  # noqa: S606
    except OSError as error:
        raise InputError(f"cannot run: {error.strerror}", where=argv[0]) from None


def _show(state: State, output: str) -> None:
    if output == "json":
        _json(state)
        return
    held = sum(each.resident for each in state.programs) / _MIB
    click.echo(f"lab {state.name}: {state.phase}" + (f" after {state.seconds:.1f} s" if state.phase == "ready" else ""))
    if state.error:
        click.echo(f"  {state.error}")
    if state.phase != "ready":
        return
    click.echo(f"  kubeconfig  {state.kubeconfig}")
    for door, port in state.doors.items():
        scheme = "https" if door == "api-server" else "http"
        if door in ("api-server", "telemetry") or any(each.name == door for each in state.programs):
            click.echo(f"  {door:<11} {scheme}://127.0.0.1:{port}")
    click.echo(f"  programs    {len(state.programs)}, {held:,.0f} MiB resident")
    for each in state.programs:
        again = f"  restarted {each.restarts}x" if each.restarts else ""
        click.echo(f"    {each.name:<24} {each.resident / _MIB:>6,.0f} MiB  pid {each.pid}{again}")


def _json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def manifests_in(place: Path) -> str:
    """The YAML of a file, or of a folder's files in the order of their names."""
    if not place.is_dir():
        return _manifests(place)
    files = sorted(each for each in place.iterdir() if each.suffix in (".yaml", ".yml"))
    if not files:
        raise InputError("no YAML file in it", where=str(place))
    return "\n---\n".join(_manifests(each) for each in files)


def _manifests(path: Path) -> str:
    """The YAML of a file, seen to be YAML, so that an error names the file."""
    text = _text(path)
    for _ in documents(text, str(path)):
        pass
    return text


def _declared(path: Path) -> str:
    """The text of a declaration that loads."""
    text = _text(path)
    load(text, str(path))
    return text


def _text(path: Path) -> str:
    try:
        text = path.read_text()
        if not text.strip():
            raise InputError("is empty", where=str(path))
        return text
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read: {error}", where=str(path)) from None
