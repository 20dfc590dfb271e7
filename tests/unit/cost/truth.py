"""A cluster whose every millisecond is known, the records that a meter would write of it, and its bill in fractions.

The bill is worked out the slow way: time is cut at every event, and each piece is divided among those who hold it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from random import Random

from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import (
    HOUR,
    WHOLE,
    Ended,
    Gpu,
    Hold,
    Instance,
    Node,
    Pod,
    Quote,
    Record,
    Running,
    Usage,
    Watch,
    parts,
)

START = 1_764_547_200_000  # 2025-12-01, a full hour
SKU = "H100-SXM5-80GB"
LAYOUTS = (("1g.10gb",) * 7, ("3g.40gb", "3g.40gb"), ("4g.40gb", "3g.40gb"), ("3g.40gb", "2g.20gb", "1g.10gb"))
PRICES = {"gold": 55_040_000, "spot": 19_200_001, "odd": 7_777_777}


def part(profile: str) -> int:
    found = parts(SKU, profile)
    assert found is not None
    return found


@dataclass
class TruePod:
    uid: str
    name: str
    job: str
    team: str
    node: str
    began: int
    ended: int
    slots: list[tuple[str, str]]
    weight: int = 1
    ran: int = 0


@dataclass
class TrueNode:
    uid: str
    pool: str
    gpus: int
    began: int
    ended: int
    prices: list[tuple[int, int]] = field(default_factory=list)  # (from, micro per hour), after the pool's
    # gpu: [(from, until, layout)], layout () for the whole GPU
    cuts: dict[str, list[tuple[int, int, tuple[str, ...]]]] = field(default_factory=dict)

    def price(self, moment: int) -> int:
        return next((p for at, p in reversed(self.prices) if at <= moment), PRICES[self.pool])


@dataclass
class Truth:
    nodes: list[TrueNode]
    pods: list[TruePod]
    usage: list[Usage]
    horizon: int

    def records(self) -> list[Record]:
        found: list[Record] = []
        for node in self.nodes:
            found.append(Node(uid=node.uid, name=node.uid, pool=node.pool, sku=SKU, gpus=node.gpus, began=node.began))
            found += [Quote(scope=node.uid, moment=at, per_hour=p, source="seen") for at, p in node.prices]
            if node.ended < self.horizon:
                found.append(Ended(kind="node", subject=(node.uid,), moment=node.ended))
            for gpu, cuts in node.cuts.items():
                found.append(Gpu(node=node.uid, gpu=gpu, began=cuts[0][0]))
                if cuts[-1][1] < node.ended:
                    found.append(Ended(kind="gpu", subject=(node.uid, gpu), moment=cuts[-1][1]))
                for began, ended, layout in cuts:
                    for place, profile in enumerate(layout):
                        name = f"{began}-{place}"
                        found.append(Instance(node=node.uid, gpu=gpu, instance=name, profile=profile,
                                              parts=part(profile), began=began))  # fmt: skip
                        found.append(Ended(kind="instance", subject=(node.uid, gpu, name), moment=ended))
        for pod in self.pods:
            found.append(Pod(uid=pod.uid, namespace=pod.team, name=pod.name, node=pod.node, team=pod.team, job=pod.job,
                             job_uid=f"{pod.job}-uid" if pod.job else "", began=pod.began))  # fmt: skip
            if pod.ended < self.horizon:
                found.append(Ended(kind="pod", subject=(pod.uid,), moment=pod.ended))
            if pod.ran:
                found.append(Running(pod=pod.uid, moment=pod.ran))
            for gpu, instance in pod.slots:
                share = WHOLE if not instance else self._parts(pod.node, gpu, instance)
                found.append(Hold(pod=pod.uid, node=pod.node, gpu=gpu, instance=instance, parts=share,
                                  weight=pod.weight, began=pod.began))  # fmt: skip
        return [*found, *self.usage, Watch(meter="m", began=START, ended=self.horizon)]

    def _parts(self, node: str, gpu: str, instance: str) -> int:
        began, _, place = instance.partition("-")
        of = next(each for each in self.nodes if each.uid == node)
        return part(next(layout for at, _, layout in of.cuts[gpu] if at == int(began))[int(place)])

    def exact(self, began: int, ended: int, *, weighted: bool) -> dict[str, Fraction]:
        """Micro-units by pod uid, and by `unallocated`, `stranded`, `absent`."""
        found: dict[str, Fraction] = defaultdict(Fraction)
        for node in self.nodes:
            times = {began, ended, node.began, node.ended, *(at for at, _ in node.prices)}
            times |= {t for cuts in node.cuts.values() for cut in cuts for t in cut[:2]}
            times |= {t for pod in self.pods if pod.node == node.uid for t in (pod.began, pod.ended)}
            marks = sorted(t for t in times if max(began, node.began) <= t <= min(ended, node.ended))
            for a, b in pairwise(marks):
                self._piece(node, a, Fraction(node.price(a) * (b - a), HOUR), found, weighted)
        return found

    def _piece(self, node: TrueNode, at: int, money: Fraction, found: dict[str, Fraction], weighted: bool) -> None:
        per_gpu = money / node.gpus
        here = 0
        for gpu, cuts in node.cuts.items():
            for a, b, layout in cuts:
                if not a <= at < b:
                    continue
                here += 1
                slots = {f"{a}-{place}": part(profile) for place, profile in enumerate(layout)} or {"": WHOLE}
                whole = max(WHOLE, sum(slots.values()))
                for slot, share in slots.items():
                    holders = [p for p in self.pods if (gpu, slot) in p.slots and p.began <= at < p.ended]
                    cost = per_gpu * share / whole
                    weights = [p.weight if weighted else 1 for p in holders]
                    for pod, weight in zip(holders, weights, strict=True):
                        found[pod.uid] += cost * weight / sum(weights)
                    if not holders:
                        found["unallocated"] += cost
                found["stranded"] += per_gpu * (whole - sum(slots.values())) / whole
        found["absent"] += per_gpu * (node.gpus - here)


TARIFF = Tariff({name: (price, "test") for name, price in PRICES.items()})


def generate(random: Random, *, nodes: int, pods: int, hours: int = 30) -> Truth:
    """A cluster of random lives: late and lost GPUs, re-cut GPUs, changing prices, sharers, jobs of many pods, names
    that come back, evictions (the node ends under the pod), jobs of a second."""
    horizon = START + hours * HOUR
    made = [_node(random, place, horizon) for place in range(nodes)]
    found: list[TruePod] = []
    while len(found) < pods:
        node = random.choice(made)
        job = random.choice(["", f"team/job-{len(found)}"])
        began = random.randrange(node.began, node.ended - 1)
        ended = min(
            began + random.choice([1000, 1001, 61_000, HOUR, 5 * HOUR, random.randrange(1000, 20 * HOUR)]), node.ended
        )
        for _ in range(random.choice([1, 1, 3])):
            slots = _slots(random, node, began)
            if slots:
                found.append(TruePod(
                    uid=f"pod-{len(found)}", name=random.choice(["worker-0", "worker-1"]), job=job, node=node.uid,
                    team=random.choice(["red", "blue"]), began=began, ended=ended, slots=slots,
                    weight=random.choice([1, 1, 2, 3]),
                ))  # fmt: skip
        if not any(node.cuts.values()):
            pods -= 1
    return Truth(made, found, _usage(random, found, horizon), horizon)


def _node(random: Random, place: int, horizon: int) -> TrueNode:
    began = START + random.randrange(0, 4 * HOUR)
    ended = random.choice([horizon, random.randrange(began + 2 * HOUR, horizon)])
    node = TrueNode(f"node-{place}", random.choice(list(PRICES)), random.choice([1, 2, 4, 8]), began, ended)
    node.prices = sorted(
        (random.randrange(began, ended), random.randrange(1, 90_000_000)) for _ in range(random.choice([0, 0, 2]))
    )
    for gpu in range(node.gpus):
        seen = began + random.choice([0, random.randrange(0, HOUR)])
        lost = random.choice([ended, ended, ended, random.randrange(seen + 1, ended)])
        turn = random.randrange(seen + 1, lost) if lost - seen > 2 else lost
        cuts = [(seen, turn, random.choice([(), (), *LAYOUTS])), (turn, lost, random.choice([(), *LAYOUTS]))]
        node.cuts[f"GPU-{place}-{gpu}"] = [cut for cut in cuts if cut[0] < cut[1]]
    return node


def _slots(random: Random, node: TrueNode, began: int) -> list[tuple[str, str]]:
    """Some of the slots that are there when a pod begins; it holds them until it ends, whatever becomes of them."""
    there = [
        (gpu, f"{a}-{place}" if layout else "")
        for gpu, cuts in node.cuts.items()
        for a, b, layout in cuts
        if a <= began < b
        for place in range(len(layout) or 1)
    ]
    return random.sample(there, min(len(there), random.choice([1, 1, 2])))


def _usage(random: Random, pods: list[TruePod], horizon: int) -> list[Usage]:
    found = []
    for pod in pods:
        for gpu, instance in pod.slots:
            at = pod.began
            while at < min(pod.ended, horizon) and random.random() < 0.95:
                until = min(pod.ended, at + random.choice([15_000, 60_000, HOUR // 2]))
                span = until - at
                state = random.choice(["idle", "low", "busy"])
                found.append(Usage(
                    gpu=gpu, instance=instance, pod=pod.uid, began=at, ended=until, seen=span,
                    idle=span if state == "idle" else 0, low=span if state == "low" else 0,
                    busy=0 if state == "idle" else span * random.randrange(2, 100) // 100,
                ))  # fmt: skip
                at = until
    return found
