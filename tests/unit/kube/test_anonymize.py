"""Nothing of the owner's is left, and the verdict is the same."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from plimsoll.check.run import review
from plimsoll.kube import kinds
from plimsoll.kube.anonymize import anonymized
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.pillars import all_checks
from tests import recorded, world

ROOT = Path(__file__).parents[3]
LAB = sorted((ROOT / "examples" / "lab").glob("*.json.gz"))
# Two fixtures speak through the likeness of two names (`mian` for `main`), which pseudonyms do not have.
LIKENESS = {"Q17/fail.yaml", "Q17/fail-hurt.yaml"}
FIXTURES = sorted(
    path
    for path in (ROOT / "tests" / "checks").glob("*/fail*.yaml")
    if f"{path.parent.name}/{path.name}" not in LIKENESS
)
SALT = b"salt of the test"
OWN = re.compile(
    r"(?<![a-z0-9])(chat|team-[ab]|h100(-\d)?|a100-mig(-0)?|cpu-[01]|l4-(\d|shared)|train-\d|rank-\d|dev-l4"
    r"|notebook-mig|registry\.example\.com)(?![a-z0-9])"
)


def verdicts(snapshot: Snapshot, only: str = "") -> list[tuple[str, str, str, bool]]:
    answer = review(snapshot, [each for each in all_checks() if only in ("", each.id)])
    assert not answer.broken
    return sorted(
        (each.check.id, str(each.severity), each.verdict.value, each.root_cause) for each in answer.judgements
    )


def encoded(snapshot: Snapshot) -> str:
    return json.dumps([list(snapshot), snapshot.source, [each.reason for each in snapshot.unread]])


def whole(*objects: Obj) -> Snapshot:
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    return Snapshot(objects, source=Source("live", "acme-prod"), taken_at=None, coverage=coverage)


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.name)
def test_a_recording_without_its_names_has_the_same_verdict(path: Path) -> None:
    before = recorded.load(path)
    for salt in (None, SALT):
        after = anonymized(before, salt)
        assert verdicts(after) == verdicts(before)
        found = OWN.search(encoded(after))
        assert not found, encoded(after)[found.start() - 60 : found.end() + 60]
        assert after.taken_at == before.taken_at
        assert after.counts() == before.counts()


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_fault_is_found_under_other_names(path: Path) -> None:
    before, own = world.snapshot(world.load(path)), path.parent.name
    assert verdicts(anonymized(before, SALT), own) == verdicts(before, own)


def test_one_salt_agrees_and_no_salt_does_not() -> None:
    snapshot = recorded.load(LAB[0])
    assert encoded(anonymized(snapshot, SALT)) == encoded(anonymized(snapshot, SALT))
    assert encoded(anonymized(snapshot)) != encoded(anonymized(snapshot))


def pod(**fields: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fraud-6f7d-x2", "namespace": "risk-dept"}} | fields


def test_identities_of_every_form_go() -> None:
    node = {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "ip-10-1-2-3.acme.internal", "uid": "1e29ea46-d48f-470e-9beb-6bee3e8d5942",
                     "labels": {"kubernetes.io/hostname": "ip-10-1-2-3", "eks.amazonaws.com/nodegroup": "riskpool",
                                "acme.io/owner": "jdoe", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
                                "topology.kubernetes.io/zone": "us-east-1a", "spare": "true"}},
        "spec": {"providerID": "aws:///us-east-1a/i-0abcdef1234567890", "taints": [{"key": "own", "value": "hedge"}]},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.1.2.3"},
                                 {"type": "InternalDNS", "address": "ip-10-1-2-3.ec2.internal"}],
                   "nodeInfo": {"machineID": "ec2f6a5b0d1e", "systemUUID": "EC2F6A5B"},
                   "images": [{"names": ["cr.acme.io/quant/pricer:7"]}]},
    }  # fmt: skip
    tenant = pod(
        spec={"nodeName": "ip-10-1-2-3.acme.internal", "containers": [{
            "name": "scorer", "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/scoring/fraudnet-vllm:v1.2",
            "env": [{"name": "URL", "value": "https://api.acme.io/x"}, {"name": "B", "value": "s3://acme-bucket/m"},
                    {"name": "MAIL", "value": "jane.doe@acme.io"}, {"name": "IP6", "value": "2001:db8::17"},
                    {"name": "ROLE", "value": "arn:aws:iam::210987654321:role/x"}]}]},
        status={"podIP": "10.1.9.9",
                "message": "fraud-6f7d-x2 on ip-10-1-2-3: GPU-1e29ea46-d48f-470e-9beb-6bee3e8d5942"},
    )  # fmt: skip
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fraud", "namespace": "risk-dept"}}
    binding = {
        "kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "b", "namespace": "kube-system"},
        "subjects": [{"kind": "User", "name": "mallory"}, {"kind": "Group", "name": "system:masters"},
                     {"kind": "ServiceAccount", "name": "x", "namespace": "risk-dept"}],
    }  # fmt: skip
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "risk-dept"}}
    stray = pod(metadata={"name": "scratchpad", "namespace": "default"})
    text = encoded(anonymized(whole(node, tenant, owner, binding, space, stray), SALT))
    for gone in ("10-1-2-3", "acme.internal", "10.1.2.3", "10.1.9.9", "riskpool", "jdoe", "i-0abcdef", "hedge",
                 "ec2f6a5b", "EC2F6A5B", "cr.acme.io", "quant", "pricer", "fraud", "risk-dept", "scorer", "scoring",
                 "123456789012", "api.acme.io", "acme-bucket", "jane", "2001:db8", "210987654321", "mallory",
                 "1e29ea46", "acme-prod", "scratchpad"):  # fmt: skip
        assert gone not in text, gone
    for kept in ("NVIDIA-H100-80GB-HBM3", "us-east-1a", "eks.amazonaws.com/nodegroup", "vllm:v1.2", "system:masters",
                 "aws:///", '"default"', '"spare": "true"', "kube-system"):  # fmt: skip
        assert kept in text, kept


def test_both_sides_of_a_reference_agree() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scores", "namespace": "risk-dept"},
               "spec": {"selector": {"tier": "hot"}, "clusterIP": "10.9.9.9"}}  # fmt: skip
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tuning", "namespace": "risk-dept"},
                "data": {"tuning.yaml": "peer: scores.risk-dept.svc 10.9.9.9"}}  # fmt: skip
    source = {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "tuning", "key": "tuning.yaml"}}}
    tenant = pod(
        metadata={
            "name": "scores-0",
            "namespace": "risk-dept",
            "labels": {"tier": "hot"},
            "ownerReferences": [{"kind": "StatefulSet", "name": "scores"}],
        },
        spec={"containers": [{"name": "main", "env": [source]}]},
    )
    after = anonymized(whole(service, settings, tenant), SALT)
    (seen,), (config,), (runs,) = after.list(kinds.SERVICE), after.list(kinds.CONFIG_MAP), after.list(kinds.POD)
    title, space = seen["metadata"]["name"], seen["metadata"]["namespace"]
    assert title != "scores"
    assert runs["metadata"]["name"] == f"{title}-0"
    assert runs["metadata"]["labels"] == seen["spec"]["selector"]
    ref = runs["spec"]["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]
    assert ref["name"] == config["metadata"]["name"]
    assert config["data"] == {ref["key"]: f"peer: {title}.{space}.svc {seen['spec']['clusterIP']}"}


def test_networks_stay_networks_and_public_addresses_of_infrastructure_stay() -> None:
    blocks = ["10.20.0.0/16", "0.0.0.0/0", "169.254.169.254/32", "2001:db8:1::/48", "1.2.3"]
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
              "metadata": {"name": "p", "namespace": "risk-dept"}, "spec": {"blocks": blocks}}  # fmt: skip
    (after,) = anonymized(whole(policy), SALT).list(kinds.NETWORK_POLICY)
    first, everything, metadata, sixth, version = after["spec"]["blocks"]
    assert re.fullmatch(r"10\.\d+\.0\.0/16", first)
    assert first != blocks[0]
    assert (everything, metadata, version) == ("0.0.0.0/0", "169.254.169.254/32", "1.2.3")
    assert sixth.endswith("/48")
    assert "db8" not in sixth


def test_hostile_shapes_and_what_could_not_be_read() -> None:
    odd: list[Obj] = [
        {"apiVersion": "v1", "kind": "Node", "metadata": "x", "status": {"images": [{"names": 5}, 3]}, "spec": []},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": [1], "namespace": "acme"}, "spec": {5: "x"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": 7}, "spec": {"values": 1, "image": ["a"]}},
    ]
    before = Snapshot(
        odd,
        source=Source("live", "acme"),
        taken_at=None,
        coverage={kinds.POD: Coverage.PARTIAL},
        unread=[Unread(kinds.SECRET, "forbidden in 10.3.4.5")],
    )
    after = anonymized(before)
    assert len(after) == 3
    assert after.coverage(kinds.POD) is Coverage.PARTIAL
    assert "10.3.4.5" not in after.why_unread(kinds.SECRET)


def test_the_input_is_left_alone() -> None:
    items = json.loads(gzip.decompress(LAB[0].read_bytes()))["items"]
    before = json.dumps(items)
    anonymized(recorded.whole(items))
    assert json.dumps(items) == before
