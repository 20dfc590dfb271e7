"""One fake GPU node: from what the API server holds of it to the writes that are due. A pure function."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from plimsoll.kube.objects import Obj, annotations_of, get, items, labels, mapping, text
from plimsoll.kube.pods import trouble
from plimsoll.lab.hardware import discovery, kubelet, layout, migmanager
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.hardware.devices import Devices, Failure, devices
from plimsoll.lab.hardware.events import events
from plimsoll.lab.hardware.kubelet import Plan, started
from plimsoll.lab.hardware.layout import Cut
from plimsoll.lab.hardware.machine import PCI, Machine, features, machine
from plimsoll.lab.hardware.operands import (
    DISCOVERY,
    DRIVER,
    MIG,
    MPS,
    PLUGIN,
    VALIDATOR,
    Site,
    by_operand,
    plans,
    validated,
)  # fmt: skip
from plimsoll.lab.hardware.sharing import Choice, Sharing, choice
from plimsoll.units import count, moment

HOST_DRIVER = "570.148.08"  # of a machine that brings its own
_DEFAULT_LAYOUTS = "default-mig-parted-config"
_PREFIX = "nvidia.com/"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that one look at a node needs.

    pods: of operands, on it. nfd: its NFD worker runs. configs: ConfigMaps of the operator's namespace by name.
    used: pods hold GPUs; matters while the MIG layout changes. standalone: no operator manages the cluster, so that
    driver, NFD, discovery and device plugin came with the machine. grace: for which the capacity of a plugin that
    went away is kept.
    """

    node: Obj
    pods: tuple[Obj, ...] = ()
    nfd: bool = False
    policy: Obj | None = None
    configs: Mapping[str, Obj] = msgspec.field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    used: bool = False
    standalone: bool = False
    now: datetime
    grace: timedelta = timedelta(minutes=5)


class Memory(msgspec.Struct, frozen=True):
    """What the programs on a node remember. Lost when they start anew, as with the real ones.

    loaded: the config that the pod of that uid runs with, by uid. stopped: since when nobody serves a resource.
    written: by uid, the version of a pod and the plan that its status shows. told: events that were sent.
    """

    loaded: Mapping[str, Choice] = msgspec.field(default_factory=dict)
    stopped: Mapping[str, datetime] = msgspec.field(default_factory=dict)
    written: Mapping[str, tuple[str, Plan]] = msgspec.field(default_factory=dict)
    told: frozenset[str] = frozenset()


class Writes(msgspec.Struct, frozen=True):
    """What is due.

    metadata: merge patch of the node's labels and annotations, {} for none. status: of its capacity and allocatable.
    pods: new statuses. gone: pods that have ended. events: to be created. again: seconds until the next look, at most.
    """

    metadata: Obj
    status: Obj
    pods: tuple[tuple[Obj, Obj], ...]
    gone: tuple[Obj, ...]
    events: tuple[Obj, ...]
    again: float | None


def reconcile(view: View, memory: Memory) -> tuple[Writes, Memory]:
    """The writes that are due on a node, and what to remember."""
    return _Look(view, memory).result()


