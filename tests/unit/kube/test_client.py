"""Reading, writing and watching against a real HTTP server that speaks the API server's protocol."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import ClusterError, Exit, InputError
from plimsoll.kube import kinds
from plimsoll.kube.apply import NotApplied, apply_all
from plimsoll.kube.client import Client, Conflict, NotFound, NotYet, Refused, Unreachable
from plimsoll.kube.objects import Obj
from tests.unit.kube.realserver import MISSING, real_api_server
from tests.unit.kube.writable import Api, Fault, refusal, serving

CM = "v1/ConfigMap"
MAPS = "/api/v1/namespaces/n/configmaps"
QUEUES = [{"name": "clusterqueues", "kind": "ClusterQueue", "namespaced": False},
          {"name": "clusterqueues/status", "kind": "ClusterQueue", "namespaced": False}]  # fmt: skip


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as found:
        yield found


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept between tries; none of them really."""
    told: list[float] = []
    monkeypatch.setattr("plimsoll.kube.transport.sleep", told.append)
    monkeypatch.setattr("plimsoll.kube.watching._BACK_OFF", (0.0, 0.0))
    return told


@pytest.fixture
def client(api: Api, tmp_path: Path, pauses: list[float]) -> Iterator[Client]:
    with Client(kubeconfig(tmp_path, api.url)) as found:
        yield found


def kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "config"
    path.write_text(
        json.dumps({
            "current-context": "lab",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        })
    )  # fmt: skip
    return path


