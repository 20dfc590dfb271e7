"""A cluster that is known to the second, as the API server and the exporters tell of it, and its true bill.

Times are whole seconds, as Kubernetes writes them. Every change is kept with its resourceVersion, so that a watch can
be begun anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from plimsoll.cost.sample import parts
from plimsoll.kube.objects import Obj
from tests.unit.cost.truth import START, TrueNode, TruePod, Truth

SKU = "H100-SXM5-80GB"
PRODUCT = "NVIDIA-H100-80GB-HBM3"
LAYOUT = {"3g.40gb": 1, "2g.20gb": 1, "1g.10gb": 2}  # of every GPU of a node that is cut
KINDS = ("whole", "mixed", "single", "renamed", "plain", "mps")
SECOND = 1000


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Machine:
    """A node. kind: how its GPUs are shared. slots: devices by what pods ask for."""

    name: str
    kind: str
    gpus: int
    began: int
    ended: int = 0
    generation: str = "old"
    replicas: int = 1
    slots: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    profiles: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        return f"uid-{self.name}-{self.began}"

    def gpu(self, index: int) -> str:
        return f"GPU-{self.name}-{index}"


@dataclass
class Job:
    """A pod's life. asks: the extended resource. amount: of it."""

    uid: str
    name: str
    job: str
    machine: Machine
    asks: str
    amount: int
    began: int
    ran: int
    ended: int
    how: str
    slots: list[tuple[str, str]] = field(default_factory=list)
    busy: float = 0.5


def machine(random: Random, place: int, began: int, kind: str) -> Machine:
    gpus = 1 if kind in ("renamed", "plain", "mps") else random.choice([1, 2, 4])
    found = Machine(f"n{place}", kind, gpus, began, generation=random.choice(["old", "new"]),
                    replicas=4 if gpus == 1 and kind in ("renamed", "plain", "mps") else 1)  # fmt: skip
    if kind == "mixed":
        for gpu in range(gpus):
            number = 1
            for profile, amount in LAYOUT.items():
                for _ in range(amount):
                    device = found.gpu(gpu), str(number)
                    found.slots.setdefault(f"nvidia.com/mig-{profile}", []).append(device)
                    found.profiles[device] = profile
                    number += 1
    elif kind == "single":
        devices = [(found.gpu(gpu), str(number)) for gpu in range(gpus) for number in range(7, 14)]
        found.slots["nvidia.com/gpu"] = devices
        found.profiles = dict.fromkeys(devices, "1g.10gb")
    else:
        resource = "nvidia.com/gpu.shared" if kind in ("renamed", "mps") else "nvidia.com/gpu"
        found.slots[resource] = [(found.gpu(gpu), "") for gpu in range(gpus)]
    return found


