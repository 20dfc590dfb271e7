"""Where a node stands in a change of its MIG layout, told from what the API keeps of it.

The MIG manager writes one label, `nvidia.com/mig.config.state`, and sets the deploy labels of
the device plugin, GFD and DCGM to `paused-for-mig-change` while it works. Labels carry no time,
so a change that stands still is told from one at work by what else has or has not happened.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from plimsoll.check.model import Case
from plimsoll.check.words import many
from plimsoll.kube.nodes import allocatable, gpu_nodes, is_ready
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, text
from plimsoll.kube.operands import enabled
from plimsoll.kube.pods import Trouble, events_by_object, events_of, gpu_pods_by_node, trouble
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.partition.nodes import MIG_MANAGER, PLUGIN, daemonset, label_set_at, minutes, operand
from plimsoll.pillars.partition.words import HELD
from plimsoll.units import moment

WANTED, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
DEPLOY = "nvidia.com/gpu.deploy."
PAUSED = "paused-for-mig-change"
PATHS = (f"metadata.labels[{WANTED}]", f"metadata.labels[{STATE}]")
BEGUN = 5  # minutes: the manager has not waited in vain for any operand yet
SLOW = 15  # minutes: the manager waits up to 5 for each operand it stops, then applies in seconds
REBOOT = 20  # minutes: the slowest GPU servers need about 15 to boot


class Change(NamedTuple):
    """A change of layout, or the want of one. `stage` is what to say of it."""

    stage: str  # failed | wedged | pending | rebooting | unattended
    wanted: str
    paused: tuple[str, ...]  # deploy labels that keep operands away
    age: int | None  # minutes since the state was written; None if nothing tells
    why: str  # one clause
    offers: int  # devices pods can be given now


@fact
def _changes(snapshot: Snapshot) -> dict[str, Change]:
    case = Case(snapshot, now=snapshot.taken_at)
    return {name(node): found for node in gpu_nodes(snapshot) if (found := _change(case, node))}


def change_of(case: Case, node: Obj) -> Change | None:
    """The change a GPU node is in the middle of or stuck in, or None where there is none."""
    return _changes(case.snapshot).get(name(node))


def _change(case: Case, node: Obj) -> Change | None:
    have = labels(node)
    paused = tuple(sorted(key for key, value in have.items() if value == PAUSED and str(key).startswith(DEPLOY)))
    age = minutes(label_set_at(node, STATE), case.now)
    if age is None and paused and have.get(STATE) == "pending":
        age = _since_the_plugin_stopped(case, node)  # the manager stops it first
    offers = sum(allocatable(node).values())
    match have.get(STATE):
        case "failed":
            found: Stage = "failed", "another client holds a GPU" if held_by_client(case, node) else ""
        case "pending":
            found = _pending(case, node, paused, age, offers)
        case "rebooting":
            found = "rebooting", _since(node, age)
        case None | "":
            found = _unattended(case, node)
        case _:
            found = None
    return Change(found[0], text(have, WANTED), paused, age, found[1], offers) if found else None


Stage = tuple[str, str] | None


def _pending(case: Case, node: Obj, paused: tuple[str, ...], age: int | None, offers: int) -> Stage:
    manager = operand(case.snapshot, MIG_MANAGER, name(node))
    if manager is None:
        return "wedged", "no MIG manager runs on the node"
    if (ill := trouble(manager)) and ill.state in ("crash", "image"):
        return "wedged", f"the MIG manager itself is in {ill.reason}"
    if paused and not (age is not None and age < SLOW):
        plugin = operand(case.snapshot, PLUGIN, name(node))
        if plugin is None or not offers:
            return "wedged", "the MIG manager runs but has left the operands paused"
        if get(plugin, "metadata", "deletionTimestamp"):
            return "wedged", f"pod {name(plugin)} does not end, so the MIG manager gave up waiting for it"
    return "pending", "the MIG manager is at work"


def _since_the_plugin_stopped(case: Case, node: Obj) -> int | None:
    """Minutes since the device plugin of a node was told to end; None if nothing tells."""
    plugin = operand(case.snapshot, PLUGIN, name(node))
    told = (
        moment(get(plugin, "metadata", "deletionTimestamp"))
        if plugin
        else _plugin_killed(case.snapshot).get(name(node))
    )
    since = minutes(told, case.now)
    return None if since is None else max(0, since)  # a pod's end is written ahead, by its grace period


@fact
def _plugin_killed(snapshot: Snapshot) -> dict[str, datetime]:
    """When the kubelet last stopped a device-plugin pod, by node name, from its events (kept for an hour)."""
    found: dict[str, datetime] = {}
    for (kind, _, pod), events in events_by_object(snapshot).items():
        if kind != "Pod" or not pod.startswith(daemonset(PLUGIN)):
            continue
        for event in events:
            told = moment(event.get("lastTimestamp") or event.get("eventTime"))
            if told and event.get("reason") == "Killing":
                host = text(event, "source", "host")
                found[host] = max(told, found.get(host, told))
    return found


def _since(node: Obj, age: int | None) -> str:
    if age is not None:
        return f"for {many(age, 'minute')}" + ("" if age < REBOOT else f", and a reboot takes less than {REBOOT}")
    return "though the node is Ready" if is_ready(node) else ""


def _unattended(case: Case, node: Obj) -> Stage:
    have = labels(node)
    wanted = text(have, WANTED)
    if not wanted or wanted == "all-disabled":  # nothing would be different had it been acted on
        return None
    if have.get("nvidia.com/mig.capable") == "false":
        return "unattended", "its GPUs cannot be partitioned (nvidia.com/mig.capable=false)"
    manager = operand(case.snapshot, MIG_MANAGER, name(node))
    if manager is None:
        if enabled(case.snapshot, MIG_MANAGER) is False:
            return "unattended", "ClusterPolicy switches the MIG manager off (migManager.enabled=false)"
        if have.get(f"{DEPLOY}mig-manager") == "true":
            return "unattended", "no MIG manager runs on the node"
        return "unattended", f"the node does not ask for a MIG manager (no label {DEPLOY}mig-manager=true)"
    ill: Trouble | None = trouble(manager)
    started = minutes(moment(get(manager, "metadata", "creationTimestamp")), case.now)
    if ill and (started is None or started >= 10):
        return "unattended", f"MIG manager pod {name(manager)} is not ready ({ill.reason})"
    return None


def held_by_client(case: Case, node: Obj) -> bool:
    """Whether the MIG manager or an event says that another process holds the GPU."""
    manager = operand(case.snapshot, MIG_MANAGER, name(node))
    said = [text(event, "message") for event in events_by_object(case.snapshot).get(("Node", "", name(node)), [])]
    if manager:
        said += [text(event, "message") for event in events_of(case.snapshot, manager)]
        for status in items(manager, "status", "containerStatuses"):
            said += [text(mapping(status, state, "terminated"), "message") for state in ("state", "lastState")]
    return any(HELD.search(message) for message in said)


def holders(case: Case, node: Obj) -> list[str]:
    """`namespace/name` of the pods that hold GPUs on a node."""
    bound = gpu_pods_by_node(case.snapshot).get(name(node), [])
    return sorted(f"{namespace(pod)}/{name(pod)}" for pod in bound)


def some(names: list[str], most: int = 5) -> str:
    """Names for a sentence: the first few and how many more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
