"""What pillar security renders. Whether its policies let the right pods through is asked in tests/lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.kube.objects import Obj, Ref, get, labels, name, namespace
from plimsoll.pillars.security.render import render
from plimsoll.pillars.security.render_cel import texts
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.model import Platform

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/platform.yaml"))
POOL = {"name": "p", "gpu": "L40S", "gpusPerNode": 4, "nodes": {"min": 2, "max": 2}}
PSS = "pod-security.kubernetes.io"


def platform(**more: Any) -> Platform:
    return from_mapping(
        {"pools": [POOL], "teams": [{"name": "a", "namespaces": ["x", "y"], "quota": {"p": 8}}], **more}
    )


def kinds(declared: Platform, kind: str, space: str = "") -> dict[str, Obj]:
    """Objects of a kind by name."""
    return {
        name(each): each for each in render(declared).objects
        if each["kind"] == kind and (not space or namespace(each) == space)
    }  # fmt: skip


def expressions(declared: Platform, policy: str) -> list[str]:
    made = kinds(declared, "ValidatingAdmissionPolicy")[policy]
    return [each["expression"] for each in get(made, "spec", "validations")]


def service(**more: Any) -> Obj:
    return {"name": "s", "team": "a", "model": "m", "pool": "p", **more}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_render_the_same_each_time(path: Path) -> None:
    declared = load(path.read_bytes(), str(path))
    once = render(declared)
    assert once == render(declared)
    refs = [Ref.of(each) for each in once.objects]
    assert len(set(refs)) == len(refs)
    policies, bindings = (kinds(declared, f"ValidatingAdmissionPolicy{which}") for which in ("", "Binding"))
    assert policies.keys() == bindings.keys()
    for each in policies.values():
        assert each["metadata"]["annotations"]["plimsoll.dev/owner"] == declared.security.review.owner
        assert each["metadata"]["annotations"]["plimsoll.dev/review-every"] == str(declared.security.review.every)


@pytest.mark.parametrize(("kubernetes", "version"), [("1.36", "v1.36"), ("v1.34.2", "v1.34"), (None, "latest")])
def test_namespaces_enforce_what_is_declared(kubernetes: str | None, version: str) -> None:
    cluster = {"kubernetes": kubernetes} if kubernetes else {}
    spaces = kinds(platform(cluster=cluster, security={"podSecurity": "baseline"}), "Namespace")
    assert set(spaces) == {"x", "y", "plimsoll-system"}
    assert labels(spaces["x"]) == {
        "plimsoll.dev/team": "a",
        f"{PSS}/enforce": "baseline",
        f"{PSS}/enforce-version": version,
        f"{PSS}/audit": "baseline",
        f"{PSS}/warn": "baseline",
    }
    assert labels(spaces["plimsoll-system"])[f"{PSS}/enforce"] == "restricted"
    assert "plimsoll.dev/team" not in labels(spaces["plimsoll-system"])


def test_a_team_writes_no_quota_queue_or_right() -> None:
    made = kinds(platform(), "ClusterRole")
    guarded = {"resourcequotas", "limitranges", "namespaces", "localqueues", "workloads", "daemonsets", "events"}
    for rule in made["plimsoll-team"]["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]
        if guarded & set(rule["resources"]):
            assert rule["verbs"] == ["get", "list", "watch"]
        assert not {"impersonate", "escalate", "bind"} & set(rule["verbs"])
        assert not [each for each in rule["resources"] if each in ("pods/exec", "pods/ephemeralcontainers")]
        assert "serviceaccounts/token" not in rule["resources"]


def test_who_works_looks_and_opens_shells_where() -> None:
    declared = platform(services=[service(namespace="y")])
    x, y = (kinds(declared, "RoleBinding", space) for space in "xy")
    assert {title: each["subjects"][0]["name"] for title, each in x.items()} == {
        "team": "a",
        "viewers": "a-viewers",
        "team-shell": "a",
    }
    assert set(y) == {"team", "viewers"}
    [note] = [each for each in render(declared).notes if "shell" in each]
    assert "kubectl -n y create rolebinding break-glass" in note
    accounts = kinds(declared, "ServiceAccount", "x")
    assert set(accounts) == {"default", "trainer"}
    assert not any(each["automountServiceAccountToken"] for each in accounts.values())


def test_a_network_that_is_open_has_no_walls() -> None:
    closed = kinds(platform(), "NetworkPolicy", "x")
    assert set(closed) == {"default-deny", "names", "ranks"}
    assert closed["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    opened = platform(security={"network": "open"})
    assert not kinds(opened, "NetworkPolicy")
    assert not {"services-stay-inside", "network-stays-closed"} & set(kinds(opened, "ValidatingAdmissionPolicy"))


@pytest.mark.parametrize(
    ("provider", "identity", "storage", "addresses"),
    [
        ("eks", "cloud", "s3://b", ["0.0.0.0/0", "169.254.170.23/32"]),
        ("gke", "cloud", "gs://b", ["0.0.0.0/0", "169.254.169.252/32", "169.254.169.254/32"]),
        ("aks", "cloud", "az://b", ["0.0.0.0/0"]),
        ("eks", "none", "s3://b", ["0.0.0.0/0"]),
        ("eks", "cloud", "pvc://claim", None),
        ("eks", "cloud", "", None),
    ],
)
def test_the_way_to_the_store(provider: str, identity: str, storage: str, addresses: list[str] | None) -> None:
    declared = platform(
        cluster={"provider": provider}, security={"identity": identity}, spot={"checkpoint": {"storage": storage}}
    )
    made = kinds(declared, "NetworkPolicy", "x").get("object-store")
    rules = get(made, "spec", "egress") if made else None
    seen = [peer["ipBlock"]["cidr"] for rule in rules for peer in rule["to"]] if rules else None
    assert seen == addresses
    if rules:
        assert "169.254.0.0/16" in rules[0]["to"][0]["ipBlock"]["except"]


@pytest.mark.parametrize(
    ("provider", "identity", "says"),
    [
        ("eks", "cloud", "aws eks create-pod-identity-association --cluster-name CLUSTER --namespace x "
         "--service-account trainer --role-arn ROLE"),
        ("gke", "cloud", "gcloud storage buckets add-iam-policy-binding s3://bucket --role=roles/storage.objectUser "
         "--member=principal://iam.googleapis.com/projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/"
         "PROJECT_ID.svc.id.goog/subject/ns/x/sa/trainer"),
        ("aks", "cloud", "--subject system:serviceaccount:x:trainer"),
        ("generic", "cloud", "system:serviceaccount:x:trainer"),
        ("eks", "spiffe", "csi.spiffe.io"),
    ],
)  # fmt: skip
def test_what_is_left_to_do_for_an_identity(provider: str, identity: str, says: str) -> None:
    store = {"checkpoint": {"storage": "s3://bucket/folder"}}
    notes = render(platform(cluster={"provider": provider}, security={"identity": identity}, spot=store)).notes
    assert [note for note in notes if says in note]
    none = render(platform(cluster={"provider": provider}, security={"identity": "none"}, spot=store)).notes
    assert not [note for note in none if "trainer" in note or "spiffe" in note]


def test_no_account_is_made_up() -> None:
    for provider in ("eks", "gke", "aks", "openshift", "generic"):
        part = render(platform(cluster={"provider": provider}, spot={"checkpoint": {"storage": "s3://bucket"}}))
        assert "arn:aws" not in str(part)
        assert not [
            each for each in part.objects if each["kind"] == "ServiceAccount" and "annotations" in each["metadata"]
        ]


def test_images_from_registries_by_digest_and_those_of_services_as_named() -> None:
    images = {"registries": ["registry.example.com", "docker.io", "docker.io/own"]}
    declared = platform(security={"images": images}, services=[service()])
    origin, pinned = expressions(declared, "images-are-pinned")
    prefixes = '["registry.example.com/", "docker.io/", "docker.io/own/", "own/"]'
    named = 'c.image in ["registry.example.com/vllm/vllm-openai:v0.33.0"]'
    assert f"{prefixes}.exists(r, c.image.startsWith(r))" in origin
    assert "!c.image.matches(" in origin
    assert named in origin
    assert named in pinned
    [note] = [each for each in render(declared).notes if "by its tag" in each]
    assert "crane digest registry.example.com/vllm/vllm-openai:v0.33.0" in note


def test_an_image_with_its_digest_needs_no_exception() -> None:
    image = "registry.example.com/vllm@sha256:" + "0" * 64
    declared = platform(
        security={"images": {"registries": ["registry.example.com"]}}, services=[service(engine={"image": image})]
    )
    origin, pinned = expressions(declared, "images-are-pinned")
    assert image in origin
    assert image not in pinned
    assert not [each for each in render(declared).notes if "by its tag" in each]


def test_nothing_asked_of_images_is_no_policy() -> None:
    free = {"images": {"requireDigest": False}}
    assert not [each for each in kinds(platform(security=free), "ValidatingAdmissionPolicy") if "images" in each]
    known = {"images": {"requireDigest": False, "registries": ["r.example.com"]}}
    assert len(expressions(platform(security=known), "images-are-known")) == 1


def waiver(check: str, target: str) -> Obj:
    return {"check": check, "target": target, "owner": "dana", "reason": "r", "until": "2027-01-31"}


def test_waivers_of_images_hold_at_the_door() -> None:
    declared = platform(
        security={"images": {"registries": ["r.example.com"]}},
        waivers=[waiver("IMG-01", "namespace/x"), waiver("GPU075", "namespace/y")],
    )
    origin, pinned = expressions(declared, "images-are-pinned")
    assert pinned.startswith('request.namespace in ["x"] || (')
    assert "request.namespace" not in origin
    made = kinds(declared, "ValidatingAdmissionPolicy")["images-are-pinned"]
    assert made["metadata"]["annotations"]["plimsoll.dev/waived"] == "IMG-01 namespace/x until 2027-01-31 by dana"
    everywhere = platform(waivers=[waiver("IMG-01", "*")])
    assert "images-are-pinned" not in kinds(everywhere, "ValidatingAdmissionPolicy")


def test_signatures_without_a_program_are_said_and_not_rendered() -> None:
    signed = {"images": {"signatures": {"mode": "keyless", "issuer": "https://token.example"}}}
    part = render(platform(security=signed))
    assert [note for note in part.notes if "Signatures" in note]
    assert "token.example" not in str(part.objects)


def test_image_volumes_are_judged_where_there_are_any() -> None:
    assert "v.image.reference" in expressions(platform(cluster={"kubernetes": "1.36"}), "images-are-pinned")[0]
    assert "v.image" not in expressions(platform(cluster={"kubernetes": "1.32"}), "images-are-pinned")[0]


def test_keys_of_a_cloud_are_refused_where_there_is_something_better() -> None:
    assert len(expressions(platform(), "no-lasting-keys")) == 3
    assert len(expressions(platform(security={"identity": "none"}), "no-lasting-keys")) == 2


def _read(written: str) -> list[str]:
    """A list of CEL texts, read as the language has them: quotes and backslashes are escaped."""
    found, inside, text, at = [], False, "", 0
    while at < len(written):
        letter = written[at]
        if inside and letter == "\\":
            at += 1
            text += {"n": "\n", "t": "\t", "r": "\r"}.get(written[at], written[at])
        elif letter == '"':
            if inside:
                found.append(text)
            inside, text = not inside, ""
        elif inside:
            text += letter
        at += 1
    assert not inside
    return found


@given(st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs")))))
def test_no_text_of_the_declaration_leaves_its_quotes(values: list[str]) -> None:
    assert _read(texts(values)) == values