def config_map(name: str, space: str = "n", **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": space}, "data": data}


# Reading and writing


def test_apply_is_server_side(api: Api, client: Client) -> None:
    given = config_map("a", k="v")
    given["metadata"]["managedFields"] = [{"manager": "x"}]
    answer = client.apply(given)
    assert answer["metadata"]["uid"]
    client.apply(given, manager="m", force=False, dry_run=True)
    first, second = api.asked("PATCH")
    assert first.path == f"{MAPS}/a"
    assert first.headers["Content-Type"] == "application/apply-patch+yaml"
    assert first.query == {"fieldManager": "plimsoll-lab", "force": "true"}
    assert first.body == config_map("a", k="v")
    assert second.query == {"fieldManager": "m", "force": "false", "dryRun": "All"}
    assert given["metadata"]["managedFields"]


def test_create_replace_patch_delete(api: Api, client: Client) -> None:
    made = client.create(config_map("a"))
    with pytest.raises(Conflict, match="already exists") as caught:
        client.create(config_map("a"))
    assert caught.value.reason == "AlreadyExists"
    assert caught.value.where == "ConfigMap/n/a"
    assert caught.value.exit_code == Exit.UNREACHABLE
    now = client.replace(made | {"data": {"k": "v"}})
    with pytest.raises(Conflict, match="modified"):
        client.replace(made)
    for how, media in (("merge", "merge-patch"), ("strategic", "strategic-merge-patch"), ("json", "json-patch")):
        client.patch(CM, "a", {"data": {}}, how=how, subresource="status")  # type: ignore[arg-type]
        last = api.asked("PATCH")[-1]
        assert last.headers["Content-Type"] == f"application/{media}+json"
        assert last.path == f"{MAPS}/a/status"
    assert now["data"] == {"k": "v"}
    assert client.delete(CM, "a", grace=0, propagation="Foreground") is True
    assert api.asked("DELETE")[-1].body == {"propagationPolicy": "Foreground", "gracePeriodSeconds": 0}
    assert client.delete(CM, "a") is False
    assert api.asked("DELETE")[-1].body == {"propagationPolicy": "Background"}
    assert client.get(CM, "a") is None


def test_lists_have_pages_and_say_what_their_items_are(api: Api, client: Client) -> None:
    for number in range(20):
        api.put("configmaps", f"c{number}", "n" if number % 2 else "m")
    assert len(client.list(CM)) == 20
    assert [each.query["limit"] for each in api.asked("GET")] == ["500"] * 3
    found = client.list(kinds.CONFIG_MAP, "m", labels="a=b", fields="metadata.name=c4")
    assert [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in found] == [
        ("v1", "ConfigMap", "c4")
    ]
    assert api.asked("GET")[-1].query["labelSelector"] == "a=b"


def test_an_expired_list_starts_over_once(api: Api, client: Client) -> None:
    for number in range(9):
        api.put("configmaps", f"c{number}", "n")
    api.faults[f"GET {MAPS}"] = [Fault(410)]
    assert len(client.list(CM, "n")) == 9
    api.faults[f"GET {MAPS}"] = [Fault(410), Fault(410)]
    with pytest.raises(Refused) as caught:
        client.list(CM, "n")
    assert caught.value.status == 410


def test_post_path_raw(api: Api, client: Client) -> None:
    path = client.path(kinds.SERVICE_ACCOUNT, "default", subresource="token")
    assert path == "api/v1/namespaces/n/serviceaccounts/default/token"
    assert client.post(path, {"spec": {}}) == {"kind": "Posted", "to": "token", "body": {"spec": {}}}
    assert client.path("apps/v1/Deployment", namespace="x") == "apis/apps/v1/namespaces/x/deployments"
    assert client.path(kinds.NODE, "a b", "ignored") == "api/v1/nodes/a%20b"
    api.faults["GET /readyz"] = [Fault(200, b"ok")]
    assert client.raw("/readyz") == b"ok"
    with pytest.raises(NotFound):
        client.raw("/readyz")


def test_a_name_never_leads_to_another_path(api: Api, client: Client) -> None:
    for name in ("", ".", ".."):
        with pytest.raises(InputError):
            client.delete(CM, name, "n")
        with pytest.raises(InputError):
            client.get(kinds.NODE, name)
    api.put("clusterroles", "system:a/b")
    assert client.get(kinds.CLUSTER_ROLE, "system:a/b")
    assert api.asked("GET")[-1].path.endswith("/clusterroles/system%3Aa%2Fb")
    assert not api.asked("DELETE")


# Kinds


def test_kinds_that_come_at_run_time(api: Api, client: Client) -> None:
    queue = "kueue.x-k8s.io/v1beta9/ClusterQueue"
    for ask in (lambda: client.get(queue, "q"), lambda: client.list(queue), lambda: client.delete(queue, "q"),
                lambda: client.get(kinds.CLUSTER_QUEUE, "q"), lambda: client.get("v1/Confgmap", "x"),
                lambda: client.get("nvidia.com/v1/ClusterPolicy", "x")):  # fmt: skip
        with pytest.raises(NotFound, match="does not serve"):
            ask()
    api.discovery["kueue.x-k8s.io/v1beta9"] = api.discovery["kueue.x-k8s.io/v1beta1"] = QUEUES
    assert client.get(queue, "q") is None
    assert client.get(kinds.CLUSTER_QUEUE, "q") is None
    assert api.asked("GET")[-1].path == "/apis/kueue.x-k8s.io/v1beta1/clusterqueues/q"
    before = len(api.seen)
    assert client.list(queue) == []
    assert client.list(kinds.CLUSTER_QUEUE) == []
    assert len(api.seen) == before + 2  # discovery is asked once


# Refusals


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        (refusal(422, "Invalid", 'ConfigMap "a" is invalid: data.k: Required value'), "correct the field"),
        (refusal(403, "Forbidden", 'admission webhook "v.kueue.io" denied the request: no'), "named above"),
        (refusal(403, "Forbidden", 'configmaps is forbidden: User "u" cannot patch resource'), "auth can-i"),
        (refusal(403, "Forbidden", "exceeded quota: q, requested: pods=1"), "resourcequota"),
        (refusal(400, "BadRequest", "strict decoding error: unknown field"), "correct the field"),
        (refusal(500, "", "failed to create typed patch object (a): .x: field not declared"), "correct the field"),
    ],
)
def test_a_refusal_says_what_why_and_what_next(
    api: Api, client: Client, pauses: list[float], fault: Fault, hint: str
) -> None:
    api.faults[f"PATCH {MAPS}/a"] = [fault]
    with pytest.raises(Refused) as caught:
        client.apply(config_map("a"))
    said = json.loads(fault.body)
    assert caught.value.status == fault.status
    assert caught.value.reason == said["reason"]
    assert caught.value.message == said["message"]
    assert str(caught.value) == f"ConfigMap/n/a: {said['message']}"
    assert hint in caught.value.hint
    assert pauses == []


