"""A large cluster made from the recorded one: nodes and pods with names, times and ids of their own.

    python bench/generate.py OUT [--nodes 5000] [--pods 100000] [--seed 1]

Every object is a copy of a recorded one with its real fields, so a pod is about as large as in life. Each
GPU node carries the operand pods of its kind; the rest are the pods of Jobs of eight, two Jobs in three
without a GPU, with owners, labels, images and arguments of their own. Every tenth Job has an event per pod.
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
JOB_PODS = 8


def cluster(nodes: int, pods: int, seed: int) -> Iterator[Obj]:
    """Every object of the cluster, one at a time: `nodes` GPU nodes, at least `pods` pods."""
    rng = random.Random(seed)
    items: list[Obj] = json.loads(gzip.decompress(RECORDED.read_bytes()))["items"]
    yield from (obj for obj in items if obj["kind"] not in ("Node", "Pod", "DaemonSet"))
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
    for daemon_set in (obj for obj in items if obj["kind"] == "DaemonSet"):
        daemon_set["status"] |= dict.fromkeys(_COUNTS, _kept(daemon_set, operands, nodes))
        yield daemon_set
    yield from _jobs(items, max(0, pods - made), names, rng)


_COUNTS = (
    "currentNumberScheduled",
    "desiredNumberScheduled",
    "numberAvailable",
    "numberReady",
    "updatedNumberScheduled",
)


def _kept(daemon_set: Obj, operands: dict[str, list[str]], nodes: int) -> int:
    """How many pods of a DaemonSet the nodes carry."""
    prefix = f'"generateName": "{daemon_set["metadata"]["name"]}-"'
    having = {model for model, texts in operands.items() if any(prefix in text for text in texts)}
    return sum(MODELS[number % len(MODELS)] in having for number in range(nodes))


def _jobs(items: list[Obj], pods: int, names: list[str], rng: random.Random) -> Iterator[Obj]:
    """So many pods of Jobs, with their Jobs and events."""
    (job,) = (json.dumps(obj) for obj in items if obj["kind"] == "Job" and obj["metadata"]["name"] == "train-1")
    (pod,) = (
        json.dumps(obj) for obj in items
        if obj["kind"] == "Pod" and obj["metadata"].get("labels", {}).get("job-name") == "train-1"
    )  # fmt: skip
    for number in range(0, pods, JOB_PODS):
        title, team = f"train-{number // JOB_PODS}", TEAMS[number // JOB_PODS % len(TEAMS)]
        owner = _fresh(job.replace('"train-1"', f'"{title}"'), title, rng)
        owner["metadata"]["namespace"] = team
        yield owner
        gpus = {"nvidia.com/gpu": "1"} if number // JOB_PODS % 3 == 0 else {}
        for each in range(number, min(number + JOB_PODS, pods)):
            made = _fresh(pod.replace('"train-1"', f'"{title}"'), f"{title}-{_suffix(rng)}", rng)
            made["metadata"] |= {"namespace": team, "generateName": f"{title}-"}
            made["metadata"]["ownerReferences"][0]["uid"] = owner["metadata"]["uid"]
            for key in ("controller-uid", "batch.kubernetes.io/controller-uid"):
                made["metadata"]["labels"][key] = owner["metadata"]["uid"]
            made["spec"]["nodeName"] = names[each * 7919 % len(names)]
            (box,) = made["spec"]["containers"]
            box["image"] = f"registry.example.com/{team}/train:{number // JOB_PODS % 300}"
            box["args"] = ["--epochs", "40", "--run", title]
            for side in ("limits", "requests"):
                kept = {key: value for key, value in box["resources"].get(side, {}).items() if key != "nvidia.com/gpu"}
                box["resources"][side] = {**kept, **gpus}
            yield made
            if number // JOB_PODS % 10 == 0:
                yield _event(made, rng)


def _event(pod: Obj, rng: random.Random) -> Obj:
    """What the scheduler says of a pod it has bound."""
    meta, at = pod["metadata"], pod["metadata"]["creationTimestamp"]
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{rng.getrandbits(64):x}", "namespace": meta["namespace"],
                     "uid": f"{rng.getrandbits(128):032x}", "creationTimestamp": at},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "namespace": meta["namespace"],
                           "uid": meta["uid"]},
        "type": "Normal", "reason": "Scheduled", "action": "Binding", "count": 1,
        "message": f"Successfully assigned {meta['namespace']}/{meta['name']} to {pod['spec']['nodeName']}",
        "reportingComponent": "default-scheduler", "reportingInstance": "", "firstTimestamp": at, "lastTimestamp": at,
    }  # fmt: skip


def _fresh(text: str, title: str, rng: random.Random) -> Obj:
    """A copy with its own name, uid, volume suffix, address and times."""
    obj: Obj = json.loads(text)
    born = TAKEN - timedelta(seconds=rng.randrange(3600, 30 * 86400))
    obj["metadata"] |= {"name": title, "uid": f"{rng.getrandbits(128):032x}", "creationTimestamp": _stamp(born),
                        "resourceVersion": str(rng.randrange(10**9))}  # fmt: skip
    if obj["kind"] == "Pod":
        access = f"kube-api-access-{_suffix(rng, 5)}"  # as long as the API server makes it
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


def _suffix(rng: random.Random, length: int = 8) -> str:
    """Letters and digits: eight for names, so that no two of 100,000 are equal."""
    return "".join(rng.choices(string.ascii_lowercase + string.digits, k=length))


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
