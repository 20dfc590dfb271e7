"""Whatever a cluster holds: its declaration loads, or one sentence says why there is none."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.kube.objects import Obj
from tests.unit.kube.declaring import cluster_queue, declared, gpu_line, hundred, kueue, node, pod, server


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


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hostile_shapes_end_nothing(data: st.DataObject) -> None:
    """A recording with values of any type in places that are read still declares, or errs in one sentence."""
    base = [
        *hundred("x", "y"),
        *FLAVORS,
        cluster_queue("qa", gpu_line(8), flavor="any"),
        server("v", "s", ["--model=m"]),
        pod("p", "s", "x"),
    ]
    for obj in base[:2] + base[4:]:
        path = data.draw(
            st.sampled_from(
                [("metadata", "labels"), ("metadata", "name"), ("spec",), ("status",), ("metadata", "namespace")]
            )
        )
        value = data.draw(words)
        if path[0] == "metadata":
            obj["metadata"] = {**obj["metadata"], path[1]: value}
        else:
            obj[path[0]] = value
    try:
        declared(*base)
    except InputError as error:
        assert error.exit_code == 2