class World:
    """Lives that follow one another without taking what is taken. changes: moment, kind, change, object."""

    def __init__(self, random: Random, *, hours: float = 0.5, pods: int = 40) -> None:
        self.began = START
        self.ended = START + round(hours * 3600) * SECOND
        self.machines = [
            machine(random, place, START - random.choice([0, 0, 3600]) * SECOND, kind)
            for place, kind in enumerate(random.sample(KINDS, 4))
        ]
        self.jobs: list[Job] = []
        self.changes: list[tuple[int, str, str, Obj]] = []
        busy: dict[tuple[str, tuple[str, str]], list[tuple[int, int]]] = {}
        for place in range(pods * 4):
            if len(self.jobs) < pods:
                self._job(random, place, busy)
        self._tell()

    def _job(self, random: Random, place: int, busy: dict[tuple[str, tuple[str, str]], list[tuple[int, int]]]) -> None:
        on = random.choice(self.machines)
        resource = random.choice(list(on.slots))
        began = self.began + random.randrange(0, (self.ended - self.began) // SECOND - 1) * SECOND
        length = random.choice([1, 2, 7, 20, 61, 200, 600, random.randrange(1, 1500)]) * SECOND
        if on.replicas > 1 and length < 200 * SECOND:
            length = 200 * SECOND
        ended = min(began + length, self.ended - SECOND)
        if ended <= began:
            return
        free = [
            slot for slot in on.slots[resource]
            if sum(a < ended + SECOND and began < b + SECOND for a, b in busy.get((on.name, slot), ())) < on.replicas
        ]  # fmt: skip
        amount = random.choice([1, 1, 2]) if on.replicas == 1 else 1
        if len(free) < amount:
            return
        slots = random.sample(free, amount)
        for slot in slots:
            busy.setdefault((on.name, slot), []).append((began, ended))
        self.jobs.append(
            Job(
                uid=f"pod-{place}", name=f"worker-{place % 3}-{place}" if random.random() < 0.7 else f"again-{on.name}",
                job=random.choice(["", f"job-{place}", "job-many"]), machine=on, asks=resource, amount=amount,
                began=began, ran=min(began + random.choice([0, 1, 30]) * SECOND, ended), ended=ended,
                how=random.choice(["done", "done", "failed", "deleted", "evicted"]), slots=slots,
                busy=random.choice([0.0, 0.5, 0.95]),
            )
        )  # fmt: skip
        if self.jobs[-1].name.startswith("again") and any(
            other.name == self.jobs[-1].name and other.began < ended + 5 * SECOND and began < other.ended + 5 * SECOND
            for other in self.jobs[:-1]
        ):
            self.jobs[-1].name = f"once-{place}"  # a name comes back only once its pod is gone

    # What the API server tells

    def _tell(self) -> None:
        for each in self.machines:
            self.changes.append((min(each.began, self.began), "Node", "ADDED", self._node(each)))
        for job in self.jobs:
            self.changes.append((job.began, "Pod", "ADDED", self._pod(job, "Pending")))
            if job.ran < job.ended:
                self.changes.append((job.ran, "Pod", "MODIFIED", self._pod(job, "Running")))
            last = {"done": "Succeeded", "failed": "Failed", "evicted": "Failed"}.get(job.how)
            if last:
                self.changes.append((job.ended, "Pod", "MODIFIED", self._pod(job, last)))
            else:
                # As a kubelet does: the last status tells that the containers have stopped, then the object goes.
                self.changes.append((job.ended, "Pod", "MODIFIED", self._pod(job, "Running", stopped=True)))
            gone = job.ended + (3 * SECOND if last else 1)
            self.changes.append((gone, "Pod", "DELETED", self._pod(job, last or "Running", stopped=True)))
        order = {"ADDED": 0, "MODIFIED": 1, "DELETED": 2}
        self.changes.sort(key=lambda each: (each[0], each[1] == "Pod", order[each[2]]))
        for version, (_, _, _, obj) in enumerate(self.changes, 1):
            obj["metadata"]["resourceVersion"] = str(version)

    def _node(self, each: Machine) -> Obj:
        labels = {
            "nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": str(each.gpus), "nvidia.com/gpu.memory": "81559",
            "nvidia.com/gpu.product": PRODUCT, "pool": "gold",
        }  # fmt: skip
        if each.replicas > 1:
            labels["nvidia.com/gpu.replicas"] = str(each.replicas)
        if each.kind == "mixed":
            labels["nvidia.com/mig.strategy"] = "mixed"
        if each.kind == "single":
            labels |= {"nvidia.com/mig.strategy": "single", "nvidia.com/gpu.product": f"{PRODUCT}-MIG-1g.10gb",
                       "nvidia.com/gpu.count": str(7 * each.gpus)}  # fmt: skip
        type_ = {1: "p5.4xlarge", 8: "p5.48xlarge"}.get(each.gpus)
        if each.kind == "single":
            labels["test/gpus"] = str(each.gpus)
        if type_:
            labels["node.kubernetes.io/instance-type"] = type_
        offered = {resource: str(len(slots) * each.replicas) for resource, slots in each.slots.items()}
        return {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": each.name, "uid": each.uid, "creationTimestamp": iso(each.began), "labels": labels},
            "spec": {"providerID": "aws:///zone/i-1"}, "status": {"capacity": offered, "allocatable": offered},
        }  # fmt: skip

    def _pod(self, job: Job, phase: str, *, stopped: bool = False) -> Obj:
        state: dict[str, Any] = {}
        if phase == "Running":
            state = {"running": {"startedAt": iso(job.ran)}}
        if stopped or phase in ("Succeeded", "Failed"):
            code = 1 if phase == "Failed" else 0
            state = {"terminated": {"startedAt": iso(job.ran), "finishedAt": iso(job.ended), "exitCode": code,
                                    "reason": "Error" if code else "Completed"}}  # fmt: skip
        status: Obj = {
            "phase": phase, "startTime": iso(job.began),
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(job.began)}],
        }  # fmt: skip
        if state:
            status["containerStatuses"] = [{"name": "main", "state": state}]
        if job.how == "evicted" and phase == "Failed":
            status |= {"reason": "Evicted"}
        owners = [{"kind": "Job", "name": job.job, "uid": f"uid-{job.job}", "controller": True}] if job.job else []
        return {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": job.name, "namespace": "team", "uid": job.uid, "creationTimestamp": iso(job.began),
                         "ownerReferences": owners},
            "spec": {"nodeName": job.machine.name, "containers": [
                {"name": "main", "resources": {"limits": {job.asks: str(job.amount)}}}]},
            "status": status,
        }  # fmt: skip

    # What exporters tell

    def page(self, on: Machine, at: int) -> bytes:
        """dcgm-exporter's page of a node; pods are on it while they run."""
        here = [job for job in self.jobs if job.machine is on and job.ran <= at < job.ended]
        new = on.generation == "new"
        host = "hostname" if new else "Hostname"
        names = (("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", "DCGM_FI_DEV_FB_USED_BYTES") if new
                 else ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_FB_USED"))  # fmt: skip
        rows: dict[str, list[str]] = {name: [] for name in names}
        devices = sorted({slot for slots in on.slots.values() for slot in slots})
        for gpu, instance in devices:
            holders = [job for job in here if (gpu, instance) in job.slots]
            labels = f'gpu="0",UUID="{gpu}",modelName="NVIDIA H100 80GB HBM3",{host}="{on.name}"'
            if instance:
                labels += f',GPU_I_PROFILE="{on.profiles[gpu, instance]}",GPU_I_ID="{instance}"'
            busy = max((job.busy for job in holders), default=0.0)
            for name in names:
                value = busy if "ENGINE" in name else 1000 * (1 << 20 if new else 1)
                copies = [f',container="main",namespace="team",pod="{job.name}"' for job in holders] or [""]
                if on.replicas > 1 and holders:
                    copies = [f'{copy},vgpu="{place}"' for place, copy in enumerate(copies)]
                rows[name] += [f"{name}{{{labels}{copy}}} {value}" for copy in copies]
        return "".join(f"# TYPE {name} gauge\n" + "".join(f"{row}\n" for row in rows[name]) for name in names).encode()

    # What is true

    def truth(self) -> Truth:
        nodes = []
        for each in self.machines:
            node = TrueNode(each.uid, "gold", each.gpus, each.began, self.ended)
            for gpu in range(each.gpus):
                layout = tuple(profile for (of, _), profile in sorted(each.profiles.items()) if of == each.gpu(gpu))
                node.cuts[each.gpu(gpu)] = [(each.began, self.ended, layout)]
            nodes.append(node)
        pods = [
            TruePod(uid=job.uid, name=job.name, job=job.job, team="team", node=job.machine.uid, began=job.began,
                    ended=job.ended, slots=[self._slot(job.machine, slot) for slot in job.slots])
            for job in self.jobs
        ]  # fmt: skip
        return Truth(nodes, pods, [], self.ended)

    def _slot(self, on: Machine, slot: tuple[str, str]) -> tuple[str, str]:
        gpu, instance = slot
        if not instance:
            return slot
        here = sorted(device for device in on.profiles if device[0] == gpu)
        return gpu, f"{on.began}-{here.index(slot)}"


def share(profile: str) -> int:
    found = parts(SKU, profile)
    assert found is not None
    return found
