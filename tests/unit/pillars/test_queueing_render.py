"""What pillar queueing renders."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.kube.objects import Obj, Ref, get, name, namespace
from plimsoll.pillars.queueing.render import render
from plimsoll.pillars.queueing.render_shares import groups, shares
from plimsoll.spec import derive
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.model import Platform

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/platform.yaml"))
PROFILES = ("1g.10gb", "2g.20gb", "3g.40gb")


def pool(title: str = "p", gpu: str = "A100-SXM4-80GB", low: int = 4, high: int = 4, **more: Any) -> Obj:
    return {"name": title, "gpu": gpu, "gpusPerNode": 8, "nodes": {"min": low, "max": high}, **more}


def platform(*pools: Obj, **more: Any) -> Platform:
    return from_mapping({"pools": list(pools), "teams": [{"name": "a"}], **more})


def found(declared: Platform, kind: str, title: str = "", space: str = "") -> Obj:
    """The one object of a kind and name."""
    [only] = [
        each for each in render(declared).objects
        if each["kind"] == kind and (not title or name(each) == title) and (not space or namespace(each) == space)
    ]  # fmt: skip
    return only


def flavors(queue: Obj) -> list[list[str]]:
    return [[name_["name"] for name_ in group["flavors"]] for group in queue["spec"]["resourceGroups"]]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_render_the_same_each_time(path: Path) -> None:
    declared = load(path.read_bytes(), str(path))
    once, again = render(declared), render(declared)
    assert once == again
    refs = [Ref.of(each) for each in once.objects]
    assert len(set(refs)) == len(refs)
    assert {"Cohort", "ClusterQueue", "ResourceQuota"} <= {ref.kind for ref in refs}


def test_limits_of_a_quota_that_is_lent_in_part_or_not_borrowed() -> None:
    declared = platform(
        pool("p"), pool("q", "L40S"),
        teams=[
            {"name": "a", "quota": {"p": 16, "q": 8}, "lend": {"p": 4}, "weight": 0.5},
            {"name": "b", "borrow": {"p": 4}},
        ],
    )  # fmt: skip
    queue = found(declared, "ClusterQueue", "a")["spec"]
    [group] = queue["resourceGroups"]
    assert group["coveredResources"] == ["nvidia.com/gpu"]
    one, other = (each["resources"][0] for each in group["flavors"])
    assert one == {"name": "nvidia.com/gpu", "nominalQuota": "16", "borrowingLimit": "0", "lendingLimit": "4"}
    assert other == {"name": "nvidia.com/gpu", "nominalQuota": "8", "borrowingLimit": "0"}  # all of it is lent
    assert queue["fairSharing"] == {"weight": "500m"}
    assert flavors(found(declared, "ClusterQueue", "b")) == [["p"]]


def test_spot_comes_first_then_its_fallback_and_the_tolerant_alone() -> None:
    declared = platform(
        pool("plain", "L40S"), pool("fallback"), pool("spot", capacity="spot"),
        pool("other", capacity="spot"),
        teams=[
            {"name": "a", "quota": {"plain": 1, "fallback": 1, "spot": 1, "other": 1}},
            {"name": "b", "quota": {"fallback": 1}, "borrow": {"spot": 1}},
        ],
        spot={"pools": ["spot"], "fallback": ["fallback"], "never": ["serving", "b"]},
        cluster={"provider": "aks"},
    )  # fmt: skip
    queue = found(declared, "ClusterQueue", "a")
    assert flavors(queue) == [["spot", "fallback", "plain"]]
    assert queue["spec"]["flavorFungibility"]["whenCanBorrow"] == "MayStopSearch"
    assert flavors(found(declared, "ClusterQueue", "b")) == [["fallback"]]
    assert any("Pool other" in note for note in render(declared).notes)
    spec = found(declared, "ResourceFlavor", "spot")["spec"]
    assert spec["nodeTaints"] == [
        {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"}
    ]
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "nodeTaints" not in found(declared, "ResourceFlavor", "plain")["spec"]


def test_a_queue_is_placed_by_topology_as_a_whole_or_not_at_all() -> None:
    levels: dict[str, Any] = {"topology": {"levels": ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]}}
    fixed = platform(pool("p", **levels), pool("q"), teams=[{"name": "a", "quota": {"p": 1, "q": 1}}])
    assert found(fixed, "ResourceFlavor", "q")["spec"]["topologyName"] == "q"
    assert get(found(fixed, "Topology", "q"), "spec", "levels") == [{"nodeLabel": "kubernetes.io/hostname"}]
    assert len(get(found(fixed, "Topology", "p"), "spec", "levels")) == 2
    assert render(fixed).notes == ()
    grows = platform(
        pool("p", **levels), pool("q", low=1, high=4), pool("r", low=1, high=2, **levels),
        teams=[{"name": "a", "quota": {"p": 1, "q": 1}}, {"name": "b", "quota": {"r": 1}}],
    )  # fmt: skip
    named = {name(each) for each in render(grows).objects if each["kind"] == "Topology"}
    assert named == {"r"}
    assert [note.split(" ")[1] for note in render(grows).notes] == ["p", "r"]
    nothing = platform(pool("p", low=0, **levels), teams=[{"name": "a", "quota": {"p": 1}}])
    assert not [each for each in render(nothing).objects if each["kind"] == "Topology"]


def test_quotas_of_namespaces_say_every_kind_and_what_services_hold_beside() -> None:
    declared = platform(
        pool("p", partition={"mig": {"layout": {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}}}), pool("w"),
        teams=[{"name": "a", "namespaces": ["x", "y"], "quota": {"p": {"1g.10gb": 4}}, "borrow": {"p": {"1g.10gb": 2}}},
               {"name": "b", "quota": {"p": {"1g.10gb": 8}}}],
        services=[{"name": "s", "team": "a", "namespace": "y", "model": "m", "pool": "w", "gpusPerReplica": 2,
                   "replicas": {"max": 3}, "queued": False}],
    )  # fmt: skip
    x, y = (found(declared, "ResourceQuota", "gpus", space)["spec"]["hard"] for space in "xy")
    assert x == {
        "requests.nvidia.com/gpu": "0",
        "requests.nvidia.com/mig-1g.10gb": "6",
        "requests.nvidia.com/mig-2g.20gb": "0",
        "requests.nvidia.com/mig-3g.40gb": "0",
        "gpu.nvidia.com.deviceclass.resource.k8s.io/devices": "0",
        "mig.nvidia.com.deviceclass.resource.k8s.io/devices": "0",
    }
    assert y == x | {"requests.nvidia.com/gpu": "6"}
    policy = str(found(declared, "ValidatingAdmissionPolicy", "gpus-through-queues"))
    assert "y/s" in policy


def test_what_kueue_believes_of_owners_only_controllers_may_say() -> None:
    declared = platform(pool("p"), teams=[{"name": "a", "quota": {"p": 1}}])
    through = found(declared, "ValidatingAdmissionPolicy", "gpus-through-queues")["spec"]
    assert any("ownerReferences" in each["expression"] for each in through["validations"])
    assert "deviceclass.resource.kubernetes.io/" in through["matchConditions"][0]["expression"]
    for title in ("owners-are-true", "jobs-do-not-say-started"):
        assert found(declared, "ValidatingAdmissionPolicyBinding", title)["spec"]["validationActions"] == [
            "Deny",
            "Audit",
        ]
    rules = found(declared, "ValidatingAdmissionPolicy", "owners-are-true")["spec"]["matchConstraints"]["resourceRules"]
    assert {"replicasets", "jobs", "statefulsets"} <= {name for rule in rules for name in rule["resources"]}


def test_a_team_without_a_promise_has_no_queue() -> None:
    declared = platform(pool(), teams=[{"name": "a", "quota": {"p": 1}}, {"name": "idle"}])
    kinds = {(each["kind"], name(each), namespace(each)) for each in render(declared).objects}
    assert ("ClusterQueue", "idle", "") not in kinds
    assert ("ResourceQuota", "gpus", "idle") in kinds


def settings(declared: Platform) -> Obj:
    [chart] = render(declared).charts
    made: Obj = yaml.safe_load(chart.values["managerConfig"]["controllerManagerConfigYaml"])
    return made


@pytest.mark.parametrize(
    ("version", "api", "cohort", "enabled", "ray"),
    [
        ("0.14.3", "v1beta1", "cohort", True, False),
        ("v0.15.0", "v1beta2", "cohortName", None, False),
        ("0.17.1", "v1beta2", "cohortName", None, True),
        ("0.25.0", "v1beta2", "cohortName", None, True),
    ],
)
def test_each_release_in_its_own_words(version: str, api: str, cohort: str, enabled: bool | None, ray: bool) -> None:
    declared = platform(pool(), teams=[{"name": "a", "quota": {"p": 1}}], queueing={"version": version})
    queue = found(declared, "ClusterQueue", "a")
    assert queue["apiVersion"] == f"kueue.x-k8s.io/{api}"
    assert queue["spec"][cohort] == "main"
    config = settings(declared)
    assert config["apiVersion"] == f"config.kueue.x-k8s.io/{api}"
    assert config["waitForPodsReady"].get("enable") is enabled
    assert config["fairSharing"].get("enable") is enabled
    assert ("ray.io/rayservice" in config["integrations"]["frameworks"]) is ray
    [chart] = render(declared).charts
    assert chart.version == version.removeprefix("v")
    assert chart.values["controllerManager"]["manager"]["image"]["tag"] == f"v{chart.version}"


def test_a_release_before_all_that_is_known_is_refused() -> None:
    with pytest.raises(InputError, match="older than"):
        render(platform(pool(), queueing={"version": "0.9.1"}))


def test_borrowing_on_spot_in_the_words_of_the_first_release() -> None:
    declared = platform(pool(capacity="spot"), teams=[{"name": "a", "quota": {"p": 1}}], queueing={"version": "0.14.0"})
    assert found(declared, "ClusterQueue", "a")["spec"]["flavorFungibility"]["whenCanBorrow"] == "Borrow"


def test_waiting_for_pods_and_fair_sharing_can_be_off() -> None:
    base: dict[str, Any] = {"teams": [{"name": "a", "quota": {"p": 1}, "weight": 3}]}
    off = platform(pool(), queueing={"waitForPodsReady": "0s", "fairSharing": False}, **base)
    config = settings(off)
    assert "waitForPodsReady" not in config
    assert "fairSharing" not in config
    assert config["featureGates"] == {"DisableWaitForPodsReady": True}
    assert "fairSharing" not in found(off, "ClusterQueue", "a")["spec"]
    older = settings(platform(pool(), queueing={"waitForPodsReady": "0s", "version": "0.18.0"}, **base))
    assert "featureGates" not in older
    day = settings(platform(pool(), queueing={"waitForPodsReady": "1d"}, **base))
    assert day["waitForPodsReady"]["timeout"] == "86400s"


def test_without_the_pillar_that_labels_namespaces_they_are_named() -> None:
    teams = [{"name": "a", "namespaces": ["x", "y"], "quota": {"p": 1}}]
    alone = platform(pool(), teams=teams, cluster={"manage": ["queueing"]})
    assert "plimsoll.dev/team" not in str(render(alone))
    [only] = found(alone, "ClusterQueue")["spec"]["namespaceSelector"]["matchExpressions"]
    assert only == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["x", "y"]}


amounts = st.integers(0, 3)


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    """Platforms with pools of all kinds of sharing, and teams with any promises on them."""
    kinds: list[tuple[Obj, tuple[str, ...]]] = [
        ({}, ("gpu",)),
        ({"timeSlicing": {"replicas": 2}}, ("shared",)),
        ({"mig": {"layout": {"1g.10gb": 7}}}, ("1g.10gb",)),
        ({"mig": {"layout": {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}}}, PROFILES),
        ({"mig": {"layout": {"3g.40gb": 2}}, "timeSlicing": {"replicas": 2}}, ("3g.40gb",)),
    ]
    chosen = draw(st.lists(st.sampled_from(range(len(kinds))), min_size=1, max_size=6))
    spot = draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    pools = [
        pool(f"p{at}", partition=kinds[kind][0], capacity="spot" if spot[at] else "reserved")
        for at, kind in enumerate(chosen)
    ]
    teams = []
    for at in range(draw(st.integers(1, 3))):
        quota: Obj = {}
        for which, kind in enumerate(chosen):
            if draw(st.booleans()):
                quota[f"p{which}"] = {unit: draw(amounts) for unit in kinds[kind][1]}
        teams.append({"name": f"t{at}", "quota": quota})
    return platform(*pools, teams=teams)


@given(platforms())
def test_every_promise_is_in_a_group_that_kueue_takes(declared: Platform) -> None:
    pools = derive.pools_by_name(declared)
    queues = {name(each): each for each in render(declared).objects if each["kind"] == "ClusterQueue"}
    for team in declared.teams:
        promised: dict[tuple[str, str], int] = defaultdict(int)
        for title, said in team.quota.items():
            for unit, count in derive.amounts(pools[title], said).items():
                promised[title, derive.resource_of(pools[title], unit)] += count
        seen: dict[tuple[str, str], int] = {}
        resources: list[str] = []
        for group in get(queues.get(team.name, {}), "spec", "resourceGroups") or ():
            resources += group["coveredResources"]
            for flavor in group["flavors"]:
                assert [each["name"] for each in flavor["resources"]] == group["coveredResources"]
                for each in flavor["resources"]:
                    assert (flavor["name"], each["name"]) not in seen
                    seen[flavor["name"], each["name"]] = int(each["nominalQuota"])
        assert len(set(resources)) == len(resources)
        of_groups = [title for group in groups(shares(declared, team)) for title in group[0]]
        assert len(set(of_groups)) == len(of_groups)
        assert {key: count for key, count in promised.items() if count} == {k: n for k, n in seen.items() if n}
