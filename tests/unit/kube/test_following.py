"""Watches that go on where an earlier one stood: what happened in between is told, or the list is all there is."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, text
from tests.unit.kube.test_client import kubeconfig
from tests.unit.kube.writable import Api, refusal, serving

CM = "v1/ConfigMap"
MAPS = "/api/v1/configmaps"


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as found:
        yield found


@pytest.fixture
def client(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr("plimsoll.kube.watching._BACK_OFF", (0.0, 0.0))
    monkeypatch.setattr("plimsoll.kube.transport.sleep", lambda _: None)
    with Client(kubeconfig(tmp_path, api.url)) as found:
        yield found


class Following:
    def __init__(self, client: Client, since: str = "", fields: str = "") -> None:
        self.told: list[tuple[str, str]] = []  # what, and its resourceVersion
        self.names: list[tuple[str, str]] = []
        self.error: ClusterError | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(client, since, fields))
        self.thread.start()

    def _run(self, client: Client, since: str, fields: str) -> None:
        try:
            for change, obj in client.follow(CM, since=since, fields=fields, stop=self.stop):
                self.told.append((change, _version(obj)))
                self.names.append((change, text(obj, "metadata", "name")))
        except ClusterError as error:
            self.error = error

    def until(self, *names: tuple[str, str]) -> None:
        deadline = time.monotonic() + 10
        while self.names[-len(names) :] != list(names):
            assert time.monotonic() < deadline, self.names
            assert self.thread.is_alive(), self.error
            time.sleep(0.01)

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


def _version(obj: Obj) -> str:
    return text(obj, "metadata", "resourceVersion")


def watched(api: Api) -> list[str]:
    return [each.query["resourceVersion"] for each in api.seen if each.query.get("watch")]


def test_the_list_ends_with_a_word_and_the_version_it_is_of(api: Api, client: Client) -> None:
    for name in "abcdefghi":  # two pages
        api.put("configmaps", name, "n")
    with Following(client) as found:
        found.until(*(("ADDED", name) for name in "abcdefghi"), ("SYNCED", ""))
        assert found.told[-1] == ("SYNCED", str(api.version))
        api.put("configmaps", "a", "n")
        found.until(("MODIFIED", "a"))
        assert found.told[-1] == ("MODIFIED", str(api.version))


def test_an_empty_cluster_is_synced_too(api: Api, client: Client) -> None:
    with Following(client) as found:
        found.until(("SYNCED", ""))


def test_what_happened_since_is_told_after_the_list(api: Api, client: Client) -> None:
    api.put("configmaps", "stays", "n")
    api.put("configmaps", "goes", "n")
    since = str(api.version)
    api.put("configmaps", "short", "n")  # it comes and goes while nobody watches
    api.remove("configmaps", "short", "n")
    api.remove("configmaps", "goes", "n")
    api.put("configmaps", "new", "n")
    with Following(client, since) as found:
        found.until(("ADDED", "stays"), ("ADDED", "new"), ("SYNCED", ""),
                    ("ADDED", "short"), ("DELETED", "short"), ("DELETED", "goes"), ("ADDED", "new"))  # fmt: skip
        api.put("configmaps", "later", "n")
        found.until(("ADDED", "later"))
    assert watched(api)[0] == since


def test_a_version_that_the_server_has_forgotten_leaves_the_list(api: Api, client: Client) -> None:
    api.put("configmaps", "a", "n")
    since = str(api.version)
    api.put("configmaps", "b", "n")
    api.forget()
    with Following(client, since) as found:
        found.until(("ADDED", "a"), ("ADDED", "b"), ("SYNCED", ""))
        listed = found.told[-1][1]
        api.put("configmaps", "c", "n")
        found.until(("SYNCED", ""), ("ADDED", "c"))
    assert watched(api)[:2] == [since, listed]
    assert len([each for each in api.asked("GET", MAPS) if "watch" not in each.query]) == 1


def test_a_version_that_is_forgotten_while_it_is_told_leaves_the_list(api: Api, client: Client) -> None:
    """An etcd that is compacted says so in the stream."""
    api.put("configmaps", "a", "n")
    since = str(api.version)
    api.put("configmaps", "b", "n")
    api.lines.append(json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode())
    with Following(client, since) as found:
        found.until(("SYNCED", ""), ("ADDED", "b"))
        api.put("configmaps", "c", "n")
        found.until(("ADDED", "c"))
    assert found.error is None


@pytest.mark.parametrize("since", ["99999999", "not-a-number", "0"])
def test_a_version_of_another_cluster_is_none_of_this_one(api: Api, client: Client, since: str) -> None:
    api.put("configmaps", "a", "n")
    with Following(client, since) as found:
        found.until(("ADDED", "a"), ("SYNCED", ""))
        api.put("configmaps", "b", "n")
        found.until(("ADDED", "b"))
    assert "99999999" not in watched(api)


def test_bookmarks_are_told_and_gone_on_from(api: Api, client: Client) -> None:
    with Following(client) as found:
        found.until(("SYNCED", ""))
        api.say(json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "150"}}}).encode())
        found.until(("BOOKMARK", ""))
        assert found.told[-1] == ("BOOKMARK", "150")
        api.version = 150
        api.cut()
        api.put("configmaps", "b", "n")
        found.until(("ADDED", "b"))
    assert watched(api)[-1] == "150"


def test_what_went_unseen_later_is_told_with_metadata_alone(api: Api, client: Client) -> None:
    api.put("configmaps", "a", "n", data={"k": "v"})
    with Following(client) as found:
        found.until(("ADDED", "a"), ("SYNCED", ""))
        with api.changed:
            api.remove("configmaps", "a", "n")
            api.history.clear()
        api.forget()
        found.until(("SYNCED", ""), ("DELETED", "a"))


def test_only_what_is_chosen_is_told(api: Api, client: Client) -> None:
    for name in "ab":
        api.put("configmaps", name, "n")
    with Following(client, fields="metadata.name=b") as found:
        found.until(("ADDED", "b"), ("SYNCED", ""))
        for name in "ab":
            api.put("configmaps", name, "n")
        found.until(("SYNCED", ""), ("MODIFIED", "b"))


def test_a_refusal_ends_it(api: Api, client: Client) -> None:
    api.faults[f"GET {MAPS}"] = [refusal(403, "Forbidden", "not you")]
    with Following(client) as found:
        found.thread.join(10)
    assert found.error is not None
    assert "not you" in str(found.error)


def test_the_servers_time(client: Client) -> None:
    assert client.date() == ""  # this one says none
