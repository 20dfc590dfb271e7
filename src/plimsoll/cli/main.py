"""The entry: picks the verb, turns every error into one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import click

from plimsoll import __version__
from plimsoll.cli.verbs import Verbs
from plimsoll.errors import Exit, PlimsollError

# Verb to its one-line help.
VERBS = {
    "init": "Write a platform.yaml that describes the cluster as it is.",
    "check": "Judge a cluster or a snapshot against the production checklist.",
    "plan": "Say what applying a declaration would change, whom it meets and what it costs.",
    "apply": "Make a cluster what a declaration says, in waves.",
    "capture": "Freeze a cluster in a snapshot file.",
    "render": "Write every Kubernetes object and Helm value that a declaration asks for.",
    "cost": "Say what GPUs cost, and whom.",
    "spenders": "Rank the biggest spenders, and say what most of their unused money is.",
    "diagnose": "Say why GPUs sit idle, what that costs, and what to type.",
    "report": "Write one page on a month, for finance and team leads.",
    "explain": "Say what a check asks, why, and what to do.",
    "schema": "Print the JSON Schema of platform.yaml, for editors.",
    "agent": "What runs in the cluster: the meter.",
    "lab": "A real control plane with fake GPUs on this machine.",
}

_EXTRA = ("cryptography", "helm_python")  # modules of the extra `lab`


@click.group(
    cls=Verbs,
    verbs=VERBS,
    where="plimsoll.cli.{}:command".format,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="plimsoll", message="%(prog)s %(version)s")
def plimsoll() -> None:
    """Take a GPU cluster on Kubernetes from a working demo to a reliable, affordable platform.

    Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 findings at or above
    --fail-on, 2 usage or declaration error, 3 data incomplete, 4 cluster unreachable, 5 a bug of ours,
    6 the lab cannot be built or run here.
    """


def main() -> None:
    """Run the command line and exit. No traceback reaches a user unless PLIMSOLL_TRACEBACK is set."""
    try:
        code = _verb()
        if sys.stdout:  # None where it was closed
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except click.Abort:
        code = 130
    except PlimsollError as error:
        _say(f"error: {error}", error.hint)
        code = error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        _say(
            f"error: {error.name} is not installed",
            "`pip install 'plimsoll[lab]'`, in a checkout `make lab`: it brings it",
        )
        code = Exit.LAB
    except BrokenPipeError:  # the reader went away: `plimsoll check … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except Exception as error:  # the only place: whatever is left is our bug
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _say(f"error: cannot write: {error.strerror}", "make room, or write elsewhere")
            _end(int(Exit.USAGE))
        if os.environ.get("PLIMSOLL_TRACEBACK"):
            raise
        where = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        _say(f"error: a bug in plimsoll {__version__}: {where}", "set PLIMSOLL_TRACEBACK=1 and report what it prints")
        code = Exit.BUG
    _end(int(code))


def _verb() -> int:
    """Run the verb; its exit code, whether it returns or leaves."""
    try:
        return int(plimsoll.main(standalone_mode=False) or 0)
    except SystemExit as leaving:
        return int(leaving.code or 0)


def _end(code: int) -> NoReturn:
    """Exit at once. Handing 600 MB of a large snapshot back dict by dict takes half a second that nobody needs."""
    sys.stderr.flush()
    os._exit(code)


def _say(message: str, hint: str) -> None:
    click.echo(message, err=True)
    if hint:
        click.echo(f"\nhint: {hint}", err=True)
