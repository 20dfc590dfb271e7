"""Jobs on a lab's GPUs, who watches them besides the meter, and what they must cost.

The truth is taken from the objects alone, by a watch of its own: from a pod's schedule to the end of its containers,
and worked out in fractions, with time cut at every event (tests/unit/cost/truth.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from random import Random

from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.store import open_store
from plimsoll.errors import PlimsollError
from plimsoll.kube import kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, condition, items, labels, name, namespace, owner, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.lab.run.settings import Folder
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.units import moment
from tests.unit.cost.truth import TrueNode, TruePod, Truth

PROGRAM = Path(sys.executable).parent / "plimsoll"
SHAPES = (  # extended resource, amount
    ("nvidia.com/gpu", 1), ("nvidia.com/gpu", 2), ("nvidia.com/gpu", 8), ("nvidia.com/mig-1g.10gb", 1),
    ("nvidia.com/mig-1g.10gb", 2), ("nvidia.com/mig-3g.40gb", 1), ("nvidia.com/gpu.shared", 1),
)  # fmt: skip


def job(space: str, title: str, resource: str, amount: int, seconds: int, *, pods: int = 1, busy: float = 0.6) -> Obj:
    """A Job whose pods run so long on fake GPUs."""
    notes = {"lab.plimsoll.dev/run-seconds": str(seconds), "lab.plimsoll.dev/gpu-utilisation": str(busy)}
    container = {"name": "main", "image": "registry.example.com/train@sha256:" + "0" * 64,
                 "resources": {"requests": {resource: str(amount)}, "limits": {resource: str(amount)}}}  # fmt: skip
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": title, "namespace": space},
        "spec": {"parallelism": pods, "completions": pods, "backoffLimit": 0, "template": {
            "metadata": {"annotations": notes},
            "spec": {"restartPolicy": "Never", "containers": [container],
                     "tolerations": [{"operator": "Exists"}]}}},
    }  # fmt: skip


def random_job(random: Random, space: str, number: int) -> Obj:
    resource, amount = random.choice(SHAPES)
    seconds = random.choice([1, 2, 5, 10, 20, 40])
    pods = random.choice([1, 1, 2]) if amount < 8 else 1
    return job(space, f"j{number}", resource, amount, seconds, pods=pods, busy=random.choice([0.0, 0.1, 0.9]))


class Seen:
    """Every pod of a Job with GPUs in some namespaces, and every node, in their last states."""

    def __init__(self, client: Client, spaces: set[str]) -> None:
        self._client, self._spaces = client, spaces
        self.pods: dict[str, Obj] = {}
        self.nodes: dict[str, Obj] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(kind,), daemon=True)
                         for kind in (kinds.POD, kinds.NODE)]  # fmt: skip
        for each in self._threads:
            each.start()

    def _follow(self, kind: kinds.Kind) -> None:
        while not self._stop.is_set():
            try:
                for _, obj in self._client.watch(kind, stop=self._stop):
                    uid = text(obj, "metadata", "uid")
                    if kind == kinds.NODE:
                        self.nodes[uid] = obj
                    elif namespace(obj) in self._spaces and owner(obj).get("kind") == "Job" and gpu_requests(obj):
                        self.pods[uid] = obj
            except PlimsollError:
                time.sleep(0.5)

    def stop(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(5)

    @property
    def running(self) -> int:
        """Pods that have not ended."""
        return sum(ended(each) == 0 for each in self.pods.values())


def millis(said: str) -> int:
    found = moment(said)
    return round(found.timestamp() * 1000) if found else 0


def began(pod: Obj) -> int:
    return millis(text(condition(pod, "PodScheduled"), "lastTransitionTime")) if text(pod, "spec", "nodeName") else 0


def ended(pod: Obj) -> int:
    """When the last of its containers ended; 0 while one runs."""
    said = items(pod, "status", "containerStatuses")
    stops = [millis(text(each, "state", "terminated", "finishedAt")) for each in said]
    return max(stops) if stops and all(stops) else 0


class Process:
    """A meter of a lab, as a process of its own that may be killed."""

    def __init__(
        self, folder: Folder, platform: Path, ledger: str, log: Path, *, every: float = 2.0, costs: float = 0.0
    ) -> None:
        env = {**os.environ, "XDG_STATE_HOME": str(folder.root.parents[2])}
        words = [str(PROGRAM), "lab", "exec", "--name", folder.root.name, "--", str(PROGRAM), "agent", "meter",
                 "-f", str(platform), "--ledger", ledger, "--every", str(every), "--costs-every", str(costs),
                 "--patience", "10", "--listen", "127.0.0.1:0"]  # fmt: skip
        self._log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(words, env=env, stdout=out, stderr=out, start_new_session=True)

    def address(self, patience: float = 60.0) -> str:
        """Host and port of its page of metrics, in the lab's network."""
        until = time.monotonic() + patience
        while not (found := re.search(r"http://([\d.]+:\d+)/metrics", self._log.read_text())):
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.2)
        return found[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def first(ledger: str, patience: float = 120.0) -> int:
    """The first moment that a meter wrote that it watched; waits for it."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(0.5)
        if ledger.startswith("/") and not Path(ledger).exists():
            continue
        try:
            store = open_store(ledger)
        except PlimsollError:  # the meter has the file
            continue
        found = Ledger(store).first()
        store.close()
        if found:
            return found
    raise AssertionError(f"no meter wrote anything for {patience:.0f} s")


def truth(seen: Seen, platform: Platform, until: int) -> Truth:
    """What was held: devices that are alike, given in turn to who came."""
    nodes: list[TrueNode] = []
    known: dict[str, tuple[TrueNode, tuple[str, ...], int]] = {}
    for node in seen.nodes.values():
        pool = derive.pool_of(platform, labels(node))
        if pool is None or pool.price is None:
            continue
        at = millis(text(node, "metadata", "creationTimestamp"))
        made = TrueNode(text(node, "metadata", "uid"), "gold", pool.gpus_per_node, at, until)
        made.prices = [(0, int(pool.price.per_node_hour or 0))]
        cut = pool.partition.mig.layout if pool.partition.mig else {}
        assert isinstance(cut, dict)
        layout = tuple(profile for profile, amount in cut.items()
                       for _ in range(amount))  # fmt: skip
        for place in range(pool.gpus_per_node):
            made.cuts[f"{name(node)}/{place}"] = [(at, until, layout)]
        sharing = pool.partition.time_slicing
        known[name(node)] = made, layout, sharing.replicas if sharing else 1
        nodes.append(made)
    pods: list[TruePod] = []
    taken: dict[tuple[str, tuple[str, str]], list[TruePod]] = defaultdict(list)
    for uid, pod in sorted(seen.pods.items(), key=lambda each: began(each[1])):
        if not began(pod):
            continue
        on, layout, shares = known[text(pod, "spec", "nodeName")]
        one = TruePod(uid=uid, name=name(pod), job=text(owner(pod), "uid"), team="", node=on.uid, began=began(pod),
                      ended=min(ended(pod) or until, until), slots=[])  # fmt: skip
        for resource, amount in gpu_requests(pod).items():
            profile = resource.partition("/mig-")[2]
            for _ in range(amount):
                one.slots.append(_free(on, layout, profile, one, taken, shares))
                taken[on.uid, one.slots[-1]].append(one)
        if one.ended > one.began:
            pods.append(one)
    return Truth(nodes, pods, [], until)


def _free(
    node: TrueNode, layout: tuple[str, ...], profile: str, pod: TruePod,
    taken: dict[tuple[str, tuple[str, str]], list[TruePod]], shares: int,
) -> tuple[str, str]:  # fmt: skip
    slots = [
        (gpu, f"{cuts[0][0]}-{place}" if profile else "")
        for gpu, cuts in node.cuts.items()
        for place, each in enumerate(layout or ("",))
        if each == profile
    ]
    load = {slot: sum(each.ended > pod.began for each in taken[node.uid, slot]) for slot in slots}
    best = min(slots, key=lambda slot: load[slot])
    assert load[best] < shares or shares == 1, f"{pod.name} has no device"
    return best


def costs(ledger: str, platform: Platform, began_: int, until: int) -> Bill:
    store = open_store(ledger)
    try:
        query = Query(by="job", began=began_, ended=until, split="requested")
        return bill(Ledger(store), Tariff.of(platform), query)
    finally:
        store.close()


def compare(found: Bill, true: Truth, began_: int, until: int) -> tuple[int, dict[str, tuple[int, float]]]:
    """How many jobs there were, and those that are billed something else: what, and what it should be."""
    exact = true.exact(began_, until, weighted=True)
    wanted: dict[str, Fraction] = defaultdict(Fraction)
    for pod in true.pods:
        wanted[pod.job or pod.uid] += exact[pod.uid]
    billed = {line.id: line.cost for line in found.lines if line.id}
    pairs = {each: (billed.get(each, 0), cost) for each, cost in wanted.items()}
    return len(wanted), {each: (cost, float(true)) for each, (cost, true) in pairs.items() if abs(cost - true) > 1}
