"""The manifests of examples/practice say what its declaration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.kube.objects import Obj, containers, get, items, labels, mapping, name, namespace, pod_template, text
from plimsoll.kube.yamldocs import documents
from plimsoll.spec import derive
from plimsoll.spec.load import load

PRACTICE = Path(__file__).parents[3] / "examples" / "practice"
PLATFORM = load((PRACTICE / "platform.yaml").read_text(), "platform.yaml")
POOLS = derive.pools_by_name(PLATFORM)
OBJECTS: tuple[Obj, ...] = tuple(
    document
    for path in sorted((PRACTICE / "manifests").glob("*.yaml"))
    for _, document in documents(path.read_text(), path.name)
    if document
)
RUN = tuple(each for each in OBJECTS if each["kind"] in ("Job", "Deployment"))
Amounts = dict[tuple[str, str], int]  # (pool, resource) to devices


def _kind(kind: str) -> dict[str, Obj]:
    return {name(each): each for each in OBJECTS if each["kind"] == kind}


def _declared(amounts: dict[str, Any]) -> Amounts:
    found = {}
    for pool, amount in amounts.items():
        resources = {offer.unit: offer.resource for offer in derive.offers(POOLS[pool])}
        for unit, count in derive.amounts(POOLS[pool], amount).items():
            found[pool, resources[unit]] = count
    return found


def _granted(queue: Obj, field: str) -> Amounts:
    return {
        (text(flavor, "name"), text(line, "name")): line[field]
        for group in items(queue, "spec", "resourceGroups")
        for flavor in items(group, "flavors")
        for line in items(flavor, "resources")
        if line[field]
    }


def test_every_team_has_a_namespace_a_queue_and_a_door() -> None:
    spaces = [space for team in PLATFORM.teams for space in team.spaces]
    assert sorted(_kind("Namespace")) == sorted(spaces)
    doors = [each for each in OBJECTS if each["kind"] == "LocalQueue"]
    assert sorted(map(namespace, doors)) == sorted(spaces)
    assert {name(each) for each in doors} == {PLATFORM.queueing.local_queue}
    for title, space in _kind("Namespace").items():
        assert labels(space)["pod-security.kubernetes.io/enforce"] == PLATFORM.security.pod_security, title


@pytest.mark.parametrize("team", PLATFORM.teams, ids=lambda team: team.name)
def test_a_queue_grants_what_the_team_is_promised(team: Any) -> None:
    queue = _kind("ClusterQueue")[team.name]
    assert _granted(queue, "nominalQuota") == _declared(team.quota)
    assert _granted(queue, "borrowingLimit") == _declared(team.borrow)
    assert text(queue, "spec", "cohortName") == PLATFORM.queueing.cohort
    most: dict[str, int] = {}
    for amounts in (team.quota, team.borrow):
        for (_, resource), count in _declared(amounts).items():
            most[f"requests.{resource}"] = most.get(f"requests.{resource}", 0) + count
    limits = next(each for each in OBJECTS if each["kind"] == "ResourceQuota" and namespace(each) in team.spaces)
    assert {key: int(value) for key, value in mapping(limits, "spec", "hard").items()} == most


def test_flavors_lead_to_the_pools() -> None:
    flavors = _kind("ResourceFlavor")
    assert sorted(flavors) == sorted(POOLS)
    for title, flavor in flavors.items():
        assert get(flavor, "spec", "nodeLabels") == POOLS[title].selector
        declared = {each["key"] for field in ("nodeTaints", "tolerations") for each in items(flavor, "spec", field)}
        assert declared == {taint.key for taint in POOLS[title].taints}


def test_priorities_are_the_declared_ones() -> None:
    found = {title: each["value"] for title, each in _kind("WorkloadPriorityClass").items()}
    assert found == PLATFORM.queueing.priorities
    assert {labels(each)["kueue.x-k8s.io/priority-class"] for each in RUN} <= set(found)


@pytest.mark.parametrize("obj", RUN, ids=lambda obj: f"{namespace(obj)}-{name(obj)}")
def test_what_runs_goes_through_its_queue_with_reviewed_images(obj: Obj) -> None:
    assert labels(obj)["kueue.x-k8s.io/queue-name"] == PLATFORM.queueing.local_queue
    for _, container in containers(pod_template(obj)):
        assert text(container, "image").startswith(tuple(f"{r}/" for r in PLATFORM.security.images.registries))
        assert "@sha256:" in text(container, "image")


def test_the_service_is_the_declared_one() -> None:
    (service,) = PLATFORM.services
    deployment, scaler = _kind("Deployment")[service.name], _kind("ScaledObject")[service.name]
    assert namespace(deployment) == derive.namespace_of(PLATFORM, service)
    container = get(deployment, "spec", "template", "spec", "containers", 0)
    assert f":v{service.engine.version}@" in text(container, "image")
    for option, value in service.engine.args.items():
        assert f"--{option}={value}" in container["args"]
    assert f"--model={service.model}" in container["args"]
    requests = mapping(container, "resources", "requests")
    assert (requests["cpu"], requests["memory"]) == (str(service.cpu), str(service.memory))
    assert get(scaler, "spec", "minReplicaCount") == service.replicas.min
    assert get(scaler, "spec", "maxReplicaCount") == service.replicas.max
    assert get(scaler, "spec", "triggers", 0, "metadata", "serverAddress") == PLATFORM.observability.prometheus.url


def test_waivers_end_together_and_say_why() -> None:
    assert len({each.until for each in PLATFORM.waivers}) == 1
    assert all(len(each.reason) > 40 for each in PLATFORM.waivers)