def test_a_webhook_that_is_not_up_is_waited_for_and_then_named(api: Api, client: Client) -> None:
    fault = refusal(500, "InternalError", 'failed calling webhook "mutate.kueue": connect: connection refused')
    api.faults[f"PATCH {MAPS}/a"] = [fault] * 3
    client.apply(config_map("a"))
    api.faults[f"PATCH {MAPS}/a"] = [fault] * 4
    with pytest.raises(Refused, match=r"mutate\.kueue") as caught:
        client.apply(config_map("a"))
    assert "is it running" in caught.value.hint


def test_what_is_no_answer_of_an_api_server(api: Api, client: Client) -> None:
    for body in (b"<html>login</html>", b"[1]", b"\xff", b"[" * 100_000):
        api.faults[f"GET {MAPS}/a"] = [Fault(200, body)]
        with pytest.raises(Unreachable, match="not JSON"):
            client.get(CM, "a")
        api.faults[f"GET {MAPS}/a"] = [Fault(418, body)]
        with pytest.raises(Refused, match="answered 418"):
            client.get(CM, "a")
    api.faults[f"GET {MAPS}/a"] = [Fault(401)]
    with pytest.raises(ClusterError, match="401"):
        client.get(CM, "a")


# Trying again


def test_retry_after_is_heeded(api: Api, client: Client, pauses: list[float]) -> None:
    api.put("configmaps", "a", "n")
    api.faults[f"GET {MAPS}/a"] = [Fault(429, headers={"Retry-After": "7"}), Fault(503, headers={"Retry-After": "900"})]
    assert client.get(CM, "a")
    assert pauses == [7.0, 10.0]


@pytest.mark.parametrize("statuses", [[500, 502, 504], [-1, -1, -1], [429, -1, 500]])
def test_what_is_safe_is_tried_again(api: Api, client: Client, pauses: list[float], statuses: list[int]) -> None:
    faults = [Fault(each) for each in statuses]
    api.faults[f"PATCH {MAPS}/a"] = list(faults)
    client.apply(config_map("a"))
    api.faults[f"GET {MAPS}/a"] = list(faults)
    assert client.get(CM, "a")
    api.faults[f"DELETE {MAPS}/a"] = list(faults)
    assert client.delete(CM, "a") is True
    assert pauses == [0.25, 1.0, 4.0] * 3


def test_tries_are_bounded(api: Api, client: Client) -> None:
    api.faults[f"GET {MAPS}/a"] = [Fault(-1)] * 9
    with pytest.raises(Unreachable, match="cannot reach"):
        client.get(CM, "a")
    assert len(api.asked("GET")) == 4


def test_what_is_not_safe_is_tried_once(api: Api, client: Client) -> None:
    made = client.create(config_map("z"))
    asks: list[tuple[str, Callable[[], Any]]] = [
        (f"POST {MAPS}", lambda: client.create(config_map("a"))),
        (f"PUT {MAPS}/z", lambda: client.replace(made)),
        (f"PATCH {MAPS}/z", lambda: client.patch(CM, "z", {})),
    ]
    for place, ask in asks:
        for fault in (Fault(-1), Fault(500)):
            api.faults[place] = [fault]
            before = len(api.seen)
            with pytest.raises(ClusterError):
                ask()
            assert len(api.seen) == before + 1
    api.faults[f"POST {MAPS}"] = [Fault(429)]  # an eviction that a budget forbids looks like this
    with pytest.raises(Refused):
        client.create(config_map("a"))
    api.faults[f"PUT {MAPS}/z"] = [Fault(429)]
    client.replace(made)


