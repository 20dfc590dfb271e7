"""Watches as a stream of events, against a server that refuses, forgets and has only some kinds."""

from __future__ import annotations

import time
from pathlib import Path
from queue import Empty, Queue

import pytest

from plimsoll.agents.meter.clock import Clock
from plimsoll.agents.meter.watches import Told, Watches
from plimsoll.errors import ClusterError
from plimsoll.kube import kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import name, text
from tests.unit.kube.test_client import kubeconfig
from tests.unit.kube.writable import Api, refusal

PODS = "/api/v1/pods"


pytestmark = pytest.mark.usefixtures("hurried")


class Fed:
    """The events of the watches on a server, by kind."""

    def __init__(self, api: Api, folder: Path, since: dict[str, str] | None = None, node: str = "") -> None:
        self.client = Client(kubeconfig(folder, api.url))
        self.queue: Queue[object] = Queue()
        self.told: dict[str, list[Told]] = {each.plural: [] for each in (kinds.NODE, kinds.POD)}
        self.watches = Watches(self.client, Clock(), self.queue, since or {}, node)

    def __enter__(self) -> Fed:
        self.watches.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watches.stop()
        self.client.close()

    def until(self, plural: str, *wanted: tuple[str, str]) -> list[Told]:
        deadline = time.monotonic() + 10
        while [(each.change, name(each.obj)) for each in self.told[plural][-len(wanted) :]] != list(wanted):
            assert time.monotonic() < deadline, (self.told[plural], self.watches.trouble)
            try:
                event = self.queue.get(timeout=0.05)
            except Empty:
                continue
            assert isinstance(event, Told)
            self.told.setdefault(event.kind.plural, []).append(event)
        return self.told[plural]

    def trouble(self, *plurals: str) -> None:
        deadline = time.monotonic() + 10
        while set(self.watches.trouble) != set(plurals):
            assert time.monotonic() < deadline, self.watches.trouble
            time.sleep(0.01)


def test_a_list_says_what_there_is_and_where_to_go_on_from(api: Api, tmp_path: Path) -> None:
    for each in "cab":
        api.put("pods", each, "team")
    api.put("pods", "c", "team")
    with Fed(api, tmp_path) as fed:
        told = fed.until("pods", ("ADDED", "c"), ("ADDED", "a"), ("ADDED", "b"), ("SYNCED", ""))
        assert [each.version for each in told] == ["", "", "", str(api.version)]  # what is listed is in no order
        assert told[-1].listed == {text(each.obj, "metadata", "uid") for each in told[:-1]}
        api.put("pods", "d", "team")
        assert fed.until("pods", ("ADDED", "d"))[-1].version == str(api.version)
        fed.until("nodes", ("SYNCED", ""))
        assert fed.watches.seen > 0
        assert not fed.watches.trouble  # that there are no claims is none


def test_who_goes_on_does_not_stand_at_the_list_before_the_rest_was_told(api: Api, tmp_path: Path) -> None:
    api.put("pods", "a", "team")
    since = str(api.version)
    api.put("pods", "b", "team")
    api.remove("pods", "b", "team")
    with Fed(api, tmp_path, {"pods": since}) as fed:
        told = fed.until("pods", ("ADDED", "a"), ("SYNCED", ""), ("ADDED", "b"), ("DELETED", "b"))
        assert [each.version != "" for each in told] == [False, False, True, True]


def test_a_refusal_is_trouble_until_it_ends(api: Api, tmp_path: Path) -> None:
    api.put("pods", "a", "team")
    api.faults[f"GET {PODS}"] = [refusal(403, "Forbidden", "not you") for _ in range(500)]
    with Fed(api, tmp_path) as fed:
        fed.trouble("pods")
        assert "not you" in fed.watches.trouble["pods"]
        time.sleep(0.2)  # what asks for the time, which is more than once
        seen = fed.watches.seen
        time.sleep(0.2)
        assert fed.watches.seen == seen  # nothing may be billed up to now: it could have ended
        api.faults.clear()
        fed.until("pods", ("ADDED", "a"), ("SYNCED", ""))
        fed.trouble()


def test_a_watch_that_begins_again_lists_what_is_there_then(api: Api, tmp_path: Path) -> None:
    for each in "ab":
        api.put("pods", each, "team")
    with Fed(api, tmp_path) as fed:
        fed.until("pods", ("ADDED", "a"), ("ADDED", "b"), ("SYNCED", ""))
        with api.changed:  # the watch is refused; then the server has forgotten what was
            api.faults[f"WATCH {PODS}"] = [refusal(403, "Forbidden", "not now")]
            api.remove("pods", "b", "team")
            api.history.clear()
        api.forget()
        told = fed.until("pods", ("ADDED", "a"), ("SYNCED", ""))
        assert told[-1].listed == {text(told[-2].obj, "metadata", "uid")}
        api.put("pods", "c", "team")
        fed.until("pods", ("SYNCED", ""), ("ADDED", "c"))


def test_the_meter_of_a_node_asks_for_its_own(api: Api, tmp_path: Path) -> None:
    with Fed(api, tmp_path, node="n1") as fed:
        fed.until("nodes", ("SYNCED", ""))
        fed.until("pods", ("SYNCED", ""))
    asked = {(each.path, each.query.get("fieldSelector", "")) for each in api.asked("GET", "/api/v1/")}
    assert {(PODS, "spec.nodeName=n1"), ("/api/v1/nodes", "metadata.name=n1")} <= asked


def test_a_server_that_is_not_there_at_first_is_an_error(api: Api, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("plimsoll.kube.transport.sleep", lambda _: None)
    fed = Fed(api, tmp_path)
    fed.client.close()
    fed.client = Client(kubeconfig(tmp_path, "http://127.0.0.1:9"))
    fed.watches = Watches(fed.client, Clock(), fed.queue, {})
    with pytest.raises(ClusterError):
        fed.watches.start()
    fed.client.close()
