"""What pods ask for, by extended resources and by claims."""

from __future__ import annotations

import pytest

from plimsoll.agents.meter.claims import GPU, Allocated, Claims, resource, unit
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.pods import gpu_requests

DRIVER = "gpu.nvidia.com"


def pod(uid: str = "u", *, claims: bool = False, **limits: str) -> Obj:
    asks = {f"nvidia.com/{key.replace('__', '.').replace('_', '-')}": amount for key, amount in limits.items()}
    spec: Obj = {"nodeName": "n", "containers": [{"name": "main", "resources": {"limits": asks}}]}
    if claims:
        spec["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "one"}]
    return {"metadata": {"name": "p", "namespace": "team", "uid": uid}, "spec": spec}


def piece(title: str = "slice", *, flat: bool = True, driver: str = DRIVER, **devices: dict[str, str]) -> Obj:
    """A ResourceSlice. flat: attributes as in v1, else as in v1beta1."""
    found = []
    for name, said in devices.items():
        have = {"attributes": {key: {"string": value} for key, value in said.items()}}
        found.append({"name": name} | (have if flat else {"basic": have}))
    return {"metadata": {"name": title}, "spec": {"driver": driver, "pool": {"name": "n"}, "devices": found}}


def claim(*devices: str, users: tuple[str, ...] = ("u",), driver: str = DRIVER, name: str = "c") -> Obj:
    results = [{"driver": driver, "pool": "n", "device": each} for each in devices]
    return {"metadata": {"name": name, "namespace": "team"}, "status": {
        "allocation": {"devices": {"results": results}},
        "reservedFor": [{"resource": "pods", "name": "p", "uid": uid} for uid in users]}}  # fmt: skip


WHOLE = {"type": "gpu", "uuid": "GPU-a"}
MIG = {"type": "mig", "uuid": "MIG-1", "parentUUID": "GPU-b", "profile": "1g.10gb"}


@pytest.mark.parametrize(
    ("said", "means"),
    [("nvidia.com/gpu", GPU), ("nvidia.com/gpu.shared", GPU), ("nvidia.com/mig-1g.10gb", "1g.10gb"),
     ("nvidia.com/mig-1g.10gb.shared", "1g.10gb"), ("nvidia.com/mig-1g.10gb.me", "1g.10gb+me")],
)  # fmt: skip
def test_units_of_extended_resources(said: str, means: str) -> None:
    assert unit(said) == means
    assert unit(resource(means)) == means


def test_amounts_of_shared_and_unshared_names_add_up() -> None:
    assert gpu_requests(pod(gpu="2"))
    assert Claims().amounts(pod(gpu="2")) == {GPU: 2}
    assert Claims().amounts(pod(gpu="1", gpu__shared="1", mig_1g__10gb="3")) == {GPU: 2, "1g.10gb": 3}
    assert Claims().amounts(pod()) == {}
    assert not Claims().asks(pod())
    assert Claims().asks(pod(claims=True))


@pytest.mark.parametrize("asks", ["9" * 9, "9" * 30, "1e9", "-5", "x"])
def test_no_pod_holds_more_than_a_node_can_have(asks: str) -> None:
    assert 0 <= Claims().amounts(pod(gpu=asks)).get(GPU, 0) <= 4096


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("slices_first", [True, False])
def test_what_a_claim_was_given_in_any_order(flat: bool, slices_first: bool) -> None:
    on = Claims()
    told = [(kinds.RESOURCE_SLICE, piece(flat=flat, gpu0=WHOLE, mig1=MIG)),
            (kinds.RESOURCE_CLAIM, claim("gpu0", "mig1"))]  # fmt: skip
    matters = [on.take(kind, obj, gone=False) for kind, obj in (told if slices_first else told[::-1])]
    assert matters[-1] == {"u"}
    assert on.devices("u") == [Allocated("GPU-a"), Allocated("GPU-b", "MIG-1", "1g.10gb")]
    assert on.amounts(pod(claims=True)) == {GPU: 1, "1g.10gb": 1}
    assert on.devices("other") == []


def test_two_pods_may_share_a_claim_and_one_pod_may_have_two() -> None:
    on = Claims()
    on.take(kinds.RESOURCE_SLICE, piece(gpu0=WHOLE, mig1=MIG), gone=False)
    on.take(kinds.RESOURCE_CLAIM, claim("gpu0", users=("u", "v")), gone=False)
    on.take(kinds.RESOURCE_CLAIM, claim("mig1", "gpu0", name="d"), gone=False)
    assert on.devices("v") == [Allocated("GPU-a")]
    assert len(on.devices("u")) == 2


def test_claims_and_slices_that_are_gone() -> None:
    on = Claims()
    on.take(kinds.RESOURCE_SLICE, piece(gpu0=WHOLE), gone=False)
    on.take(kinds.RESOURCE_CLAIM, claim("gpu0"), gone=False)
    on.take(kinds.RESOURCE_SLICE, piece(), gone=True)
    assert on.devices("u") == []
    on.take(kinds.RESOURCE_SLICE, piece("again", gpu0=WHOLE), gone=False)
    assert on.devices("u") == [Allocated("GPU-a")]
    assert on.take(kinds.RESOURCE_CLAIM, claim("gpu0"), gone=True) == set()
    assert on.devices("u") == []


def test_what_other_drivers_give_is_no_gpu() -> None:
    on = Claims()
    on.take(kinds.RESOURCE_SLICE, piece("net", driver="dra.net", gpu0=WHOLE), gone=False)
    on.take(kinds.RESOURCE_CLAIM, claim("gpu0", driver="dra.net"), gone=False)
    on.take(kinds.RESOURCE_CLAIM, claim("gpu0", name="d"), gone=False)
    assert on.devices("u") == []
    on.take(kinds.RESOURCE_SLICE, piece(imex={"type": "channel"}), gone=False)  # a device without a UUID
    on.take(kinds.RESOURCE_CLAIM, claim("imex", name="e"), gone=False)
    assert on.amounts(pod(claims=True)) == {}