def test_a_refused_connection_is_tried_again_whatever_is_sent(tmp_path: Path, pauses: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with Client(kubeconfig(tmp_path, url)) as client, pytest.raises(Unreachable) as caught:
        client.create(config_map("a"))
    assert pauses == [0.25, 1.0, 4.0]
    assert caught.value.where == url.removeprefix("http://")


def test_a_proxy_is_not_for_loopback(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Client(kubeconfig(tmp_path, api.url)) as client:
        assert client.list(CM) == []


def test_sixteen_threads_and_as_many_watches(api: Api, client: Client) -> None:
    stop, told = threading.Event(), [set[str]() for _ in range(16)]

    def watch(names: set[str]) -> None:
        for _, obj in client.watch(CM, stop=stop):
            names.add(obj["metadata"]["name"])

    deadline = time.monotonic() + 30
    with ThreadPoolExecutor(32) as pool:
        watches = [pool.submit(watch, names) for names in told]
        list(pool.map(client.apply, [config_map(f"c{number}") for number in range(160)]))
        while any(len(names) < 160 for names in told) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for each in watches:
            each.result(10)
    assert all(len(names) == 160 for names in told)


# Watching


class Watching:
    """A watch in a thread of its own, and what it told."""

    def __init__(self, client: Client, **how: Any) -> None:
        self.told: list[tuple[str, str]] = []
        self.objects: list[Obj] = []
        self.stop = threading.Event()
        self.error: ClusterError | None = None
        self.thread = threading.Thread(target=self._run, args=(client, how))
        self.thread.start()

    def _run(self, client: Client, how: dict[str, Any]) -> None:
        try:
            for change, obj in client.watch(CM, "n", stop=self.stop, **how):
                self.objects.append(obj)
                self.told.append((change, obj["metadata"]["name"]))
        except ClusterError as error:
            self.error = error

    def until(self, *told: tuple[str, str]) -> None:
        deadline = time.monotonic() + 10
        while self.told[-len(told) :] != list(told):
            assert time.monotonic() < deadline, self.told
            assert self.thread.is_alive(), self.error
            time.sleep(0.01)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def watching(api: Api, client: Client) -> Iterator[Watching]:
    api.put("configmaps", "a", "n")
    api.put("configmaps", "elsewhere", "m")
    found = Watching(client)
    found.until(("ADDED", "a"))
    yield found
    found.end()
    assert found.error is None


def watches(api: Api) -> list[str]:
    return [each.query["resourceVersion"] for each in api.seen if each.query.get("watch")]


def test_a_watch_tells_changes(api: Api, client: Client, watching: Watching) -> None:
    client.apply(config_map("b", k="\u0085 and \u2028 end lines in text, not in JSON"))
    client.apply(config_map("b", k="v"))
    client.delete(CM, "b")
    client.apply(config_map("c", "m"))
    watching.until(("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b"))
    assert watching.objects[0]["kind"] == "ConfigMap"
    assert watching.objects[-1]["data"] == {"k": "v"}
    assert len(watches(api)) == 1


def test_a_dropped_connection_goes_on_where_it_was(api: Api, watching: Watching) -> None:
    api.put("configmaps", "b", "n")
    watching.until(("ADDED", "b"))
    at = str(api.version)
    api.faults[f"WATCH {MAPS}"] = [Fault(-1), Fault(503), Fault(429), Fault(200, b"")]
    api.cut()
    api.put("configmaps", "b", "n")
    watching.until(("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"))
    assert watches(api)[1:] == [at] * 5
    assert len(api.asked("GET", "configmaps")) == 7  # one list


def test_a_bookmark_moves_on_without_a_word(api: Api, watching: Watching) -> None:
    api.say(json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "150"}}}).encode())
    deadline = time.monotonic() + 10
    while api.lines and time.monotonic() < deadline:
        time.sleep(0.01)
    api.version = 150
    api.cut()
    api.put("configmaps", "b", "n")
    watching.until(("ADDED", "a"), ("ADDED", "b"))
    assert watches(api)[-1] == "150"


