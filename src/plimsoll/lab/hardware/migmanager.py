"""What NVIDIA's MIG manager does about the label nvidia.com/mig.config, one step at a time.

pending, with the operands that hold GPUs paused; when they are gone, the new layout; the operands go on; success or
failed. What it handled last is written down on the node, so that nothing is done twice.
Source: mig-parted pkg/mig/reconfigure, k8s-mig-manager.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from plimsoll.kube.objects import Obj, annotations_of, labels, text
from plimsoll.kube.operands import GATE
from plimsoll.lab.hardware.layout import CUT, Cut, Wrong, written
from plimsoll.units import moment

CONFIG, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
PAUSED = "paused-for-mig-change"
HANDLED = "lab.plimsoll.dev/mig-handled"  # <uid of the manager's pod>/<config>
BEGAN = "lab.plimsoll.dev/mig-began"
CLIENTS = ("device-plugin", "gpu-feature-discovery", "dcgm-exporter", "dcgm")
WAIT = 300.0  # seconds for the clients to go
IN_USE = 20.0  # seconds a GPU that pods hold is tried for


class Step(msgspec.Struct, frozen=True):
    """What to write. labels, annotations: of the node; None takes one away. revalidate: restart the validator's pod.

    again: seconds until the next look, None where only a change of the cluster can bring one.
    """

    labels: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    revalidate: bool = False
    again: float | None = None


class Task(msgspec.Struct, frozen=True):
    """What a step is decided from.

    manager: uid of the manager's pod. now, cut: the time, and how the GPUs are cut. target: what the label asks for.
    busy: clients whose pods are still there. used: pods hold GPUs. outcome: what a fault makes of it, "" the usual.
    """

    node: Obj
    manager: str
    now: datetime
    cut: Sequence[Cut]
    target: Sequence[Cut] | Wrong
    busy: bool
    used: bool
    outcome: str = ""


def pending(node: Obj) -> bool:
    """Whether a change is under way on the node, so that it matters who holds GPUs there."""
    return BEGAN in annotations_of(node)


def step(task: Task) -> Step:
    """The next step."""
    have, notes = labels(task.node), annotations_of(task.node)
    config = have.get(CONFIG, "")
    mark = f"{task.manager}/{config}"
    began = moment(notes.get(BEGAN))
    if not config or notes.get(HANDLED) == mark:
        return Step()
    if began is None:
        if isinstance(task.target, Wrong):
            return _done(task, mark, "failed")
        same = list(task.target) == list(task.cut) and not task.outcome
        return _done(task, mark, "success") if same else _begin(task, mark)
    waited = (task.now - began).total_seconds()
    if task.busy:
        # It gives up without a word and without letting the clients go on.
        return Step(again=1.0) if waited < WAIT else Step(annotations={HANDLED: mark, BEGAN: None})
    if task.used and waited < IN_USE:
        return Step(again=1.0)
    if task.used or task.outcome == "failed" or isinstance(task.target, Wrong):
        return _done(task, mark, "failed")
    return _done(task, mark, "success", task.target)


def _begin(task: Task, mark: str) -> Step:
    """Announce the change and pause the clients; a fault may end it there."""
    marked: dict[str, str | None] = {HANDLED: mark}
    if task.outcome == "pending":
        return Step({STATE: "pending"}, marked)
    if task.outcome == "rebooting":
        return Step({STATE: "rebooting"}, marked)
    have = labels(task.node)
    paused: dict[str, str | None] = {GATE + each: PAUSED for each in CLIENTS if have.get(GATE + each) == "true"}
    if task.outcome == "wedged":
        return Step({STATE: "pending", **paused}, marked)
    began = task.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Step({STATE: "pending", **paused}, {BEGAN: began}, again=0.1)


def _done(task: Task, mark: str, state: str, cut: Sequence[Cut] | None = None) -> Step:
    """Let the clients go on, and say how it went."""
    have = labels(task.node)
    back: dict[str, str | None] = {GATE + each: "true" for each in CLIENTS if have.get(GATE + each) == PAUSED}
    said: dict[str, str | None] = {} if text(task.node, "metadata", "labels", STATE) == state else {STATE: state}
    notes: dict[str, str | None] = {HANDLED: mark}
    if BEGAN in annotations_of(task.node):
        notes[BEGAN] = None
    if cut is not None:
        notes[CUT] = written(cut)
    return Step({**back, **said}, notes, revalidate=cut is not None)
