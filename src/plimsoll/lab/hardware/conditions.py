"""What is wrong with the fake hardware: a file that `lab fault` writes and the hardware process follows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube.files import whole

Part = Literal["nfd", "gfd", "plugin", "mig", "pods"]


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that is wrong, on one node or (node "") on every GPU node.

    id: the fault it belongs to.

    With `operand` (the `app` label of its pods), a container of it fails:
    container: its name; "" the first one. init: it is an init container.
    reason: what it waits for: CrashLoopBackOff, ImagePullBackOff, CreateContainerError and so on.
        NotReady: it runs, and its probes fail. FailedCreatePodSandBox: the pod gets no sandbox.
    message: what it said last (a crash), or why it does not start. exit_code, ended, restarts: of a crash;
        ended is the reason of its last end, such as Error or OOMKilled.

    Without, the machine itself:
    gpus_missing: GPUs that are not there since it started: neither counted nor advertised.
    gpus_lost: GPUs that fell ill since: capacity as before, allocatable lower.
    pci_hidden: NFD does not see them.
    mig: what comes of the next change of the MIG layout. failed; pending: it waits before it pauses anybody;
        wedged: it has paused its clients and gave up; rebooting: it waits for a restart that does not come.
    hold: what the hardware process leaves alone on the node, for a fault that writes it by itself.
    """

    id: str
    node: str = ""
    operand: str = ""
    container: str = ""
    init: bool = False
    reason: str = "CrashLoopBackOff"
    message: str = ""
    exit_code: int = 1
    ended: str = "Error"
    restarts: int = 5
    gpus_missing: int = 0
    gpus_lost: int = 0
    pci_hidden: bool = False
    mig: Literal["", "failed", "pending", "wedged", "rebooting"] = ""
    hold: tuple[Part, ...] = ()


_decode = msgspec.json.Decoder(tuple[Condition, ...]).decode  # described here, once: see plimsoll.spec.load


def read(path: Path) -> tuple[Condition, ...]:
    """The conditions in a file; none where there is no file. Raises InputError for one that cannot be read."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where=str(path)) from error
    try:
        return _decode(text)
    except msgspec.MsgspecError as error:
        raise InputError(f"no list of conditions: {error}", where=str(path)) from error


def write(path: Path, conditions: Iterable[Condition]) -> None:
    """Replace the file; a reader sees the old conditions or the new ones."""
    with whole(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(list(conditions))))


def on(conditions: Iterable[Condition], node: str) -> tuple[Condition, ...]:
    """Those that hold for a node."""
    return tuple(each for each in conditions if each.node in ("", node))
