"""Every form of input, in the layout its tool writes, and what it may promise."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from plimsoll.check.model import Severity, Verdict
from plimsoll.check.run import Review, review
from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot
from plimsoll.kube.store import open_snapshot
from plimsoll.pillars import all_checks

LAB = Path(__file__).parents[3] / "examples" / "lab" / "healthy.json.gz"
REAL = Path(__file__).parents[4] / "shared" / "samples" / "real" / "objects"
ITEMS: list[Obj] = json.loads(gzip.decompress(LAB.read_bytes()))["items"]
# What kubectl writes for each namespace; its items carry neither kind nor version.
DUMPED = {
    "Event": ("v1", "events"), "ReplicationController": ("v1", "replication-controllers"), "Pod": ("v1", "pods"),
    "Service": ("v1", "services"), "DaemonSet": ("apps/v1", "daemonsets"), "Deployment": ("apps/v1", "deployments"),
    "ReplicaSet": ("apps/v1", "replicasets"),
}  # fmt: skip
CORE_EVERYWHERE = ("Namespace", "Node", "Pod", "Service", "ServiceAccount", "ConfigMap", "Role", "RoleBinding",
                   "ClusterRole", "ClusterRoleBinding", "APIService", "PriorityClass", "EndpointSlice", "FlowSchema",
                   "PriorityLevelConfiguration")  # fmt: skip


def of(kind: str, namespace: str | None = None) -> list[Obj]:
    return [
        obj for obj in ITEMS
        if obj["kind"] == kind and namespace in (None, obj["metadata"].get("namespace"))
    ]  # fmt: skip


def listed(*objects: Obj) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": list(objects)}).encode()


def put(root: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return root


def dump(namespaces: list[str]) -> dict[str, Any]:
    """A cluster-info dump of these namespaces, as files."""

    def typed(kind: str, version: str, objects: list[Obj]) -> str:
        bare = [{key: value for key, value in obj.items() if key not in ("kind", "apiVersion")} for obj in objects]
        return json.dumps(
            {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": bare}
        )

    files: dict[str, Any] = {"nodes.json": typed("Node", "v1", of("Node"))}
    for namespace in namespaces:
        for kind, (version, name) in DUMPED.items():
            files[f"{namespace}/{name}.json"] = typed(kind, version, of(kind, namespace))
        files[f"{namespace}/some-pod/logs.txt"] = "==== START logs for container x\n{ not: json\n"
    return files


def tar(root: Path, out: Path) -> Path:
    with tarfile.open(out, "w:gz" if out.suffix == ".tgz" else "w") as archive:
        archive.add(root, arcname="cluster-state")
    return out


def zipped(root: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root))
    return out


def coverages(snapshot: Snapshot) -> dict[str, str]:
    return {str(kind): snapshot.coverage(kind).value for kind in kinds.ALL
            if snapshot.coverage(kind) is not Coverage.UNREAD}  # fmt: skip


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gz", "zst"])
def test_a_list_of_everything_is_the_whole_cluster(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "named-as-you-like"
    path.write_bytes(pack(listed(*ITEMS)))
    snapshot = open_snapshot(path)
    assert snapshot.source.form == "list"
    assert snapshot.whole(*kinds.ALL)
    assert len(snapshot) == len(ITEMS)


@pytest.mark.parametrize("missing", CORE_EVERYWHERE)
def test_a_list_without_a_kind_that_every_cluster_has_is_not_the_whole(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(listed(*(obj for obj in ITEMS if obj["kind"] != missing)))
    snapshot = open_snapshot(path)
    assert missing not in kinds.BY_NAME or snapshot.coverage(kinds.BY_NAME[missing]) is Coverage.UNREAD
    assert snapshot.coverage(kinds.STATEFUL_SET) is Coverage.UNREAD  # the recording has none: now nobody knows


def test_secrets_that_a_whole_export_lacks_are_unread(tmp_path: Path) -> None:
    path = tmp_path / "all-but-secrets.json"
    path.write_bytes(listed(*(obj for obj in ITEMS if obj["kind"] != "Secret")))
    snapshot = open_snapshot(path)
    assert snapshot.coverage(kinds.SECRET) is Coverage.UNREAD
    assert snapshot.whole(*(kind for kind in kinds.ALL if kind != kinds.SECRET))


def cut(tmp_path: Path, *objects: Obj) -> dict[str, str]:
    path = tmp_path / "some.json"
    path.write_bytes(listed(*objects))
    return coverages(open_snapshot(path))


def test_the_kinds_of_a_list_across_namespaces_are_whole(tmp_path: Path) -> None:
    assert cut(tmp_path, *of("Pod"), *of("Node")) == {"Pod": "whole", "Node": "whole"}
    # One command has one flag for all its kinds, so a kind with objects in one namespace is whole as well.
    assert cut(tmp_path, *of("Pod"), *of("DaemonSet", "gpu-operator")) == {"Pod": "whole", "DaemonSet.apps": "whole"}


def test_a_list_that_may_be_chosen_is_an_excerpt(tmp_path: Path) -> None:
    pods, nodes = of("Pod"), of("Node")
    assert cut(tmp_path, *of("Pod", "gpu-operator"), *nodes) == {"Pod": "partial", "Node": "partial"}  # -n
    assert cut(tmp_path, *nodes) == {"Node": "partial"}  # by name, by label: nothing tells
    some = [pod for pod in pods if pod["spec"]["nodeName"] == "h100-0"]
    assert len({pod["metadata"]["namespace"] for pod in some}) > 1
    assert cut(tmp_path, *some) == {"Pod": "partial"}  # --field-selector spec.nodeName=h100-0
    waiting = [{**pod, "status": {"phase": "Pending"}} for pod in pods]
    assert cut(tmp_path, *waiting) == {"Pod": "partial"}  # --field-selector status.phase=Pending
    labelled = [{**pod, "metadata": {**pod["metadata"], "labels": {"team": "a", "x": str(number)}}}
                for number, pod in enumerate(pods)]  # fmt: skip
    assert cut(tmp_path, *labelled, *nodes) == {"Pod": "partial", "Node": "partial"}  # -l team


def test_lists_in_a_list_and_arrays_are_unfolded_as_excerpts(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "List", "items": of("Node")},
        {"apiVersion": "v1", "kind": "PodList",
         "items": [{"metadata": pod["metadata"], "spec": pod["spec"]} for pod in of("Pod")]},
    ]}))  # fmt: skip
    snapshot = open_snapshot(path)
    assert snapshot.counts() == {"Node": len(of("Node")), "Pod": len(of("Pod"))}
    assert coverages(snapshot) == {"Pod": "partial", "Node": "partial"}
    path.write_text(json.dumps(of("Node") + of("Pod")))
    assert coverages(open_snapshot(path)) == {"Pod": "partial", "Node": "partial"}


def test_one_object_and_manifests_are_excerpts(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(json.dumps(of("Node")[0]).encode())
    assert coverages(open_snapshot(path)) == {"Node": "partial"}
    path.write_text(yaml.safe_dump_all(of("Node")[:2] + of("Pod")[:2]))
    snapshot = open_snapshot(path)
    assert coverages(snapshot) == {"Node": "partial", "Pod": "partial"}
    assert snapshot.source.form == "manifest"
    assert snapshot.counts() == {"Node": 2, "Pod": 2}


def test_yaml_says_what_json_says(tmp_path: Path) -> None:
    as_yaml, as_json = tmp_path / "a", tmp_path / "b"
    as_yaml.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": of("Node")}))
    as_json.write_bytes(listed(*of("Node")))
    first, second = open_snapshot(as_yaml), open_snapshot(as_json)
    assert first.list(kinds.NODE) == second.list(kinds.NODE)
    assert (first.taken_at, coverages(first)) == (second.taken_at, coverages(second))


def test_unquoted_times_of_a_manifest_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("apiVersion: v1\nkind: Node\nmetadata: {name: a, creationTimestamp: 2026-01-02T03:04:05Z}\n")
    snapshot = open_snapshot(path)
    assert snapshot.list(kinds.NODE)[0]["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert str(snapshot.taken_at) == "2026-01-02 03:04:05+00:00"
    assert snapshot.source.taken_at_is == "inferred"


def test_what_lies_ahead_does_not_date_a_file(tmp_path: Path) -> None:
    node = {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z",
                         "deletionTimestamp": "2026-06-01T00:00:00Z"},
            "status": {"notAfter": "2036-01-01T00:00:00Z"}}  # fmt: skip
    path = tmp_path / "node.json"
    path.write_text(json.dumps(node))
    assert str(open_snapshot(path).taken_at) == "2026-01-02 03:04:05+00:00"


HOMES = ["default", "gpu-operator", "keda", "kube-node-lease", "kube-public", "kube-system", "team-a", "team-b"]


@pytest.mark.parametrize("pack", ["folder", "tar", "tgz", "zip"])
def test_a_dump_of_all_namespaces(tmp_path: Path, pack: str) -> None:
    root = put(tmp_path / "dump", dump(HOMES))
    path = {"folder": root, "zip": tmp_path / "d.zip"}.get(pack, tmp_path / f"d.{pack}")
    if pack == "zip":
        zipped(root, path)
    elif pack != "folder":
        tar(root, path)
    snapshot = open_snapshot(path)
    assert snapshot.source.form == "cluster-info dump"
    whole = {kinds.NODE, kinds.POD, kinds.EVENT, kinds.SERVICE, kinds.DAEMON_SET, kinds.DEPLOYMENT, kinds.REPLICA_SET}
    assert coverages(snapshot) == {str(kind): "whole" for kind in whole}
    assert snapshot.counts()["Pod"] == len([pod for pod in of("Pod") if pod["metadata"]["namespace"] in HOMES])
    assert {pod["kind"] for pod in snapshot.list(kinds.POD)} == {"Pod"}


def test_a_dump_of_some_namespaces(tmp_path: Path) -> None:
    snapshot = open_snapshot(put(tmp_path / "dump", dump(["kube-system", "gpu-operator"])))
    assert snapshot.coverage(kinds.NODE) is Coverage.WHOLE
    assert snapshot.coverage(kinds.POD) is Coverage.PARTIAL
    assert snapshot.coverage(kinds.CONFIG_MAP) is Coverage.UNREAD


def test_a_dump_as_yaml_and_one_that_broke_off(tmp_path: Path) -> None:
    root = put(tmp_path / "dump", dump(HOMES))
    (root / "team-b" / "pods.json").unlink()
    assert open_snapshot(root).coverage(kinds.POD) is Coverage.PARTIAL
    lists = {name: text for name, text in dump(HOMES).items() if name.endswith(".json")}
    as_yaml = {f"state/{name[:-5]}.yaml": json.loads(text) for name, text in lists.items()}
    snapshot = open_snapshot(put(tmp_path / "yaml", as_yaml))
    assert snapshot.source.form == "cluster-info dump"
    assert snapshot.whole(kinds.POD, kinds.NODE, kinds.EVENT)


def test_a_dump_to_the_screen_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    files = dump(["kube-system", "default"])
    path.write_text("\n".join(files.values()))
    with pytest.raises(InputError, match="logs between its objects") as caught:
        open_snapshot(path)
    assert caught.value.hint


def test_a_folder_of_single_lists_promises_nothing(tmp_path: Path) -> None:
    """kubectl get nodes -l gpu -o json > nodes.json, and so on: nothing tells how each was taken."""
    root = put(tmp_path / "got", {"nodes.json": listed(*of("Node")).decode(), "pods.json": listed(*of("Pod")).decode()})
    snapshot = open_snapshot(root)
    assert snapshot.source.form == "manifest"
    assert coverages(snapshot) == {"Pod": "partial", "Node": "partial"}


def test_a_must_gather_of_the_gpu_operator(tmp_path: Path) -> None:
    """One flat folder: YAML, listings, descriptions, logs. Source: gpu-operator hack/must-gather.sh."""
    pods = {"apiVersion": "v1", "kind": "List", "items": of("Pod", "gpu-operator")}
    sets = {"apiVersion": "v1", "kind": "List", "items": of("DaemonSet", "gpu-operator")}
    root = put(tmp_path / "gather", {
        "cluster_policy.yaml": of("ClusterPolicy")[0], "gpu_operand_pods.yaml": pods, "gpu_operand_ds.yaml": sets,
        "gpu_nodes.status": "NAME STATUS\n", "gpu_nodes.descr": "Name: x\n  y\n", "must-gather.log": "+ kubectl\n",
        "gpu_operator_pod.yaml": "", "hyperconverged.yaml": "error: the server doesn't have a resource type\n",
        "version": "NVIDIA GPU Operator\n",
    })  # fmt: skip
    snapshot = open_snapshot(root)
    assert snapshot.source.form == "must-gather"
    assert coverages(snapshot)["Pod"] == coverages(snapshot)["DaemonSet.apps"] == "partial"
    assert snapshot.coverage(kinds.NODE) is Coverage.UNREAD
    assert snapshot.counts()["Pod"] == len(of("Pod", "gpu-operator"))
    assert len(snapshot.list(kinds.CLUSTER_POLICY)) == 1


def test_a_must_gather_of_openshift(tmp_path: Path) -> None:
    """Objects by scope, group and plural, among files of other tools."""
    files: dict[str, Any] = {
        f"quay-io-x/cluster-scoped-resources/core/nodes/{node['metadata']['name']}.yaml": node for node in of("Node")
    }
    by_namespace: dict[str, list[Obj]] = defaultdict(list)
    for pod in of("Pod"):
        by_namespace[pod["metadata"]["namespace"]].append(pod)
    for namespace, pods in by_namespace.items():
        files[f"quay-io-x/namespaces/{namespace}/core/pods.yaml"] = {"apiVersion": "v1", "kind": "PodList",
                                                                    "items": pods}  # fmt: skip
    files |= {
        "quay-io-x/etcd_info/endpoint_health.json": '[{"endpoint":"x","health":true}]',
        "quay-io-x/monitoring/prometheus/rules.json": '{"status":"success","data":{"groups":[]}}',
        "quay-io-x/namespaces/a/pods/b/c/logs/current.log": "2026-01-01 {",
        "event-filter.html": "<html>", "timestamp": "2026-11-24",
    }  # fmt: skip
    snapshot = open_snapshot(put(tmp_path / "gather", files))
    assert snapshot.counts() == {"Node": len(of("Node")), "Pod": len(of("Pod"))}
    assert snapshot.coverage(kinds.POD) is Coverage.PARTIAL


def test_links_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", {"pod.yaml": of("Pod")[0]})
    root = put(tmp_path / "root", {"node.yaml": of("Node")[0]})
    (root / "linked").symlink_to(outside)
    (root / "pod.yaml").symlink_to(outside / "pod.yaml")
    (root / "loop").symlink_to(root)
    assert open_snapshot(root).counts() == {"Node": 1}


def test_what_an_archive_must_not_hold(tmp_path: Path) -> None:
    content = json.dumps(of("Node")[0]).encode()
    for name in ("../up.json", "/etc/up.json", "a/../../up.json"):
        path = tmp_path / "evil.tar"
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        with pytest.raises(InputError, match="outside"):
            open_snapshot(path)


# What becomes of each real file of other clusters: what it says when it is refused, else the faults that are true.
REAL_REFUSED = {
    "aicr_eks_h100_gpu-operator_listing.txt": "holds a text, not a Kubernetes object",
    "aicr_snapshot_gb200.yaml": "holds Snapshot (aicr.nvidia.com/v1alpha1), and nothing that Plimsoll judges",
    "aicr_snapshot_h100.yaml": "holds Snapshot (aicr.nvidia.com/v1alpha1), and nothing that Plimsoll judges",
    "cncf_kops_vllm_hpa_describe.txt": "not YAML: mapping values are not allowed in this context",
    "cncf_vks135_vgpu_node-labels_x4.json": "not a Kubernetes object: it has no apiVersion",
    "nvdocs_mig-mixed_node-labels.json": "not a Kubernetes object: it has no apiVersion",
    "nvdocs_time-slicing_events.txt": "holds a text, not a Kubernetes object",
}
REAL_JUDGED: dict[str, list[str]] = {  # all of them healthy or without what would show a fault
    "aicr_eks_h100_resourceslices.yaml": [],
    "cncf_vks135_vgpu_resourceslices.yaml": [],
    "node_gcp_a100-40_mig-mixed_3-instances_runai.yaml": [],
    "node_gcp_a100-40_mig-mixed_7g40gb_runai.yaml": [],
    "node_runai_fraction_1-workload.yaml": [],
    "pod_runai_2.17_fractional.yaml": [],
    "pod_runai_2.17_fractional_reservation.yaml": [],
    "pod_runai_mig_1g5gb.yaml": [],
}


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/samples/real/objects beside this checkout; CI has it")
def test_the_real_files_are_the_ones_listed_here() -> None:
    assert sorted(path.name for path in REAL.iterdir()) == sorted([*REAL_REFUSED, *REAL_JUDGED])


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/samples/real/objects beside this checkout; CI has it")
@pytest.mark.parametrize("name", REAL_REFUSED)
def test_a_real_file_without_objects_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_snapshot(REAL / name)
    assert caught.value.what == REAL_REFUSED[name]
    assert caught.value.where.startswith(str(REAL / name))
    assert caught.value.hint


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/samples/real/objects beside this checkout; CI has it")
@pytest.mark.parametrize("name", REAL_JUDGED)
def test_a_real_file_is_judged_by_what_is_in_it(name: str) -> None:
    snapshot = open_snapshot(REAL / name)
    assert set(coverages(snapshot).values()) == {"partial"}
    assert snapshot.taken_at
    answer = review(snapshot, all_checks())
    assert answer.broken == ()
    found = [f"{each.check.id} {each.finding.object}" for each in answer.failures if each.severity > Severity.INFO]
    assert found == REAL_JUDGED[name]
    assert Verdict.UNKNOWN in answer.verdicts.values()


def faults(answer: Review) -> set[tuple[str, str]]:
    """Checks with what they say, but for numbers: pods count one by one where their Job was not read."""
    return {(each.check.id, re.sub(r"\d+", "#", each.finding.title)) for each in answer.failures}


def test_what_an_excerpt_lacks_is_no_fault(tmp_path: Path) -> None:
    """Single objects, kinds and sets of kinds of the healthy recording: whatever is found, the whole shows it too."""
    path = tmp_path / "excerpt.json"
    path.write_bytes(listed(*ITEMS))
    whole = faults(review(open_snapshot(path), all_checks()))
    names = sorted({obj["kind"] for obj in ITEMS})
    rng = random.Random(1)
    excerpts = [[obj] for obj in ITEMS[::7]] + [of(kind) for kind in names]
    excerpts += [[obj for kind in rng.sample(names, rng.randrange(2, 14)) for obj in of(kind)] for _ in range(60)]
    for number, objects in enumerate(excerpts):
        # As a List they may be whole of their kinds, as an array they are not.
        path.write_bytes(listed(*objects) if number % 3 else json.dumps(objects).encode())
        try:
            answer = review(open_snapshot(path), all_checks())
        except InputError:
            continue  # a kind that no check reads
        found = faults(answer)
        assert found <= whole, (found - whole, sorted({obj["kind"] for obj in objects}))
        assert answer.broken == ()
