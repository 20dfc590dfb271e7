"""A past that is known to the second, and what kube-state-metrics and dcgm-exporter would have said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.unit.cost.truth import TrueNode, TruePod, Truth
from tests.unit.kube.promserver import Exposed

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
START = 1_764_547_200_000  # 2025-12-01, a full hour
MODEL = "NVIDIA H100 80GB HBM3"
SCRAPE = 30 * SECOND
OLD = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
NEW = "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", "DCGM_FI_DEV_FB_USED_BYTES", "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL"
Form = Literal["honored", "exported", "none"]  # how a holder is told: honorLabels, without it, not at all


@dataclass
class Past:
    """truth: nodes and pods. shares: nodes whose GPUs are given to so many pods. kept: for how long an ended pod stays.

    deleted: pods that were deleted while they ran. form: of the exporter's labels. new: names since 4.9.
    single: MIG nodes that give instances out as GPUs. busy: of each pod; idle devices are at 0.
    silent: times without any scrape. replicas: of kube-state-metrics.
    """

    truth: Truth
    shares: dict[str, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    form: Form = "exported"
    new: bool = False
    single: bool = False
    busy: dict[str, float] = field(default_factory=dict)
    silent: tuple[tuple[int, int], ...] = ()
    replicas: int = 2
    kept: int = 10 * MINUTE
    labelled: bool = True

    def samples(self, began: int, ended: int) -> Iterator[Exposed]:
        energy: dict[str, float] = {}
        for at in range(began, ended, SCRAPE):
            if any(first <= at < last for first, last in self.silent):
                continue
            for replica in range(self.replicas):
                target = {"instance": f"10.0.0.{replica}:8080", "job": "kube-state-metrics"}
                for name, labels, value in self._cluster(at + 7 * SECOND + replica * 100):
                    yield name, labels | target, (at + 7 * SECOND + replica * 100) / 1000, value
            for name, labels, value in self._exporters(at + 13 * SECOND, energy):
                yield name, labels, (at + 13 * SECOND) / 1000, value

    def _cluster(self, at: int) -> Iterator[tuple[str, dict[str, str], float]]:
        yield "kube_namespace_created", {"namespace": "default"}, 1_700_000_000
        for node in self.truth.nodes:
            if not node.began <= at < node.ended:
                continue
            own = {"node": node.uid}
            yield "kube_node_info", own | {"provider_id": f"aws:///x/{node.uid}"}, 1
            yield "kube_node_created", own, node.began // 1000
            if self.labelled:
                have = {"label_plimsoll_dev_pool": node.pool, "label_nvidia_com_gpu_product": MODEL.replace(" ", "-")}
                yield "kube_node_labels", own | have, 1
            for resource, amount in {**self._offers(node), "cpu": 96.0, "memory": 2.0**40}.items():
                yield "kube_node_status_capacity", own | {"resource": resource, "unit": "x"}, amount
        for pod in self.truth.pods:
            yield from self._pod(pod, at)

    def _offers(self, node: TrueNode) -> dict[str, float]:
        if node.uid in self.shares:
            return {"nvidia_com_gpu": node.gpus * self.shares[node.uid]}
        found: dict[str, float] = {}
        for cuts in node.cuts.values():
            for profile in cuts[0][2] or ("",):
                name = self._resource(profile)
                found[name] = found.get(name, 0) + 1
        return found

    def _resource(self, profile: str) -> str:
        return "nvidia_com_gpu" if not profile or self.single else f"nvidia_com_mig_{profile.replace('.', '_')}"

    def _pod(self, pod: TruePod, at: int) -> Iterator[tuple[str, dict[str, str], float]]:
        over = pod.ended <= at
        if at < pod.began - 2 * SECOND or at >= pod.ended + (0 if pod.uid in self.deleted else self.kept):
            return
        own = {"namespace": pod.team, "pod": pod.name, "uid": pod.uid}
        placed = at >= pod.began
        kind, owner = ("Job", pod.job.partition("/")[2]) if pod.job else ("<none>", "<none>")
        yield "kube_pod_info", own | {"node": pod.node if placed else "", "created_by_kind": kind,
                                      "created_by_name": owner}, 1  # fmt: skip
        yield "kube_pod_created", own, pod.began // 1000 - 2
        wanted: dict[str, int] = {}
        for gpu, slot in pod.slots:
            node = next(each for each in self.truth.nodes if each.uid == pod.node)
            profile = node.cuts[gpu][0][2][int(slot.partition("-")[2])] if slot else ""
            wanted[self._resource(profile)] = wanted.get(self._resource(profile), 0) + pod.weight
        for resource, amount in wanted.items():
            more = {"container": "main", "node": pod.node if placed else "", "resource": resource, "unit": "integer"}
            yield "kube_pod_container_resource_requests", own | more, amount
        for phase in ("Pending", "Running", "Succeeded", "Failed"):
            yield "kube_pod_status_phase", own | {"phase": phase}, float(phase == ("Succeeded" if over else "Running"))
        if placed:
            yield "kube_pod_status_scheduled_time", own, pod.began // 1000
            yield "kube_pod_start_time", own, pod.began // 1000
        if over:
            yield "kube_pod_completion_time", own, pod.ended // 1000

    def _exporters(self, at: int, energy: dict[str, float]) -> Iterator[tuple[str, dict[str, str], float]]:
        for node in self.truth.nodes:
            if not node.began <= at < node.ended:
                continue
            for gpu, cuts in node.cuts.items():
                if not cuts[0][0] <= at < cuts[0][1]:
                    continue
                layout = cuts[0][2]
                slots = [f"{cuts[0][0]}-{place}" for place in range(len(layout))] or [""]
                for slot in slots:
                    holders = [
                        pod for pod in self.truth.pods if (gpu, slot) in pod.slots and pod.began <= at < pod.ended
                    ]
                    yield from self._device(node, gpu, slot, layout, holders, energy)

    def _device(self, node: TrueNode, gpu: str, slot: str, layout: tuple[str, ...], holders: list[TruePod],
                energy: dict[str, float]) -> Iterator[tuple[str, dict[str, str], float]]:  # fmt: skip
        own = {"namespace": "gpu-operator", "pod": f"dcgm-{node.uid}", "container": "exporter", "job": "dcgm",
               "UUID": gpu, "modelName": MODEL, ("hostname" if self.new else "Hostname"): node.uid}  # fmt: skip
        if slot:
            place = int(slot.partition("-")[2])
            own |= {"GPU_I_PROFILE": layout[place], "GPU_I_ID": str(place + 1)}
        used = max((self.busy.get(pod.uid, 0.5) for pod in holders), default=0.0)
        energy[gpu] = energy.get(gpu, 0.0) + 300 * SCRAPE / 1000 / max(len(layout), 1)
        memory = 1024.0 * (1 << 20 if self.new else 1)
        busy, filled, joules = NEW if self.new else OLD
        if node.uid in self.shares:  # every sharer has a line of every metric, the device one of those that are its own
            yield filled, own, memory * bool(holders)
            for number, pod in enumerate(holders if self.form != "none" else ()):
                yield filled, own | self._told(pod) | {"vgpu": str(number)}, memory / len(holders)
            rows = [own | self._told(pod) | {"vgpu": str(number)} for number, pod in enumerate(holders)] or [own]
        else:
            rows = [own | (self._told(holders[-1]) if holders else {})]
            yield filled, rows[0], memory * bool(holders)
        for labels in rows if self.form != "none" else [own]:
            yield busy, labels, used
            yield joules, labels, energy[gpu] * (1 if self.new else 1000)

    def _told(self, pod: TruePod) -> dict[str, str]:
        prefix = {"exported": "exported_", "honored": ""}.get(self.form)
        return {} if prefix is None else {f"{prefix}pod": pod.name, f"{prefix}namespace": pod.team}


def generate(random: Random, *, hours: int, nodes: int = 3, per_device: int = 6) -> Past:
    """Nodes with whole GPUs, MIG instances and time-sliced GPUs; on each device one pod after another, some a second
    long, some over several devices, of names that come back."""
    made: list[TrueNode] = []
    pods: list[TruePod] = []
    past = Past(Truth(made, pods, [], START + hours * HOUR))
    for place in range(nodes):
        kind = ("whole", "mig", "shared")[place % 3]
        node = TrueNode(f"node-{place}", random.choice(["gold", "odd"]), random.choice([2, 4]),
                        START - random.randrange(1, 9) * 86_400_000, START + (hours + 1) * HOUR)  # fmt: skip
        layout = random.choice([("3g.40gb", "2g.20gb", "1g.10gb"), ("1g.10gb",) * 7]) if kind == "mig" else ()
        for number in range(node.gpus):
            node.cuts[f"GPU-{place}-{number}"] = [(node.began, node.ended, layout)]
        made.append(node)
        if kind == "shared":
            past.shares[node.uid] = 4
        for gpu, cuts in node.cuts.items():
            for slot in [f"{cuts[0][0]}-{each}" for each in range(len(layout))] or [""]:
                for _ in range(past.shares.get(node.uid, 1)):
                    pods += _one_after_another(random, node, (gpu, slot), hours, per_device, len(pods))
    past.busy = {pod.uid: random.choice([0.0, 0.05, 0.5, 0.9]) for pod in pods}
    return past


def _one_after_another(random: Random, node: TrueNode, slot: tuple[str, str], hours: int, most: int,
                       number: int) -> list[TruePod]:  # fmt: skip
    found: list[TruePod] = []
    at = START - random.choice([0, HOUR]) + random.randrange(0, HOUR, SECOND)
    end = START + hours * HOUR
    while at < end and len(found) < most:
        span = random.choice([SCRAPE + SECOND, MINUTE + SECOND, 20 * MINUTE + 17 * SECOND, 2 * HOUR])
        uid = f"pod-{number + len(found)}"
        name = random.choice([f"lane-{number}", f"w-{uid}"])  # the former come back
        found.append(TruePod(uid=uid, name=name, job="", team=f"team-{slot[0][-1]}", node=node.uid, began=at,
                             ended=at + span, slots=[slot]))  # fmt: skip
        at += span + random.randrange(SECOND, 40 * MINUTE, SECOND)
    return found
