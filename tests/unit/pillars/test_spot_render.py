"""What is asked of a cluster for capacity that may vanish: nodes, who keeps off them, and what jobs there are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.check.run import review
from plimsoll.kube.objects import Obj, get, items, mapping, name, text
from plimsoll.pillars import all_checks
from plimsoll.pillars.render import render as render_all
from plimsoll.pillars.spot.render import interval, render
from plimsoll.plan.model import Part
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.model import Platform
from tests.world import snapshot

EXAMPLES = Path(__file__).parents[3] / "examples"
SPOT = {
    "name": "spot", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"min": 0, "max": 4}, "capacity": "spot",
    "instanceType": "p5.48xlarge",
}  # fmt: skip
KEPT = SPOT | {"name": "kept", "capacity": "on-demand", "nodes": {"min": 2, "max": 2}}
TEAMS = [{"name": "lab"}, {"name": "shop", "namespaces": ["web", "pay"]}]


def platform(*pools: dict[str, Any], provider: str = "eks", **more: Any) -> Platform:
    return from_mapping(
        {"pools": list(pools or (SPOT, KEPT)), "teams": TEAMS, "cluster": {"provider": provider}} | more
    )


def kind(part: Part, wanted: str) -> dict[str, Obj]:
    return {name(each): each for each in part.objects if each["kind"] == wanted}


def said(part: Part, words: str) -> bool:
    return any(words in note for note in part.notes)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/platform.yaml")), ids=lambda path: path.parent.name)
def test_no_check_finds_anything_and_nothing_is_shared(path: Path) -> None:
    known = load(path.read_text(), str(path))
    objects = list(render_all(known, ["spot"]).objects)
    judged = review(snapshot({"objects": objects}), all_checks(), platform=known)
    assert not judged.broken
    assert [(each.check.id, each.finding.title) for each in judged.failures] == []
    assert all("&id" not in yaml.safe_dump(each) for each in objects)
    assert render(known) == render(known)


def test_nodes_that_karpenter_makes() -> None:
    part = render(platform())
    pools = kind(part, "NodePool")
    spec = pools["spot"]["spec"]
    assert get(spec, "template", "metadata", "labels") == {"plimsoll.dev/pool": "spot"}
    assert {each["key"]: each["values"] for each in items(spec, "template", "spec", "requirements")} == {
        "karpenter.sh/capacity-type": ["spot"],
        "node.kubernetes.io/instance-type": ["p5.48xlarge"],
    }
    assert get(spec, "template", "spec", "taints") == [
        {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
        {"key": "eks.amazonaws.com/capacityType", "value": "SPOT", "effect": "NoSchedule"},
    ]
    assert spec["limits"] == {"nvidia.com/gpu": "32"}
    # no job is ended to save a node, and none outstays the notice
    assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty"
    assert get(spec, "template", "spec", "expireAfter") == "Never"
    assert get(spec, "template", "spec", "terminationGracePeriod") == "110s"
    assert "startupTaints" not in spec["template"]["spec"]
    kept = pools["kept"]["spec"]
    assert kept["disruption"]["consolidateAfter"] == "Never"  # as many as there ever are: they stay
    assert "terminationGracePeriod" not in kept["template"]["spec"]
    assert list(kind(part, "EC2NodeClass")) == ["gpu"]
    assert said(part, "interruption queue") and said(part, "karpenter.sh/discovery=platform")


def test_reserved_capacity_has_a_class_of_its_own() -> None:
    part = render(platform(KEPT | {"capacity": "reserved"}))
    assert list(kind(part, "EC2NodeClass")) == ["gpu-reserved"]
    assert "capacityReservationSelectorTerms" in kind(part, "EC2NodeClass")["gpu-reserved"]["spec"]
    template = get(kind(part, "NodePool")["kept"], "spec", "template", "spec")
    assert get(template, "nodeClassRef", "name") == "gpu-reserved"


def test_a_selector_comes_about_by_labels_requirements_or_the_pools_name() -> None:
    chosen = {"karpenter.sh/nodepool": "mine", "topology.kubernetes.io/zone": "z1", "a/b": "c"}
    pool = kind(render(platform(SPOT | {"nodeSelector": chosen})), "NodePool")["mine"]
    assert get(pool, "spec", "template", "metadata", "labels") == {"a/b": "c"}
    required = items(pool, "spec", "template", "spec", "requirements")
    assert {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z1"]} in required
    bare = kind(render(platform(SPOT | {"nodeSelector": {"karpenter.sh/nodepool": "mine"}})), "NodePool")["mine"]
    assert "metadata" not in bare["spec"]["template"]
    both = render(platform(SPOT | {"nodeSelector": {"karpenter.sh/nodepool": "kept", "x": "y"}}, KEPT))
    assert list(kind(both, "NodePool")) == ["kept"] and said(both, "Nodes of pool kept come from elsewhere")


@pytest.mark.parametrize(
    ("change", "provider"),
    [
        ({"instanceType": ""}, "eks"),
        ({"instanceType": "the big one"}, "eks"),
        ({"nodeSelector": {"eks.amazonaws.com/nodegroup": "x"}}, "eks"),
        ({}, "gke"), ({}, "aks"), ({}, "openshift"), ({}, "generic"),
    ],
)  # fmt: skip
def test_nodes_from_elsewhere_are_described(change: dict[str, Any], provider: str) -> None:
    part = render(platform(SPOT | change, provider=provider))
    assert not kind(part, "NodePool") and not kind(part, "EC2NodeClass")
    [note] = [each for each in part.notes if "come from elsewhere" in each]
    wanted = "eks.amazonaws.com/nodegroup=x" if "nodeSelector" in change else "plimsoll.dev/pool=spot"
    assert wanted in note and "nvidia.com/gpu:NoSchedule" in note
    assert {"gke": "gke-spot=true", "aks": "scalesetpriority=spot"}.get(provider, ":NoSchedule") in note


def test_what_karpenter_cannot_do_is_said() -> None:
    cut = KEPT | {"gpu": "A100-SXM4-80GB", "instanceType": "p4de.24xlarge", "nodes": {"min": 1, "max": 3},
                  "partition": {"mig": {"layout": {"3g.40gb": 2}}}}  # fmt: skip
    part = render(platform(cut))
    assert said(part, "keeps no least number of nodes") and said(part, "advertise nvidia.com/mig-3g.40gb")
    assert said(part, "share their GPUs once plimsoll apply runs again")
    assert not said(render(platform(KEPT)), "keeps no least number")


def test_without_spot_there_is_neither_policy_nor_contract() -> None:
    part = render(platform(KEPT))
    assert {each["kind"] for each in part.objects} == {"NodePool", "EC2NodeClass"}


def policy(part: Part, title: str) -> tuple[str, str, str]:
    """Expressions of a policy: `tolerates`, `selects`, and all validations."""
    spec = mapping(kind(part, "ValidatingAdmissionPolicy")[title], "spec")
    variables = {text(each, "name"): text(each, "expression") for each in items(spec, "variables")}
    checks = " ; ".join(text(each, "expression") for each in items(spec, "validations"))
    return variables["tolerates"], variables["selects"], checks


def test_who_stays_off_spot() -> None:
    part = render(platform(spot={"never": ["serving", "shop", "production"]}))
    tolerates, selects, checks = policy(part, "off-spot")
    assert "!has(t.key) ||" in tolerates and "'eks.amazonaws.com/capacityType'" in tolerates
    assert "object.spec.nodeSelector['plimsoll.dev/pool'] in ['spot']" in selects and "kept" not in selects
    assert "'plimsoll.dev/service' in object.metadata.labels" in checks
    assert "object.metadata.namespace in ['web', 'pay']" in checks
    assert "in ['production']" in checks
    jobs = policy(part, "off-spot-jobs")
    assert "'plimsoll.dev/service'" not in jobs[2] and "object.metadata.namespace in ['web', 'pay']" in jobs[2]
    assert "object.spec.template.spec.nodeSelector" in jobs[1]


@pytest.mark.parametrize(
    ("never", "policies"),
    [
        ([], ["spot-jobs-are-prepared"]),
        (["serving"], ["off-spot", "spot-jobs-are-prepared"]),
        (["production"], ["off-spot", "off-spot-jobs", "spot-jobs-are-prepared"]),
    ],
)
def test_there_is_a_policy_only_for_what_is_declared(never: list[str], policies: list[str]) -> None:
    part = render(platform(spot={"never": never}))
    assert sorted(kind(part, "ValidatingAdmissionPolicy")) == policies
    bindings = kind(part, "ValidatingAdmissionPolicyBinding")
    assert sorted(bindings) == policies
    for title, each in bindings.items():
        advice = title == "spot-jobs-are-prepared"
        assert each["spec"]["validationActions"] == ["Warn" if advice else "Deny", "Audit"]
        assert each["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["key"] == "plimsoll.dev/team"
    own = render(platform(cluster={"provider": "eks", "manage": ["spot"]}))
    where = get(kind(own, "ValidatingAdmissionPolicyBinding")["off-spot"], "spec", "matchResources")
    assert get(where, "namespaceSelector", "matchExpressions", 0, "values") == ["lab", "pay", "web"]


def test_what_a_job_on_spot_is_told() -> None:
    rules = {"interval": "15m", "grace": "80s", "signal": "SIGUSR1", "storage": "s3://store/"}
    part = render(platform(spot={"checkpoint": rules, "never": ["shop"]}))
    [contract] = [each for each in part.objects if each["kind"] == "ConfigMap"]
    assert (name(contract), contract["metadata"]["namespace"]) == ("checkpoint-contract", "lab")
    assert contract["data"] == {
        "CHECKPOINT_INTERVAL": "15m", "CHECKPOINT_GRACE": "80s", "CHECKPOINT_SIGNAL": "SIGUSR1",
        "CHECKPOINT_PATH": "s3://store/lab",
    }  # fmt: skip
    assert ".terminationGracePeriodSeconds >= 80" in policy(part, "spot-jobs-are-prepared")[2]
    claim = render(platform(spot={"checkpoint": {"storage": "pvc://disk/deep"}, "never": ["shop"]}))
    [contract] = [each for each in claim.objects if each["kind"] == "ConfigMap"]
    assert contract["data"]["CHECKPOINT_CLAIM"] == "disk"
    assert contract["data"]["CHECKPOINT_PATH"] == "/checkpoints/deep/lab"
    assert said(claim, "mount the claim") and said(render(platform()), "storage is not declared")


def test_an_interval_that_is_worked_out_says_from_what() -> None:
    known = platform(spot={"checkpoint": {"grace": "90s"}})
    assert str(interval(known)) == "13m"  # sqrt(2 x 90 x 3600) = 805 s
    assert said(render(known), "sqrt(2 x 90s to save x 1h between reclaims)")
    assert str(interval(platform(spot={"checkpoint": {"interval": "7m"}}))) == "7m"


@pytest.mark.parametrize(("provider", "grace", "late"), [("eks", "90s", False), ("eks", "115s", True),
                                                         ("gke", "90s", True), ("gke", "20s", False)])  # fmt: skip
def test_a_save_longer_than_the_notice_is_said(provider: str, grace: str, late: bool) -> None:
    part = render(platform(provider=provider, spot={"checkpoint": {"grace": grace}}))
    assert said(part, "is cut off; rely on the interval") == late


_KEY = st.sampled_from(
    [
        "a", "b.c/d", "karpenter.sh/x", "karpenter.k8s.aws/x", "node.kubernetes.io/instance-type",
        "karpenter.sh/nodepool", "karpenter.k8s.aws/instance-family", "kubernetes.io/hostname", "eks.amazonaws.com/x",
    ]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    selector=st.dictionaries(_KEY, st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=4),
    title=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    grace=st.integers(1, 100_000),
)
def test_what_karpenter_would_refuse_is_never_asked_of_it(selector: dict[str, str], title: str, grace: int) -> None:
    rules = {"checkpoint": {"grace": f"{grace}s"}}
    part = render(platform(SPOT | {"nodeSelector": selector}, metadata={"name": title}, spot=rules))
    for each in kind(part, "NodePool").values():
        labels = get(each, "spec", "template", "metadata", "labels") or {}
        assert not [key for key in labels if key.startswith(("karpenter", "kubernetes.io/hostname"))]
        seconds = int(str(get(each, "spec", "template", "spec", "terminationGracePeriod")).removesuffix("s"))
        assert 110 <= seconds < 120
        keys = [required["key"] for required in items(each, "spec", "template", "spec", "requirements")]
        assert len(keys) == len(set(keys))
    for each in kind(part, "EC2NodeClass").values():
        assert 0 < len(each["spec"]["role"]) <= 64
