"""What the policies about spot let through and refuse, on the real API server."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.objects import Obj, name
from plimsoll.pillars.spot.render import render
from plimsoll.spec.load import from_mapping
from tests.lab.conftest import Lab

SPOT = "h100-spot-under-test"
TAINT = "eks.amazonaws.com/capacityType"
ON_SPOT = {"nodeSelector": {"plimsoll.dev/pool": SPOT}}
IGNORED = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
PATIENCE = 60.0  # seconds
CONTRACT = {"envFrom": [{"configMapRef": {"name": "checkpoint-contract"}}]}


def _policies(team: str, other: str) -> list[Obj]:
    """The rendered policies under names of their own, bound to the namespaces of this test, all of them refusing."""
    platform = from_mapping(
        {
            "cluster": {"provider": "eks", "manage": ["spot"]},
            "pools": [
                {"name": SPOT, "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"max": 2}, "capacity": "spot"},
            ],
            "teams": [{"name": team}, {"name": other}],
            "spot": {"never": ["serving", "production", other]},
        }
    )
    found = []
    for each in render(platform).objects:
        if each["kind"].startswith("ValidatingAdmissionPolicy"):
            own = copy.deepcopy(each)
            own["metadata"]["name"] = f"{name(each)}-{team}"
            if "policyName" in own["spec"]:
                own["spec"] |= {"policyName": f"{own['spec']['policyName']}-{team}", "validationActions": ["Deny"]}
            found.append(own)
    return found


@pytest.fixture
def homes(lab: Lab, space: str) -> Iterator[tuple[str, str]]:
    """Namespaces of a team that may use spot and of one that may not, behind the policies."""
    other = f"{space}-off"
    lab.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    policies = _policies(space, other)
    for each in policies:
        lab.client.apply(each)
    ready = ON_SPOT | {"terminationGracePeriodSeconds": 90}
    off, production = "stay off spot", {"kueue.x-k8s.io/priority-class": "production"}
    # The API server takes a moment to heed a new binding, and heeds each at its own time: one for each, and by itself.
    heeded = (
        (_pod(other, ON_SPOT), off),
        (_pod(space, ON_SPOT, **production), off),
        (_job(other, ready, CONTRACT, IGNORED), off),
        (_job(space, ready, CONTRACT, IGNORED, **production), off),
        (_job(space, ready, CONTRACT), "podFailurePolicy"),
    )
    until = time.monotonic() + PATIENCE
    while not all(said in _refused(lab, each) for each, said in heeded):
        assert time.monotonic() < until, "the API server heeds no new policy"
        time.sleep(0.2)
    yield space, other
    for each in policies:
        lab.client.delete(f"admissionregistration.k8s.io/v1/{each['kind']}", name(each))
    lab.client.delete("v1/Namespace", other)


def _pod(home: str, spec: Obj, **labels: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": home, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "example.com/a"}]} | spec,
    }


def _job(home: str, pod: Obj, container: Obj | None = None, policy: Obj | None = None, **labels: str) -> Obj:
    main = {"name": "main", "image": "example.com/a"} | (container or {})
    spec: Obj = {"template": {"spec": {"restartPolicy": "Never", "containers": [main]} | pod}}
    if policy:
        spec["podFailurePolicy"] = policy
    metadata = {"name": "probe", "namespace": home, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _refused(lab: Lab, obj: Obj) -> str:
    """What a policy says against an object; "" where it passes."""
    try:
        lab.client.apply(obj, dry_run=True)
    except ClusterError as error:
        return str(error)
    return ""


def test_services_and_whoever_never_may_stay_off_spot(lab: Lab, homes: tuple[str, str]) -> None:
    home, other = homes
    service: dict[str, Any] = {"plimsoll.dev/service": "chat"}
    production: dict[str, Any] = {"kueue.x-k8s.io/priority-class": "production"}
    tolerant = {"tolerations": [{"key": TAINT, "operator": "Exists"}]}
    everything = {"tolerations": [{"operator": "Exists"}]}
    gpus = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}
    for spec in (ON_SPOT, tolerant, everything):
        assert "stay off spot" in _refused(lab, _pod(home, spec, **service))
        assert "stay off spot" in _refused(lab, _pod(home, spec, **production))
        assert "stay off spot" in _refused(lab, _pod(other, spec))
        assert _refused(lab, _pod(home, spec)) == ""
    for spec in (gpus, {"nodeSelector": {"plimsoll.dev/pool": "h100"}}, {}):
        assert _refused(lab, _pod(home, spec, **service)) == ""
        assert _refused(lab, _pod(other, spec)) == ""
    ready = ON_SPOT | {"terminationGracePeriodSeconds": 90}  # or what jobs on spot are asked for would refuse them, too
    assert "stay off spot" in _refused(lab, _job(home, ready, CONTRACT, IGNORED, **production))
    assert "stay off spot" in _refused(lab, _job(other, ready, CONTRACT, IGNORED))
    assert _refused(lab, _job(other, {})) == ""


def test_what_a_job_on_spot_is_asked_for(lab: Lab, homes: tuple[str, str]) -> None:
    home, _ = homes
    ready = ON_SPOT | {"terminationGracePeriodSeconds": 90}
    assert _refused(lab, _job(home, ready, CONTRACT, IGNORED)) == ""
    own = {"env": [{"name": "CHECKPOINT_PATH", "value": "s3://store/a"}]}
    assert _refused(lab, _job(home, ready, own, IGNORED)) == ""
    assert "podFailurePolicy" in _refused(lab, _job(home, ready, CONTRACT))
    assert "less than 90 s" in _refused(lab, _job(home, ON_SPOT, CONTRACT, IGNORED))
    assert "less than 90 s" in _refused(
        lab, _job(home, ready | {"terminationGracePeriodSeconds": 30}, CONTRACT, IGNORED)
    )
    assert "names no checkpoint" in _refused(lab, _job(home, ready, None, IGNORED))
    # a toleration of everything says nothing about spot, so nothing is asked
    assert _refused(lab, _job(home, {"tolerations": [{"operator": "Exists"}]})) == ""