class _Look:
    """One look at a node; collects what is due."""

    def __init__(self, view: View, memory: Memory) -> None:
        self.view, self.memory = view, memory
        self.node, self.have = view.node, labels(view.node)
        self.held = {part for each in view.conditions for part in each.hold}
        self.labels: dict[str, str | None] = {}
        self.notes: dict[str, str | None] = {}
        self.again: list[float] = []
        self.gone = [pod for pod in view.pods if get(pod, "metadata", "deletionTimestamp")]
        alive = [pod for pod in view.pods if text(pod, "status", "phase") not in ("Failed", "Succeeded")]
        self.pods = by_operand(pod for pod in alive if not get(pod, "metadata", "deletionTimestamp"))
        self.machine = machine(self.node)
        self.missing = max((each.gpus_missing for each in view.conditions), default=0)
        self.strategy = text(view.policy, "spec", "mig", "strategy") or "none"
        self.loaded: dict[str, Choice] = {}
        self.stopped: dict[str, datetime] = {}
        self.resources: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.plans: dict[str, Plan] = {}

    def result(self) -> tuple[Writes, Memory]:
        view, due = self.view, self.machine
        self._features()
        if due is not None:
            self._gpus(due)
        statuses, written = self._statuses()
        told = self._events()
        writes = Writes(
            metadata=self._metadata(),
            status=self._status(),
            pods=tuple(statuses),
            gone=tuple(self.gone),
            events=tuple(event for key, event in told.items() if key not in self.memory.told),
            again=min(self.again, default=None),
        )
        uids = {text(pod, "metadata", "uid") for pod in view.pods}
        kept = {key for key in self.memory.told if key.partition("/")[0] in uids}
        return writes, Memory(self.loaded, self.stopped, written, frozenset(kept | set(told)))

    def _features(self) -> None:
        """NFD's labels; they stay when its worker goes."""
        if "nfd" in self.held or not (self.view.nfd or self.view.standalone):
            return
        hidden = any(each.pci_hidden for each in self.view.conditions)
        self.labels |= {PCI: None, **features(self.node, gpus=self.machine is not None and not hidden)}

    def _gpus(self, due: Machine) -> None:
        """What runs on a node with GPUs: the device plugin, the feature discovery and the MIG manager."""
        there = layout.cuts(self.node, due)
        present = there[: max(due.gpus - self.missing, 0)]
        plugin, finder = self._choice(PLUGIN), self._choice(DISCOVERY)
        lost = max((each.gpus_lost for each in self.view.conditions), default=0)
        offered = devices(present, self.strategy, plugin.sharing, lost=lost)
        self._plan(plugin, finder, offered, present)
        if "plugin" not in self.held:
            self._capacity(self._registered(plugin.sharing, offered))
        if VALIDATOR in self.plans:
            shown = any(self.resources[0].values())
            self.plans[VALIDATOR] = validated(self.site, self.plans[VALIDATOR], capacity=shown)
        if "gfd" not in self.held and (self.view.standalone or self._runs(DISCOVERY)):
            self._discovered(due, present, finder.sharing)
        if "mig" not in self.held and self._runs(MIG):
            self._mig(due, there)

    def _plan(self, plugin: Choice, finder: Choice, offered: Devices | Failure, present: tuple[Cut, ...]) -> None:
        cut_up = finder.sharing.strategy == "mps" and any(each is not None for each in present)
        self.site = Site(
            labels=self.have,
            pods=self.pods,
            policy=self.view.policy,
            configs=self.view.configs,
            conditions=self.view.conditions,
            choices={PLUGIN: plugin, MPS: plugin, DISCOVERY: finder},
            fatal={
                PLUGIN: offered.reason if isinstance(offered, Failure) else "",
                DISCOVERY: "failed to check MPS-capable: MPS sharing is not supported for mig devices"
                if cut_up
                else "",
            },
        )
        self.plans = plans(self.site)

    def _runs(self, operand: str) -> bool:
        return operand in self.plans and self.plans[operand].ready

    def _choice(self, operand: str) -> Choice:
        """The plugin's config as the operand's pod knows it: one that runs does not read again what changes."""
        now = choice(self.have, self.view.policy, self.view.configs)
        pod = self.pods.get(operand)
        if pod is None:
            return now
        if not any(each.get("name") == "config-manager" for each in items(pod, "spec", "containers")):
            return Choice()  # its DaemonSet was made before there was a config
        uid = text(pod, "metadata", "uid")
        before = self.memory.loaded.get(uid) if started(pod) and not trouble(pod) else None
        named = text(self.view.policy, "spec", "devicePlugin", "config", "name")
        gone = bool(named) and named not in self.view.configs  # what is mounted stays mounted
        if before is not None and (before.key == now.key or now.no_such or gone):
            now = msgspec.structs.replace(before, no_such=now.no_such)
        self.loaded[uid] = now
        return now

    def _registered(self, sharing: Sharing, offered: Devices | Failure) -> Devices:
        """What the plugin has told the kubelet: nothing while it does not run, or its MPS daemon does not."""
        up = self.view.standalone or (self._runs(PLUGIN) and (sharing.strategy != "mps" or self._runs(MPS)))
        return offered if up and isinstance(offered, Devices) else Devices({}, {})

    def _capacity(self, offered: Devices) -> None:
        """The kubelet's books: what is served counts; what is no longer served stays a while, with nothing to give."""
        total = {key: count(value) for key, value in self._known("capacity").items()}
        free = {key: count(value) for key, value in self._known("allocatable").items()}
        for resource in [each for each in total if each not in offered.registered]:
            since = self.memory.stopped.get(resource, self.view.now)
            self.stopped[resource] = since
            left = (since + self.view.grace - self.view.now).total_seconds()
            free[resource] = 0
            if total[resource] and left > 0:
                self.again.append(left)
            else:
                total[resource] = 0
        self.resources = ({**total, **offered.registered}, {**free, **offered.healthy})

    def _known(self, field: str) -> dict[str, str]:
        return {key: value for key, value in mapping(self.node, "status", field).items() if key.startswith(_PREFIX)}

    def _discovered(self, due: Machine, present: tuple[Cut, ...], sharing: Sharing) -> None:
        if not present:
            return
        pod = self.pods.get(DISCOVERY, {})
        began = moment(_running_since(pod)) or self.view.now
        if self.view.standalone:
            began = moment(text(self.node, "metadata", "creationTimestamp")) or self.view.now
        place = self.have.get("node.kubernetes.io/instance-type", "lab")
        wanted = discovery.found(
            due, present, self.strategy, sharing, driver=self._driver(), place=place, since=int(began.timestamp())
        )
        stale = {key: None for key in self.have if discovery.OWNED.match(key) and key not in wanted}
        if "nvidia.com/gfd.timestamp" in self.have and not _running_since(pod):
            wanted.pop("nvidia.com/gfd.timestamp")
            stale.pop("nvidia.com/gfd.timestamp", None)
        self.labels |= {**stale, **wanted}

    def _driver(self) -> str:
        """The version of the driver that runs: that of the driver pod's image, or what the machine brings."""
        pod = self.pods.get(DRIVER)
        image = text(pod, "spec", "containers", 0, "image") if pod else ""
        version = re.search(r":(\d+\.[0-9.]*\d)", image)
        if version and self._runs(DRIVER):
            return version[1]
        return self.have.get("nvidia.com/cuda.driver-version.full") or HOST_DRIVER

    def _mig(self, due: Machine, there: tuple[Cut, ...]) -> None:
        policy = self.view.policy
        chosen = text(policy, "spec", "migManager", "config", "name") or _DEFAULT_LAYOUTS
        config = self.have.get(migmanager.CONFIG, "")
        manager = text(self.pods[MIG], "metadata", "uid")
        if not config or annotations_of(self.node).get(migmanager.HANDLED) == f"{manager}/{config}":
            return
        target = layout.wanted(self.view.configs.get(chosen), config, due)
        step = migmanager.step(
            migmanager.Task(
                node=self.node,
                manager=manager,
                now=self.view.now,
                cut=there,
                target=target,
                busy=any(operand in migmanager.CLIENTS for operand in by_operand(self.view.pods)),
                used=self.view.used,
                outcome=next((each.mig for each in self.view.conditions if each.mig), ""),
            )
        )
        self.labels |= step.labels
        self.notes |= step.annotations
        if step.again is not None:
            self.again.append(step.again)
        if step.revalidate and VALIDATOR in self.pods:
            self.gone.append(self.pods[VALIDATOR])

    def _statuses(self) -> tuple[list[tuple[Obj, Obj]], dict[str, tuple[str, Plan]]]:
        """New statuses of the pods whose status does not show their plan yet."""
        due, written = [], {}
        host = next(
            (
                text(each, "address")
                for each in items(self.node, "status", "addresses")
                if each.get("type") == "InternalIP"
            ),
            "",
        )
        for operand, pod in self.pods.items() if "pods" not in self.held else ():
            plan = self.plans.get(operand, Plan())
            uid, version = text(pod, "metadata", "uid"), text(pod, "metadata", "resourceVersion")
            written[uid] = (version, plan)
            if self.memory.written.get(uid) == written[uid]:
                continue
            status = kubelet.status(pod, plan, host, kubelet.moment(self.view.now))
            if any(get(pod, "status", key) != value for key, value in status.items()):
                due.append((pod, status))
        return due, written

    def _events(self) -> dict[str, Obj]:
        found: dict[str, Obj] = {}
        for operand, pod in self.pods.items() if "pods" not in self.held else ():
            plan = self.plans.get(operand, Plan())
            sent = events(pod, plan, self.view.now)
            if plan.stuck and not sent:
                self.again.append(1.0)
            found |= sent
        return found

    def _metadata(self) -> Obj:
        notes = annotations_of(self.node)
        changed = {
            "labels": {key: value for key, value in self.labels.items() if self.have.get(key) != value},
            "annotations": {key: value for key, value in self.notes.items() if notes.get(key) != value},
        }
        return {key: value for key, value in changed.items() if value}

    def _status(self) -> Obj:
        total, free = self.resources
        changed = {}
        for field, wanted in (("capacity", total), ("allocatable", free)):
            known = self._known(field)
            new = {key: str(value) for key, value in wanted.items() if known.get(key) != str(value)}
            if new:
                changed[field] = new
        return changed


def _running_since(pod: Obj) -> str:
    """When the first container of a pod was started, the last time; "" where it does not run."""
    return text(next(iter(items(pod, "status", "containerStatuses")), {}), "state", "running", "startedAt")