@pytest.mark.parametrize("how", ["status", "event"])
def test_what_went_unseen_is_told_after_a_relist(api: Api, watching: Watching, how: str) -> None:
    for name in ("gone", "same", "changed", "reborn"):
        api.put("configmaps", name, "n", spec={"big": "x"})
    watching.until(("ADDED", "reborn"))
    with api.changed:  # nothing of this is watched
        for name in ("gone", "reborn"):
            api.remove("configmaps", name, "n")
        for name in ("changed", "reborn", "new"):
            api.put("configmaps", name, "n")
        api.history.clear()
        if how == "event":
            api.lines.append(json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode())
        api.changed.notify_all()
    if how == "status":
        api.forget()
    watching.until(
        ("DELETED", "gone"), ("DELETED", "reborn"), ("MODIFIED", "changed"), ("ADDED", "reborn"), ("ADDED", "new")
    )
    gone = watching.objects[-5]
    assert gone["metadata"]["uid"]
    assert "spec" not in gone
    api.put("configmaps", "after", "n")
    watching.until(("ADDED", "new"), ("ADDED", "after"))


def test_garbage_is_gone_over(api: Api, watching: Watching) -> None:
    for line in (b"<html>", b"{", b"[]", b"\xff\xfe", b"", b'{"type": "NEW", "object": {}}'):
        api.say(line)
        time.sleep(0.05)
    api.put("configmaps", "b", "n")
    watching.until(("ADDED", "a"), ("ADDED", "b"))


def test_a_refused_watch_ends_with_the_refusal(api: Api, client: Client) -> None:
    api.faults[f"WATCH {MAPS}"] = [refusal(403, "Forbidden", "u cannot watch")]
    with pytest.raises(Refused, match="cannot watch"):
        list(client.watch(CM, "n", timeout=5))


