"""Whatever a cluster holds: its declaration loads, or one sentence says why there is none."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.kube.objects import Obj, get, name
from plimsoll.kube.pods import gpu_requests
from tests.unit.kube.declaring import cluster_queue, declared, kueue, node, pod, server


def queueing(of: Obj, queued: bool) -> Obj:
    of["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "q"} if queued else {}
    return of


words: st.SearchStrategy[Any] = st.sampled_from(
    ["a", "gpu", "team-a", "", "Q_1.x", "x" * 300, "b\n", "\ud800", "0", "-1", "8", "nvidia.com/gpu", None, 7, [], {}]
)
resources = st.sampled_from(
    ["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"]
)
counts = st.sampled_from(["0", "1", "3", "7", "8", "16", "56", "100", "-4", "x", None])
label_keys = st.sampled_from(
    [
        "pool",
        "nvidia.com/gpu.count",
        "nvidia.com/gpu.replicas",
        "nvidia.com/mig.config",
        "nvidia.com/mig-1g.10gb.count",
        "nvidia.com/gpu.sharing-strategy",
        "karpenter.sh/capacity-type",
        "agentpool",
        "plimsoll.dev/pool",
    ]
)
label_values = st.sampled_from(
    ["a", "b", "1", "4", "8", "all-balanced", "all-1g.10gb", "spot", "mps", "time-slicing", "A_b", "\n", "é"]
)
nodes = st.builds(
    lambda name, product, kind, labels, capacity: node(name, capacity, **{"product": product, "type": kind, **labels}),
    st.sampled_from("abcdefgh"),
    st.sampled_from(
        ["NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "NVIDIA-L4-SHARED", "Z"]
    ),
    st.sampled_from(["p5.48xlarge", "g6.xlarge", "", "m5.large"]),
    st.dictionaries(label_keys, label_values, max_size=5),
    st.dictionaries(resources, counts, max_size=3),
)
lines = st.builds(
    lambda resource, nominal, borrow, lend: {
        "name": resource,
        "nominalQuota": nominal,
        "borrowingLimit": borrow,
        "lendingLimit": lend,
    },
    resources,
    counts,
    counts,
    counts,
)
queues = st.builds(
    lambda name, flavor, line, cohort: cluster_queue(name, line, flavor=flavor, cohortName=cohort),
    st.sampled_from(["qa", "qb", "team.x", "q_"]),
    st.sampled_from(["any", "some", "gone"]),
    lines,
    st.sampled_from(["", "c", "d"]),
)
locals_ = st.builds(
    lambda queue, space: kueue("LocalQueue", f"l-{queue}", {"clusterQueue": queue}, space),
    st.sampled_from(["qa", "qb", "team.x"]),
    st.sampled_from(["s1", "s2", "qa", "team-x", "S!"]),
)
pods = st.builds(
    lambda name, space, on, resource, count: pod(name, space, on, resource, count),
    st.sampled_from("pqr"),
    st.sampled_from(["s1", "s2", "s3", "qa"]),
    st.sampled_from("abcd"),
    resources,
    st.integers(0, 9),
)
servers = st.builds(
    lambda name, space, gpus, replicas, queued: queueing(
        server(name, space, ["--model", "m"], gpus, replicas=replicas), queued
    ),
    st.sampled_from(["v", "w"]),
    st.sampled_from(["s1", "s3"]),
    st.integers(0, 9),
    st.sampled_from([0, 1, 5, None, "x"]),
    st.booleans(),
)


FLAVORS = [kueue("ResourceFlavor", "any", {}), kueue("ResourceFlavor", "some", {"nodeLabels": {"pool": "a"}})]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(nodes, min_size=1, max_size=6), st.lists(queues | locals_ | pods | servers, max_size=8))
def test_whatever_the_cluster_the_declaration_loads(some: list[Obj], rest: list[Obj]) -> None:
    try:
        declared(*some, *FLAVORS, *rest)
    except InputError as error:
        assert "GPU node" in str(error), error


def _recorded() -> list[Obj]:
    """What a declaration is read from, of a recorded cluster: one node of each kind, pods that hold GPUs."""
    path = Path(__file__).parents[3] / "examples" / "lab" / "healthy.json.gz"
    read = {
        "Node", "ClusterPolicy", "ClusterQueue", "LocalQueue", "ResourceFlavor", "ScaledObject", "ConfigMap",
        "HorizontalPodAutoscaler", "Deployment", "Namespace", "Pod",
    }  # fmt: skip
    objects = [obj for obj in json.loads(gzip.decompress(path.read_bytes()))["items"] if obj["kind"] in read]
    return [obj for obj in objects if _tells(obj)]


def _tells(obj: Obj) -> bool:
    if obj["kind"] == "Pod":
        return bool(gpu_requests(obj))
    if obj["kind"] == "ConfigMap":
        return name(obj) in ("time-slicing-config", "kueue-manager-config")
    return obj["kind"] != "Node" or name(obj).endswith("-0")


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in pairs:
        yield (*path, step)
        yield from _places(inner, (*path, step))


RECORDED = _recorded()
PLACES = [
    (at, path) for at, obj in enumerate(RECORDED) for path in _places(obj) if path[0] not in ("kind", "apiVersion")
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), words), min_size=1, max_size=12))
def test_hostile_values_anywhere_end_nothing(changes: list[tuple[tuple[int, tuple[str | int, ...]], Any]]) -> None:
    """A recorded cluster with values of any type anywhere still declares, or errs in one sentence."""
    objects = copy.deepcopy(RECORDED)
    for (at, path), value in changes:
        parent: Any = get(objects[at], *path[:-1])
        step: Any = path[-1]
        inside = isinstance(parent, list) and isinstance(step, int) and step < len(parent)
        if isinstance(parent, dict) or inside:
            parent[step] = copy.deepcopy(value)
    try:
        declared(*objects)
    except InputError as error:
        assert "GPU node" in str(error)
