"""One apply at a time, and never none because one died."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj
from plimsoll.plan import lease
from plimsoll.plan.model import HOME
from tests.unit.kube.writable import Fault, refusal
from tests.unit.plan.standing import Clock, Cluster

NAME = "apply.acme"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"


@pytest.fixture(autouse=True)
def _home(api: Cluster) -> None:
    api.put("namespaces", HOME)


def put(api: Cluster, holder: object, renewed: str = "2026-11-24T11:00:00.000000Z") -> Obj:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 20, "renewTime": renewed}
    return api.put("leases", NAME, HOME, spec=spec)


def holder(api: Cluster) -> str:
    found = api.stands("leases", NAME, HOME)
    return "" if found is None else str(found["spec"]["holderIdentity"])


def test_it_is_held_and_given_back(api: Cluster, client: Client) -> None:
    with lease.held(client, "acme") as lost:
        assert holder(api).startswith(f"{socket.gethostname()}/{os.getpid()}/")
        assert not lost.is_set()
    assert api.stands("leases", NAME, HOME) is None


def test_it_is_given_back_by_a_run_that_fails(api: Cluster, client: Client) -> None:
    with pytest.raises(ZeroDivisionError), lease.held(client, "acme"):
        raise ZeroDivisionError
    assert api.stands("leases", NAME, HOME) is None


def test_platforms_do_not_wait_for_each_other(api: Cluster, client: Client, clock: Clock) -> None:
    with lease.held(client, "acme"), lease.held(client, "other"):
        assert len([key for key in api.objects if key[0] == "leases"]) == 2
    assert clock.slept == []


def test_a_holder_that_renews_keeps_it(api: Cluster, client: Client, clock: Clock) -> None:
    put(api, "elsewhere/77/5/boot/pid")
    clock.then = [lambda: put(api, "elsewhere/77/5/boot/pid")] * 60
    with pytest.raises(ClusterError) as error, lease.held(client, "acme"):
        raise AssertionError
    assert (error.value.what, error.value.where) == (
        "another apply is at work: process 77 on elsewhere", f"Lease/{HOME}/{NAME}",
    )  # fmt: skip
    assert holder(api) == "elsewhere/77/5/boot/pid"


@pytest.mark.parametrize("renewed", ["2026-11-24T11:00:00Z", "2099-01-01T00:00:00Z", "never", ""])
def test_a_holder_that_renews_no_more_loses_it(api: Cluster, client: Client, clock: Clock, renewed: str) -> None:
    """Whatever its clock says: that of another machine may be wrong."""
    put(api, "elsewhere/77/5/boot/pid", renewed)
    began = clock.now
    with lease.held(client, "acme"):
        assert holder(api).startswith(socket.gethostname())
    assert 19 < clock.now - began < 25


def test_a_process_of_this_machine_that_ended_is_not_waited_for(api: Cluster, client: Client, clock: Clock) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    put(api, f"{socket.gethostname()}/{done.stdout.strip()}/5/{lease._processes()}")
    with lease.held(client, "acme"):
        assert clock.slept == []


def test_a_number_that_another_process_has_now_is_no_holder(api: Cluster, client: Client, clock: Clock) -> None:
    put(api, f"{socket.gethostname()}/{os.getpid()}/5/{lease._processes()}")
    with lease.held(client, "acme"):
        assert clock.slept == []


@pytest.mark.parametrize("elsewhere", ["another-boot/pid:[1]", ""])
def test_a_host_of_the_same_name_is_not_this_one(api: Cluster, client: Client, clock: Clock, elsewhere: str) -> None:
    put(api, f"{socket.gethostname()}/999999/5/{elsewhere}")
    with lease.held(client, "acme"):
        assert sum(clock.slept) > 19


@pytest.mark.parametrize("odd", [None, "", 7, "x", "a/b/c/d", "/" * 9, "h/" + "9" * 5000 + "/1/" + "x"])
def test_odd_holders_are_waited_for_at_most(api: Cluster, client: Client, odd: object) -> None:
    put(api, odd)
    with lease.held(client, "acme"):
        assert holder(api).startswith(socket.gethostname())


def test_one_that_is_faster_is_waited_for(api: Cluster, client: Client, clock: Clock) -> None:
    """Between our look and our writing another has made the lease; it gives it back two sleeps later."""
    api.faults[f"POST {PATH}"] = [refusal(409, "AlreadyExists", "exists")]
    clock.then = [lambda: put(api, "elsewhere/1/1/b/p"), lambda: api.remove("leases", NAME, HOME)]
    with lease.held(client, "acme"):
        assert holder(api).startswith(socket.gethostname())


def test_an_answer_that_was_lost_is_no_other_holder(api: Cluster, client: Client) -> None:
    """The lease was made, the connection broke before we heard of it."""
    made = api.answer

    def once(request: object) -> object:
        answer = made(request)  # type: ignore[arg-type]
        if getattr(request, "method", "") == "POST":
            api.answer = made  # type: ignore[method-assign]
            raise ConnectionResetError
        return answer

    api.answer = once  # type: ignore[method-assign, assignment]
    with lease.held(client, "acme"):
        assert holder(api).startswith(socket.gethostname())


def test_a_namespace_that_is_gone_is_an_error_and_no_loop(api: Cluster, client: Client) -> None:
    api.faults[f"POST {PATH}"] = [refusal(404, "NotFound", f'namespaces "{HOME}" not found')] * 3
    api.faults[f"POST {PATH}"][
        0
    ].body = b'{"kind": "Status", "reason": "NotFound", "message": "namespace", "details": {"name": "plimsoll-system"}}'
    with pytest.raises(ClusterError), lease.held(client, "acme"):
        raise AssertionError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RENEWED", 0.02)


def _soon(check: object) -> None:
    end = time.monotonic() + 10
    while not check():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.usefixtures("quick")
def test_it_is_renewed_also_after_the_server_was_away(api: Cluster, client: Client) -> None:
    with lease.held(client, "acme") as lost:
        first = api.stands("leases", NAME, HOME)
        assert first is not None
        api.faults[f"GET {PATH}/{NAME}"] += [Fault(-1)] * 8
        _soon(lambda: (api.stands("leases", NAME, HOME) or first)["spec"]["renewTime"] > first["spec"]["renewTime"])
        _soon(lambda: not api.faults[f"GET {PATH}/{NAME}"])
        assert not lost.is_set()


@pytest.mark.usefixtures("quick")
def test_one_that_was_taken_is_lost_and_left_to_its_taker(api: Cluster, client: Client) -> None:
    with lease.held(client, "acme") as lost:
        put(api, "elsewhere/1/1/b/p")
        assert lost.wait(10)
        threads = [each for each in threading.enumerate() if each.name == "lease"]
        _soon(lambda: not any(each.is_alive() for each in threads))
    assert holder(api) == "elsewhere/1/1/b/p"
