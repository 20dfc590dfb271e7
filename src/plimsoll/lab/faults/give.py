"""Give a fault to a lab, and wait until the API shows it."""

from __future__ import annotations

import time
from collections import Counter

from plimsoll.errors import ClusterError, InputError, LabError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, get, labels, mapping, name, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.lab.faults.hands import Hands, undo
from plimsoll.lab.faults.journal import Journal
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.run.settings import Folder

_PAUSE = 0.2


def give(folder: Folder, client: Client, fault: Fault, node: str = "", *, patience: float = 45.0) -> str:
    """Inject a fault and wait for its symptom; the node it was given to, "" where it takes none.

    Raises InputError for a node that cannot have it, LabError where the symptom does not show in time.
    """
    if fault.where != "node" and node:
        raise InputError(f"{fault.id} befalls a {fault.where}, not a node", where="--node", hint="leave --node out")
    if fault.where == "node":
        node = _choose(client, fault, node)
    with Journal(folder.faults).alone():
        hands = Hands(folder, client, fault.id, node)
        try:
            fault.inject(hands)
        except BaseException:
            undo(folder, client, fault.id)  # a fault is given whole or not at all
            raise
    end = time.monotonic() + patience
    while not _shows(fault, hands):
        if time.monotonic() > end:
            raise LabError(
                f"given, and its symptom does not show after {patience:.0f} s",
                where=f"{fault.id} {node}".strip(),
                hint=f"`plimsoll lab heal {fault.id}` undoes it",
            )
        time.sleep(_PAUSE)
    return node


def _shows(fault: Fault, hands: Hands) -> bool:
    try:
        return fault.shown(hands)
    except (ClusterError, LabError):  # what it looks at is not there yet
        return False


def _choose(client: Client, fault: Fault, wanted: str) -> str:
    """The node named, if the fault can be given to it; else the one that can have it and does least."""
    found = client.list("v1/Node")
    fit = sorted(name(each) for each in found if _fits(each, fault.on))
    if wanted:
        if wanted not in [name(each) for each in found]:
            raise InputError("no such node", where=wanted, hint=f"one of {', '.join(fit)[:200]}")
        if wanted not in fit:
            raise InputError(
                f"{fault.id} needs a node with {_NEEDS[fault.on]}",
                where=wanted,
                hint=f"one of {', '.join(fit)[:200]}",
            )
        return wanted
    if not fit:
        raise InputError(f"{fault.id} needs a node with {_NEEDS[fault.on]}, and this lab has none", where="lab")
    busy = Counter(text(pod, "spec", "nodeName") for pod in client.list("v1/Pod") if gpu_requests(pod))
    return min(reversed(fit), key=lambda node: busy[node])


_NEEDS = {"": "anything", "gpu": "whole GPUs", "mig": "MIG devices", "shared": "shared GPUs"}


def _fits(node: Obj, on: str) -> bool:
    offered = {key for key, count in mapping(node, "status", "allocatable").items() if str(count) != "0"}
    if on == "mig":
        return any(key.startswith("nvidia.com/mig-") for key in offered)
    if on == "shared":
        return "nvidia.com/device-plugin.config" in labels(node)
    if on == "gpu":
        return "nvidia.com/gpu" in offered
    return get(node, "metadata", "name") is not None
