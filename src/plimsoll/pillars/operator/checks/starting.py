"""Pods that are only starting or being replaced: trouble that passes by itself, told by the pod's own age."""

from __future__ import annotations

from datetime import datetime, timedelta

from plimsoll.kube.objects import Obj, items, mapping, number, text
from plimsoll.kube.operands import OperandState, operand_states
from plimsoll.kube.pods import trouble
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import moment

SETTLING = timedelta(minutes=2)  # a device plugin registers within seconds of its start
DRIVER = "nvidia-driver-ctr"
DRIVERS = ("driver", "vgpu-manager")


def driver_state(snapshot: Snapshot, node: str) -> OperandState | None:
    """How the driver meant for a node is doing; None where none is meant to run there."""
    states = operand_states(snapshot).get(node, {})
    return next((states[op] for op in DRIVERS if op in states and states[op].expected), None)


@fact
def starting_drivers(snapshot: Snapshot) -> frozenset[str]:
    """Nodes whose driver runs, is not ready, and is within the window of its startup probe.

    The window counts from the start of the container, so that a reboot opens a new one.
    A driver of unknown age has had its time.
    """
    return frozenset(
        node
        for node in operand_states(snapshot)
        if (state := driver_state(snapshot, node))
        and state.state == "unready"
        and state.pod is not None
        and younger(_began(state.pod), startup_window(state.pod), snapshot.taken_at)
    )


def startup_window(pod: Obj) -> timedelta:
    """How long the driver may take to start: its startup probe's window; 21 minutes where it has none."""
    for container in items(pod, "spec", "containers"):
        probe = mapping(container, "startupProbe")
        if container.get("name") == DRIVER and probe:
            tries = (number(probe, "failureThreshold") or 3) * (number(probe, "periodSeconds") or 10)
            return timedelta(seconds=number(probe, "initialDelaySeconds") + tries)
    return timedelta(minutes=21)


def replaced(snapshot: Snapshot, pod: Obj) -> bool:
    """Whether a device plugin's pod is on its way out or in: told to end, or made just now and not failing.

    One that is Ready has had the seconds it needs to register; one that waits for a toolkit that
    is not ready there waits for a fault.
    """
    now, wrong = snapshot.taken_at, trouble(pod)
    if wrong is not None and wrong.state in ("crash", "image", "unschedulable"):
        return False
    if ending := text(pod, "metadata", "deletionTimestamp"):
        return younger(moment(ending), SETTLING, now)
    if wrong is None or not younger(moment(text(pod, "metadata", "creationTimestamp")), SETTLING, now):
        return False
    toolkit = operand_states(snapshot).get(text(pod, "spec", "nodeName"), {}).get("container-toolkit")
    return wrong.state != "init" or toolkit is None or toolkit.state == "ready"


def younger(began: datetime | None, most: timedelta, now: datetime | None) -> bool:
    """Whether something began less than that long ago; an unknown age is not young."""
    return now is not None and began is not None and now - began < most


def _began(pod: Obj) -> datetime | None:
    """When the driver container of a pod began to run; else when the pod did."""
    runs = [text(each, "state", "running", "startedAt") for each in items(pod, "status", "containerStatuses")
            if each.get("name") == DRIVER]  # fmt: skip
    return moment(
        next(iter(runs), "") or text(pod, "status", "startTime") or text(pod, "metadata", "creationTimestamp")
    )