def test_a_server_that_stays_away(api: Api, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.kube.watching._PATIENCE", 0.3)
    monkeypatch.setattr("plimsoll.kube.watching._BACK_OFF", (0.1, 0.1))
    api.faults[f"WATCH {MAPS}"] = [Fault(-1)] * 99
    with pytest.raises(Unreachable, match="lost the cluster"):
        list(client.watch(CM, "n", timeout=20))
    api.faults[f"WATCH {MAPS}"] = [Fault(200, b"<html>\n")] * 99
    with pytest.raises(Unreachable, match="no stream of events"):
        list(client.watch(CM, "n", timeout=20))


def test_a_watch_ends_when_told_by_anyone(api: Api, client: Client) -> None:
    began = time.monotonic()
    assert list(client.watch(CM, "n", timeout=0.3)) == []
    assert 0.3 <= time.monotonic() - began < 8
    watch = Watching(client)
    time.sleep(0.2)
    began = time.monotonic()
    watch.end()
    assert time.monotonic() - began < 8
    watch = Watching(client)
    time.sleep(0.2)
    client.close()
    watch.end()
    assert watch.error is None


# Waiting


def test_wait_returns_what_it_waited_for(api: Api, client: Client) -> None:
    api.put("configmaps", "other", "n")
    threading.Timer(0.2, lambda: client.apply(config_map("a", k="1"))).start()
    threading.Timer(0.4, lambda: client.apply(config_map("a", k="2"))).start()
    assert client.wait(CM, "a", until=lambda obj: bool(obj and obj["data"]["k"] == "2"), timeout=10)["data"] == {
        "k": "2"
    }
    assert client.wait(CM, "a", "n", timeout=1)["metadata"]["name"] == "a"
    threading.Timer(0.2, lambda: client.delete(CM, "a")).start()
    assert client.wait(CM, "a", until=lambda obj: obj is None, timeout=10) == {}


def test_wait_says_what_was_last_seen(api: Api, client: Client) -> None:
    with pytest.raises(NotYet, match=r"ConfigMap/n/a: waited 0\.2 s in vain; last seen: absent"):
        client.wait(CM, "a", "n", timeout=0.2)
    condition = {"type": "Ready", "status": "False", "reason": "Slow", "message": "no image"}
    api.put("configmaps", "a", "n", status={"phase": "Pending", "conditions": [condition]})
    with pytest.raises(NotYet, match=r"last seen: Pending, Ready=False \(Slow: no image\)"):
        client.wait(CM, "a", "n", lambda _obj: False, 0.2)
    with pytest.raises(NotYet, match="does not serve its kind"):
        client.wait("x.y/v1/Z", "a", timeout=0.2)


def test_wait_includes_the_kind(api: Api, client: Client) -> None:
    def define() -> None:
        api.discovery["kueue.x-k8s.io/v1beta2"] = QUEUES
        api.put("clusterqueues", "q")

    threading.Timer(0.3, define).start()
    assert client.wait(kinds.CLUSTER_QUEUE, "q", timeout=10)["metadata"]["name"] == "q"


# Applying many


def test_apply_all_goes_in_order_and_collects_refusals(api: Api, client: Client) -> None:
    crd: Obj = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": "clusterqueues.kueue.x-k8s.io"}}  # fmt: skip
    queue = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": "q"}}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    many = [config_map(f"c{number}") for number in range(20)]

    def establish() -> None:
        established = {"conditions": [{"type": "Established", "status": "True"}]}
        api.put("customresourcedefinitions", crd["metadata"]["name"], status=established)
        time.sleep(0.2)  # as in a real server, the kind is served a little later
        api.discovery["kueue.x-k8s.io/v1beta2"] = QUEUES

    threading.Timer(0.2, establish).start()
    assert len(apply_all(client, [*many, queue, crd, space])) == 23
    order = [each.path.split("/")[-2] for each in api.asked("PATCH")]
    assert order[:2] == ["namespaces", "customresourcedefinitions"]
    for number in range(7):
        api.faults[f"PATCH {MAPS}/c{number}"] = [refusal(422, "Invalid", f"c{number} is odd")]
    before = len(api.asked("PATCH"))
    with pytest.raises(NotApplied) as caught:
        apply_all(client, many)
    assert len(caught.value.errors) == 7
    assert "7 of 20 objects" in str(caught.value)
    assert "c0 is odd" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert len(api.asked("PATCH")) == before + 20


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_a_real_api_server(tmp_path: Path) -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                 "versions": [{"name": "v1", "served": True, "storage": True,
                               "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    }  # fmt: skip
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "n"}}
    with real_api_server(tmp_path / "server") as config, Client(config) as client:
        apply_all(client, [thing, crd, space, *(config_map(f"c{number}") for number in range(600))])
        assert client.get("example.com/v1/Thing", "t", "n")
        assert len(client.list(CM, "n")) == 600  # two pages
        watch = Watching(client)
        watch.until(("ADDED", "c99"))  # the last one by name
        client.patch(CM, "c1", {"data": {"k": "v"}}, "n")
        client.delete(CM, "c2", "n")
        watch.until(("MODIFIED", "c1"), ("DELETED", "c2"))
        watch.end()
        with pytest.raises(Conflict, match="conflict with"):
            client.apply(config_map("c1", k="w"), force=False)
        assert client.apply(config_map("c1", k="w"))["data"] == {"k": "w"}
        with pytest.raises(Refused, match="not declared in schema"):
            client.apply(config_map("c1") | {"bogus": 1})
        with pytest.raises(Refused, match=r"spec\.template\.spec\.containers: Required"):
            client.apply({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}},
            })  # fmt: skip
        with pytest.raises(NotFound, match='namespaces "m" not found'):
            client.apply(config_map("c", "m"))
