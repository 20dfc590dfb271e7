"""What is asked again, for how long, and what is not."""

from __future__ import annotations

import pytest

from plimsoll.errors import ClusterError, InputError
from plimsoll.kube.answers import AnswerError, Unreachable, error
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj
from plimsoll.plan.patience import PATIENCE, passes, patiently
from tests.unit.kube.writable import Fault, refusal
from tests.unit.plan.standing import Clock, Cluster


def answer(
    code: int, reason: str = "", message: str = "", causes: list[Obj] | None = None, name: str = ""
) -> AnswerError:
    status = {"kind": "Status", "reason": reason, "message": message, "details": {"name": name, "causes": causes or []}}
    return error(code, status if reason or message else {}, "ConfigMap/a")


HOOK = 'Internal error occurred: failed calling webhook "vclusterqueue.kb.io": failed to call webhook: no endpoints'
TYPED = (
    "failed to create typed patch object (n/a; apps/v1, Kind=Deployment): .spec.replicas: expected numeric, got string"
)
UNDECLARED = "failed to create typed patch object (n/a; v1, Kind=ConfigMap): .spec: field not declared in schema"


@pytest.mark.parametrize(
    "passing",
    [
        Unreachable("connection refused"),
        answer(429, "TooManyRequests", "busy"),
        answer(410, "Expired", "too old"),
        answer(500, "InternalError", HOOK),
        answer(503),
        answer(504, "Timeout", "slow"),
        answer(403, "Forbidden", 'failed calling webhook "x"'),
        answer(409, "Conflict", "the object has been modified"),
        answer(404),
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_passes_is_done_again(passing: ClusterError, clock: Clock) -> None:
    left = [passing, passing]

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert passes(passing)
    assert patiently(work) == "done"
    assert len(clock.slept) == 2
    assert 0.1 <= clock.slept[0] <= 0.2
    assert 0.2 <= clock.slept[1] <= 0.4


@pytest.mark.parametrize(
    "lasting",
    [
        answer(
            409,
            "Conflict",
            "conflicts",
            [{"reason": "FieldManagerConflict", "message": 'conflict with "x"', "field": ".a"}],
        ),
        answer(409, "AlreadyExists", "it is there"),
        answer(404, "NotFound", "not there", name="a"),
        answer(401, "Unauthorized", "who are you"),
        answer(403, "Forbidden", "User x cannot patch"),
        answer(422, "Invalid", "wrong"),
        answer(400, "BadRequest", "strict decoding error"),
        answer(500, "InternalError", TYPED),
        answer(500, "InternalError", UNDECLARED),
        ClusterError("anything else"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_stays_is_not(lasting: ClusterError, clock: Clock) -> None:
    def work() -> None:
        raise lasting

    with pytest.raises(ClusterError) as raised:
        patiently(work)
    assert raised.value is lasting
    assert clock.slept == []


def test_other_errors_go_through(clock: Clock) -> None:
    def work() -> None:
        raise InputError("wrong file")

    with pytest.raises(InputError):
        patiently(work)
    assert clock.slept == []


def test_patience_ends(clock: Clock) -> None:
    began = clock.now

    def work() -> None:
        raise Unreachable("gone")

    with pytest.raises(Unreachable):
        patiently(work)
    assert PATIENCE / 2 < clock.now - began <= PATIENCE
    assert max(clock.slept) <= 5.0


def test_a_server_that_comes_back(api: Cluster, client: Client, clock: Clock) -> None:
    path = "/api/v1/namespaces/n/configmaps/a"
    api.put("namespaces", "n")
    api.put("configmaps", "a", "n", data={"k": "v"})
    # Each try of ours is four of the transport's.
    api.faults[f"GET {path}"] = [Fault(-1)] * 4 + [refusal(503, "ServiceUnavailable", "starting")] * 4
    found = patiently(lambda: client.get("v1/ConfigMap", "a", "n"))
    assert found is not None
    assert found["data"] == {"k": "v"}
    assert len(api.asked("GET", path)) == 9
