"""A large cluster made from the recorded one: nodes and pods with names, times and ids of their own.

    python bench/generate.py OUT [--nodes 5000] [--pods 100000] [--seed 1]

Every object is a copy of a recorded one with its real fields, so a pod is about as large as in life. Each
GPU node carries the operand pods of its kind; the rest are workload pods, two in three without a GPU.
Equal arguments give equal bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.kube.store import save

RECORDED = Path(__file__).parents[1] / "examples" / "lab" / "healthy.json.gz"
TAKEN = datetime(2026, 11, 24, 11, 3, tzinfo=UTC)
MODELS = ("h100-1",) * 60 + ("a100-mig-0",) * 15 + ("l4-0",) * 25  # of every hundred nodes
TEAMS = tuple(f"team-{number:02}" for number in range(40))


def cluster(nodes: int, pods: int, seed: int) -> Iterator[Obj]:
    """Every object of the cluster, one at a time: `nodes` GPU nodes, at least `pods` pods."""
    rng = random.Random(seed)
    items: list[Obj] = json.loads(gzip.decompress(RECORDED.read_bytes()))["items"]
    yield from (obj for obj in items if obj["kind"] not in ("Node", "Pod"))
    by_node: dict[str, list[Obj]] = {}
    for obj in items:
        if obj["kind"] == "Pod" and obj["metadata"]["namespace"] == "gpu-operator":
            by_node.setdefault(obj["spec"].get("nodeName", ""), []).append(obj)
    machines = {obj["metadata"]["name"]: json.dumps(obj) for obj in items if obj["kind"] == "Node"}
    operands = {model: [json.dumps(pod) for pod in by_node[model]] for model in set(MODELS)}
    names, made = [], 0
    for number in range(nodes):
        model = MODELS[number % len(MODELS)]
        title = f"{model.rpartition('-')[0]}-{number:05}"
        names.append(title)
        yield _fresh(machines[model].replace(f'"{model}"', f'"{title}"'), title, rng)
        for operand in operands[model]:
            base = json.loads(operand)["metadata"]["generateName"]
            yield _fresh(operand.replace(f'"{model}"', f'"{title}"'), base + _suffix(rng), rng)
            made += 1
    (job,) = [obj for obj in items if obj["kind"] == "Pod" and obj["metadata"]["name"].startswith("train-1-")]
    template = json.dumps(job)
    for number in range(max(0, pods - made)):
        pod = _fresh(template, f"work-{number // 8}-{_suffix(rng)}", rng)
        pod["metadata"]["namespace"] = TEAMS[number % len(TEAMS)]
        pod["spec"]["nodeName"] = names[number * 7919 % len(names)]
        for resources in (container["resources"] for container in pod["spec"]["containers"]):
            for side in ("limits", "requests"):
                resources.get(side, {}).pop("nvidia.com/gpu", None)
                if number % 3 == 0:
                    resources.setdefault(side, {})["nvidia.com/gpu"] = "1"
        yield pod


def _fresh(text: str, title: str, rng: random.Random) -> Obj:
    """A copy with its own name, uid, volume suffix, address and times."""
    obj: Obj = json.loads(text)
    born = TAKEN - timedelta(seconds=rng.randrange(3600, 30 * 86400))
    obj["metadata"] |= {"name": title, "uid": f"{rng.getrandbits(128):032x}", "creationTimestamp": _stamp(born),
                        "resourceVersion": str(rng.randrange(10**9))}  # fmt: skip
    if obj["kind"] == "Pod":
        access = f"kube-api-access-{_suffix(rng)}"
        for container in obj["spec"]["containers"] + obj["spec"].get("initContainers", []):
            for mount in container.get("volumeMounts", []):
                if mount["name"].startswith("kube-api-access-"):
                    mount["name"] = access
        for volume in obj["spec"].get("volumes", []):
            if volume["name"].startswith("kube-api-access-"):
                volume["name"] = access
        status = obj["status"]
        status["podIP"] = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"
        status["podIPs"] = [{"ip": status["podIP"]}]
        status["startTime"] = _stamp(born)
        for field in ("containerStatuses", "initContainerStatuses"):
            for entry in status.get(field, []):
                entry["containerID"] = f"containerd://{rng.getrandbits(256):064x}"
                if "running" in entry["state"]:
                    entry["state"]["running"]["startedAt"] = _stamp(born + timedelta(seconds=rng.randrange(300)))
        for condition in status.get("conditions", []):
            condition["lastTransitionTime"] = _stamp(born + timedelta(seconds=rng.randrange(300)))
    return obj


def _suffix(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase + string.digits, k=5))


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def write(out: Path, nodes: int = 5000, pods: int = 100_000, seed: int = 1) -> None:
    """Write the cluster as one of our snapshot files."""
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    source = Source("live", "generated", "recorded")
    save(Snapshot(cluster(nodes, pods, seed), source=source, taken_at=TAKEN, coverage=coverage), out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    write(given.out, given.nodes, given.pods, given.seed)
