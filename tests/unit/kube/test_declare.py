"""From a cluster to the declaration that describes it: recordings, hand-made clusters, any cluster at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from plimsoll.errors import InputError
from plimsoll.kube.declare import Declared, declare
from plimsoll.kube.declare.engine import requested
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Snapshot, Source
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import load
from plimsoll.spec.pools import Mig, Mps, Partition, Taint, TimeSlicing
from tests import recorded
from tests.unit.kube.declaring import (
    A100,
    H100,
    declared,
    hundred,
    kueue,
    node,
    pod,
    said,
)

ROOT = Path(__file__).parents[3]
LAB = sorted((ROOT / "examples" / "lab").glob("*.json.gz"))
GOLDEN = ROOT / "tests" / "golden" / "init" / "lab.yaml"


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.name)
def test_every_recording_is_declared_and_loads(path: Path) -> None:
    found = declare(recorded.load(path), "lab")
    platform = found.platform
    assert load(to_yaml(platform), "platform.yaml") == platform
    shapes = {pool.name: (pool.nodes.min, pool.nodes.max, pool.gpus_per_node, pool.gpu) for pool in platform.pools}
    assert shapes == {
        "h100": (4, 4, 8, "H100-SXM5-80GB"),
        "a100-mig": (1, 1, 8, "A100-SXM4-80GB"),
        "l4-shared": (2, 2, 1, "L4"),
    }
    cuts = {pool.name: pool.partition for pool in platform.pools}
    assert cuts == {
        "h100": Partition(),
        "a100-mig": Partition(mig=Mig(layout={"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1})),
        "l4-shared": Partition(time_slicing=TimeSlicing(replicas=4)),
    }
    quota = {team.name: team.quota.get("h100") for team in platform.teams}
    assert quota["team-a"] == 16
    assert quota["team-b"] == (None if "flavor-missing" in path.name else 8)
    assert [service.name for service in platform.services] == ["chat"]


def test_the_lab_is_declared_as_its_golden_file_says() -> None:
    path = ROOT / "examples" / "lab" / "healthy.json.gz"
    found = declare(recorded.load(path), "lab").platform
    unmanaged = replace(
        found, cluster=replace(found.cluster, manage=())
    )  # what `init` finds out of pillars comes later
    assert to_yaml(unmanaged) == GOLDEN.read_text()


def test_a_failed_mig_change_is_declared_as_the_cards_are_cut() -> None:
    found = declare(recorded.load(ROOT / "examples" / "lab" / "mig-config-failed.json.gz"))
    assert said(found, "node a100-mig-0: mig.config all-3g.40gb is asked for and failed")


def test_a_pod_outside_the_queues_gets_what_the_queues_leave() -> None:
    found = declare(recorded.load(ROOT / "examples" / "lab" / "queue-bypassed.json.gz"))
    team = next(each for each in found.platform.teams if each.name == "default")
    assert team.quota == {"h100": 4}
    assert said(found, "namespace default holds 8 × gpu of pool h100 outside any queue")


def _real_nodes() -> list[Path]:
    folder = recorded.SHARED / "real" / "objects"
    return sorted(each for each in folder.glob("*") if "node" in each.name and each.suffix in (".yaml", ".json"))


def test_nodes_of_other_peoples_clusters() -> None:
    paths = _real_nodes()
    if not paths:
        pytest.skip("needs ../shared/samples/real/objects beside this checkout; CI has it")
    seen = []
    for path in paths:
        read = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
        for at, each in enumerate(read if isinstance(read, list) else [read]):
            label_map = isinstance(each, dict) and "kind" not in each
            obj = (
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{at}", "labels": each}}
                if label_map
                else each
            )
            if obj.get("kind") != "Node":
                continue
            try:
                platform = declared(obj, partial=True).platform
                seen.append((path.name, platform.pools[0].gpu, platform.pools[0].partition.mig))
            except InputError as error:
                assert error.exit_code == 2
                assert "GRID-" in str(error)
                seen.append((path.name, "vgpu", None))
    cut = {name: mig.layout for name, _, mig in seen if mig}
    assert cut["node_gcp_a100-40_mig-mixed_3-instances_runai.yaml"] == {"1g.5gb": 2, "2g.10gb": 1}
    assert cut["node_gcp_a100-40_mig-mixed_7g40gb_runai.yaml"] == {"7g.40gb": 1}
    assert ("cncf_vks135_vgpu_node-labels_x4.json", "vgpu", None) in seen
    assert ("node_runai_fraction_1-workload.yaml", "T4", None) in seen


def test_no_gpu_node_is_one_error_that_says_what_was_looked_for() -> None:
    with pytest.raises(InputError, match=r"no GPU node among 1 nodes: looked at .*nvidia\.com/gpu\.product"):
        declared(node("cpu-0", type="m7i.large"))
    with pytest.raises(InputError, match=r"not in the snapshot|only part of it was read"):
        declared(pod("a", "b", "c"), partial=True)
    with pytest.raises(InputError, match="none of the GPU nodes can be declared: node x: left out, for NVIDIA-Z9"):
        declared(node("x", {"nvidia.com/gpu": "1"}, product="NVIDIA-Z9"))


class TestPools:
    def test_a_node_whose_gpu_is_unknown_is_left_out_and_said(self) -> None:
        found = declared(*hundred("a"), node("odd", {"nvidia.com/gpu": "2"}, product="NVIDIA-Z9", gpus="2"))
        assert [pool.nodes.max for pool in found.platform.pools] == [1]
        assert said(found, "node odd: left out, for NVIDIA-Z9 is no GPU of the catalogue")

    def test_a_broken_node_counts_by_its_instance_type_or_by_its_siblings(self) -> None:
        typed = node("a", type="p5.48xlarge", pool="x"), node("b", type="p5.48xlarge", pool="x")
        assert [(pool.gpus_per_node, pool.nodes.max) for pool in declared(*typed).platform.pools] == [(8, 2)]
        lost = node("c", pool="h100", **{"nvidia.com/gpu.present": "true"})
        found = declared(*hundred("a", "b"), lost)
        assert [pool.nodes.max for pool in found.platform.pools] == [3]
        assert said(found, "node c: its GPUs do not show; taken for those of others labelled pool=h100")

    def test_a_gpu_off_the_bus_does_not_split_a_pool(self) -> None:
        dead = node("b", {"nvidia.com/gpu": "7"}, type="p5.48xlarge", product=H100["product"], gpus="7")
        alive = node("a", {"nvidia.com/gpu": "8"}, type="p5.48xlarge", **H100)
        assert [pool.nodes.max for pool in declared(alive, dead).platform.pools] == [2]

    def test_spot_and_on_demand_nodes_of_one_karpenter_pool_are_two_pools(self) -> None:
        label = "karpenter.sh/capacity-type"
        pools = {"karpenter.sh/nodepool": "gpu"}
        nodes = [
            node("a", {"nvidia.com/gpu": "8"}, type="p5.48xlarge", **H100, **pools, **{label: "spot"}),
            node("b", {"nvidia.com/gpu": "8"}, type="p5.48xlarge", **H100, **pools, **{label: "on-demand"}),
            node("c", {"nvidia.com/gpu": "8"}, type="p5.48xlarge", **H100, **pools, **{label: "reserved"}),
            node(
                "d",
                {"nvidia.com/gpu": "1"},
                type="g6.xlarge",
                product="NVIDIA-L4",
                gpus="1",
                **pools,
                **{label: "spot"},
            ),
        ]
        found = declared(*nodes).platform
        assert {pool.name: pool.capacity for pool in found.pools} == {
            "gpu-h100-sxm5-80gb-8-spot-p5-48xlarge": "spot",
            "gpu-h100-sxm5-80gb-8-p5-48xlarge": "on-demand",
            "gpu-h100-sxm5-80gb-8-reserved-p5-48xlarge": "reserved",
            "gpu-l4-1-spot-g6-xlarge": "spot",
        }
        for pool in found.pools:
            mine = [each for each in nodes if pool.selector.items() <= each["metadata"]["labels"].items()]
            assert len(mine) == 1

    def test_a_label_that_other_nodes_have_too_is_not_enough(self) -> None:
        pool = declared(*hundred("a"), node("cpu", pool="h100")).platform.pools[0]
        assert pool.node_selector == {"pool": "h100", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}

    def test_nodes_that_no_label_tells_apart_are_named_for_labelling(self) -> None:
        plain = node("a", {"nvidia.com/gpu": "8"}, pool="x", product=H100["product"])
        fewer = node("b", {"nvidia.com/gpu": "4"}, pool="x", product=H100["product"])
        found = declared(plain, fewer)
        assert {pool.name: pool.node_selector for pool in found.platform.pools} == {"x-8": {}, "x-4": {}}
        assert said(found, "no label tells the nodes of pool x-4 (b) from others: give them plimsoll.dev/pool=x-4")

    def test_our_own_label_needs_no_selector(self) -> None:
        own = node("a", {"nvidia.com/gpu": "8"}, **H100, **{"plimsoll.dev/pool": "train", "pool": "other"})
        pool = declared(own).platform.pools[0]
        assert (pool.name, pool.node_selector, pool.selector) == ("train", {}, {"plimsoll.dev/pool": "train"})

    def test_taints_that_last_are_the_pools(self) -> None:
        nodes = hundred("a", "b")
        for at, each in enumerate(nodes):
            each["spec"] = {
                "taints": [
                    {"key": "dedicated", "value": "ml", "effect": "NoSchedule"},
                    {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
                    {"key": f"only-{at}", "effect": "NoSchedule"},
                ]
            }
        assert declared(*nodes).platform.pools[0].taints == (Taint(key="dedicated", value="ml"),)

    def test_an_instance_type_that_contradicts_its_gpus_is_left_out(self) -> None:
        found = declared(node("a", {"nvidia.com/gpu": "8"}, type="g6.xlarge", **H100))
        assert found.platform.pools[0].instance_type == ""
        assert said(found, "instance type g6.xlarge should have 1 × L4")

    def test_topology_of_the_kueue_flavor(self) -> None:
        flavor = kueue("ResourceFlavor", "h100", {"nodeLabels": {"pool": "h100"}, "topologyName": "t"})
        levels = [{"nodeLabel": "rack"}, {"nodeLabel": "kubernetes.io/hostname"}]
        found = declared(*hundred("a"), flavor, kueue("Topology", "t", {"levels": levels})).platform.pools[0]
        assert found.topology is not None
        assert found.topology.levels == ("rack", "kubernetes.io/hostname")


class TestSharing:
    def one(self, capacity: dict[str, str], *more: Obj, **labels: str) -> tuple[Partition, Declared]:
        found = declared(node("a", capacity, **labels), *more)
        return found.platform.pools[0].partition, found

    def test_single_strategy_counts_slices_not_gpus(self) -> None:
        labels = {"product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "gpus": "56", "nvidia.com/mig.config": "all-1g.10gb"}
        cut, found = self.one({"nvidia.com/gpu": "56"}, **labels)
        assert cut == Partition(mig=Mig(layout={"1g.10gb": 7}, strategy="single"))
        assert found.platform.pools[0].gpus_per_node == 8

    def test_mig_without_gfd_by_capacity(self) -> None:
        cut, _ = self.one({"nvidia.com/mig-1g.10gb": "56"}, type="p4de.24xlarge")
        assert cut == Partition(mig=Mig(layout={"1g.10gb": 7}))

    def test_mig_that_shows_nothing_is_declared_as_asked(self) -> None:
        cut, found = self.one({}, **A100, **{"nvidia.com/mig.config": "all-balanced"})
        assert cut == Partition(mig=Mig(layout={"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}))
        assert said(found, "no MIG instance is there; declared what the label mig.config=all-balanced asks for")
        cut, found = self.one({}, **A100, **{"nvidia.com/mig.config": "our-own"})
        assert cut == Partition(mig=Mig(layout="auto"))
        assert said(found, "is no layout we know")

    def test_gpus_that_are_not_cut_alike(self) -> None:
        cut, found = self.one({"nvidia.com/gpu": "4", "nvidia.com/mig-3g.40gb": "8"}, **A100)
        assert cut == Partition(mig=Mig(layout={"3g.40gb": 1}))
        cut, found = self.one({"nvidia.com/mig-1g.10gb": "30", "nvidia.com/mig-7g.80gb": "8"}, **A100)
        assert said(found, "are not cut alike")

    def test_time_slicing_that_kept_the_name(self) -> None:
        labels = {"product": "NVIDIA-L4-SHARED", "gpus": "1", "nvidia.com/gpu.replicas": "4"}
        cut, _ = self.one({"nvidia.com/gpu": "4"}, **labels)
        assert cut.time_slicing == TimeSlicing(replicas=4, rename_by_default=False)

    def test_time_slicing_of_mig_instances(self) -> None:
        labels = {
            "nvidia.com/mig-1g.10gb.count": "56",
            "nvidia.com/mig-1g.10gb.replicas": "2",
            "nvidia.com/gpu.replicas": "0",
        }
        cut, _ = self.one({"nvidia.com/mig-1g.10gb.shared": "112"}, **A100, **labels)
        assert cut == Partition(mig=Mig(layout={"1g.10gb": 7}), time_slicing=TimeSlicing(replicas=2))

    def test_mps(self) -> None:
        labels = {"nvidia.com/gpu.replicas": "10", "nvidia.com/gpu.sharing-strategy": "mps"}
        cut, _ = self.one({"nvidia.com/gpu.shared": "80"}, **H100, **labels)
        assert cut == Partition(mps=Mps(replicas=10))
        cut, found = self.one({"nvidia.com/gpu.shared": "800"}, **H100, **{**labels, "nvidia.com/gpu.replicas": "100"})
        assert cut == Partition(mps=Mps(replicas=48))
        assert said(found, "each GPU is shared among 100; declared 48")

    def test_gke(self) -> None:
        labels = {
            "cloud.google.com/gke-nodepool": "p",
            "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
            "cloud.google.com/gke-max-shared-clients-per-gpu": "8",
            "type": "g2-standard-8",
        }
        cut, found = self.one({"nvidia.com/gpu": "8"}, **labels)
        assert cut.time_slicing is not None
        assert (cut.time_slicing.replicas, cut.time_slicing.rename_by_default) == (8, False)
        assert found.platform.cluster.provider == "gke"
        cut, _ = self.one(
            {"nvidia.com/gpu": "7"}, type="a2-highgpu-1g", **{"cloud.google.com/gke-gpu-partition-size": "1g.5gb"}
        )
        assert cut == Partition(mig=Mig(layout={"1g.5gb": 7}, strategy="single"))

    def test_the_device_plugins_file_says_what_labels_do_not(self) -> None:
        policy = {
            "apiVersion": "nvidia.com/v1",
            "kind": "ClusterPolicy",
            "metadata": {"name": "p"},
            "spec": {"devicePlugin": {"config": {"name": "c", "default": "four"}}},
            "status": {"namespace": "g"},
        }
        file = "sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "g"},
            "data": {"four": file, "bad": "{"},
        }
        cut, _ = self.one({}, policy, config, product="NVIDIA-L4", gpus="1")
        slicing = TimeSlicing(replicas=4, rename_by_default=True, fail_requests_greater_than_one=False)
        assert cut == Partition(time_slicing=slicing)


class TestCluster:
    @pytest.mark.parametrize(
        ("labels", "provider_id", "provider", "guessed"),
        [
            ({"eks.amazonaws.com/nodegroup": "g"}, "aws:///a/i-1", "eks", False),
            ({"node.openshift.io/os_id": "rhel"}, "aws:///a/i-1", "openshift", False),
            ({"kubernetes.azure.com/agentpool": "g"}, "azure:///x", "aks", False),
            ({}, "gce://p/z/n", "gke", True),
            ({"type": "p5.48xlarge"}, "", "eks", True),
            ({}, "", "generic", False),
        ],
    )
    def test_provider(self, labels: dict[str, str], provider_id: str, provider: str, guessed: bool) -> None:
        one = node("a", {"nvidia.com/gpu": "8"}, **H100, **labels)
        one["spec"] = {"providerID": provider_id}
        found = declared(one)
        assert found.platform.cluster.provider == provider
        assert found.platform.cluster.kubernetes == "1.34"
        assert said(found, "the provider is taken for") is guessed

    def test_who_manages_the_driver(self) -> None:
        driver = {"nvidia.com/cuda.driver-version.full": "550.54.15"}
        host = declared(
            node("a", {}, **H100, **driver, **{"nvidia.com/gpu.deploy.driver": "pre-installed"})
        ).platform.operator.driver
        assert (host.managed_by, host.version) == ("host", "550.54.15")
        spec = {
            "driver": {
                "enabled": True,
                "version": "570.148.08",
                "kernelModuleType": "open",
                "upgradePolicy": {"maxUnavailable": "25%", "drain": {"timeoutSeconds": 90}},
            }
        }
        policy: Obj = {
            "apiVersion": "nvidia.com/v1",
            "kind": "ClusterPolicy",
            "metadata": {"name": "p"},
            "spec": spec,
            "status": {"namespace": "nv"},
        }
        operator = declared(node("a", {}, **H100, **driver), policy).platform.operator
        assert (operator.driver.managed_by, operator.driver.version, operator.driver.kernel_module) == (
            "operator",
            "570.148.08",
            "open",
        )
        assert (operator.namespace, operator.upgrades.max_unavailable, operator.upgrades.drain.timeout) == (
            "nv",
            "25%",
            90_000,
        )
        spec["driver"] = {"enabled": False}
        cloud = declared(
            node("a", {}, **H100, **driver, **{"cloud.google.com/gke-nodepool": "p"}), policy
        ).platform.operator.driver
        assert (cloud.managed_by, cloud.version) == ("cloud", "550.54.15")

    def test_security_is_the_weakest_level_of_teams(self) -> None:
        spaces = [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}},
            }
            for name, level in (("a", "restricted"), ("b", "baseline"), ("kube-system", "privileged"))
        ]
        found = declared(*hundred("x"), *spaces, pod("p", "a", "x"), pod("q", "b", "x"))
        assert found.platform.security.pod_security == "baseline"


def test_what_was_not_read_is_not_said_to_be_absent() -> None:
    found = declared(*hundred("a"), partial=True)
    for what in ("the GPU Operator was not read (ClusterPolicy: ", "the ClusterQueues were not read (ClusterQueue: ",
                 "the address of Prometheus was not read", "who uses the 1 GPU nodes was not read"):  # fmt: skip
        assert said(found, what), found.guesses
    assert not [guess for guess in found.guesses if guess.startswith(("no GPU Op", "no ClusterQ", "no Prom", "nobody"))]
    whole = declared(*hundred("a"))
    assert said(whole, "no GPU Operator was found")
    assert not said(whole, "not read (")


@pytest.mark.parametrize(
    ("form", "place", "region", "name"),
    [
        ("live", "prod", "", "prod"),
        ("live", "arn:aws:eks:us-east-1:123456789012:cluster/Prod_GPU", "", "prod-gpu"),
        ("live", "gke_my-project_europe-west4_train", "", "train"),
        ("live", "anonymized", "eu-1", "eu-1"),
        ("list", "nodes.json", "eu-1", "eu-1"),
        ("list", "nodes.json", "", "platform"),
    ],
)
def test_a_platform_is_called_after_its_context_or_its_place(form: str, place: str, region: str, name: str) -> None:
    where = {"topology.kubernetes.io/region": region} if region else {}
    nodes = [node("a", {"nvidia.com/gpu": "8"}, **H100, **where)]
    found = declare(Snapshot(nodes, source=Source(form, place), taken_at=None, coverage={}))
    assert found.platform.metadata.name == name
    assert said(found, f"the platform is called {name}: `plimsoll init --name`")
    assert not said(declare(Snapshot(nodes, source=Source(form, place), taken_at=None, coverage={}), "x"), "is called")


@pytest.mark.parametrize(
    ("resources", "pods", "written"),
    [
        ([{"requests": {"cpu": "8", "memory": "64Gi"}}], 1, ("8", "64Gi")),
        ([{"requests": {"cpu": "1500m", "memory": "1Gi"}}, {"limits": {"cpu": 1, "memory": "512Mi"}}], 1,
         ("2500m", "1536Mi")),
        ([{"requests": {"cpu": "4", "memory": "1e3"}}], 2, ("8", "2000")),
        ([{}], 1, (None, None)),
        ([{"requests": {"cpu": "lots", "memory": -5}}], 1, (None, None)),
        ([{"requests": {"cpu": "1E", "memory": "99E"}}], 1, (None, None)),
    ],
)  # fmt: skip
def test_what_a_replica_requests(resources: list[Obj], pods: int, written: tuple[str | None, str | None]) -> None:
    template = {"spec": {"containers": [{"name": "c", "resources": each} for each in resources]}}
    assert (requested(template, "cpu", pods), requested(template, "memory", pods)) == written
