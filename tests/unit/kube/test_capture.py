"""Live capture against a real HTTP server that speaks the API server's protocol."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.check.run import review
from plimsoll.errors import ClusterError, Exit, InputError
from plimsoll.kube import kinds
from plimsoll.kube.capture import capture
from plimsoll.kube.snapshot import Coverage, Snapshot
from plimsoll.pillars import all_checks
from tests import recorded
from tests.unit.kube.apiserver import TOKEN, Server, serving

HEALTHY = Path(__file__).parents[3] / "examples" / "lab" / "healthy.json.gz"
ITEMS = json.loads(gzip.decompress(HEALTHY.read_bytes()))["items"]
Capture = Callable[..., Snapshot]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(ITEMS) as found:
        yield found


def kubeconfig(path: Path, url: str, token: str = TOKEN, **cluster: Any) -> Path:
    path.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
            "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u"}},
                         {"name": "lost", "context": {"cluster": "nowhere", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": token}}],
        })
    )  # fmt: skip
    return path


@pytest.fixture
def take(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Capture:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("plimsoll.kube.capture.sleep", lambda _seconds: None)
    config = kubeconfig(tmp_path / "config", server.url)
    return lambda **more: capture(kubeconfig=config, **more)


def test_the_live_cluster_is_judged_as_its_recording(server: Server, take: Capture) -> None:
    live = take()
    assert live.source.form == "live"
    assert live.source.place == "lab"
    assert live.unread == ()
    assert live.whole(*kinds.ALL)
    assert live.taken_at is not None
    known = {kind.kind for kind in kinds.ALL}
    assert len(live) == sum(each["kind"] in known for each in ITEMS)
    then = recorded.whole(ITEMS)
    now = Snapshot(live, source=live.source, taken_at=then.taken_at, coverage=dict.fromkeys(kinds.ALL, Coverage.WHOLE))

    def judged(snapshot: Snapshot) -> list[tuple[str, str, str]]:
        answer = review(snapshot, all_checks())
        assert not answer.broken
        return sorted((each.check.id, str(each.finding.object), each.finding.title) for each in answer.judgements)

    assert judged(now) == judged(then)


def test_only_get_is_ever_sent(server: Server, take: Capture) -> None:
    take()
    assert {method for method, _ in server.seen} == {"GET"}
    assert any("continue=" in path for _, path in server.seen)


def test_objects_are_redacted_as_they_arrive(server: Server, take: Capture) -> None:
    server.lists["/api/v1/secrets"].append({"metadata": {"name": "s", "namespace": "n"}, "data": {"k": "c2VjcmV0"}})
    secret = take().get(kinds.SECRET, "s", "n")
    assert secret is not None
    assert secret["data"] == {"k": ""}


def test_a_refused_kind_is_unread_and_the_rest_goes_on(server: Server, take: Capture) -> None:
    server.always["/api/v1/secrets"] = 403
    server.always["/apis/apps/v1/deployments"] = 500
    server.bodies["/api/v1/services"] = b"<html>proxy</html>"
    snapshot = take()
    reasons = {each.kind: each.reason for each in snapshot.unread}
    assert reasons == {
        kinds.SECRET: "forbidden: the account may not list secrets",
        kinds.DEPLOYMENT: "the API server answered 500",
        kinds.SERVICE: "the answer is not JSON of an API server",
    }
    assert snapshot.coverage(kinds.SECRET) is Coverage.UNREAD
    assert snapshot.whole(kinds.POD, kinds.NODE)


def test_an_expired_list_starts_over_once(server: Server, take: Capture) -> None:
    pods = sum(each["kind"] == "Pod" for each in ITEMS)
    server.faults["/api/v1/pods"] = [410]
    assert len(take().list(kinds.POD)) == pods
    server.always["/api/v1/pods"] = 410
    snapshot = take()
    assert snapshot.why_unread(kinds.POD) == "the list expired twice while it was read"
    assert snapshot.list(kinds.POD) == ()


@pytest.mark.parametrize("faults", [[500, 500], [429, 503, 504], [-1, -1]])
def test_a_busy_server_is_asked_again(server: Server, take: Capture, faults: list[int]) -> None:
    server.faults["/api/v1/nodes"] = list(faults)
    snapshot = take()
    assert len(snapshot.list(kinds.NODE)) == 9
    asked = [path for _, path in server.seen if path.startswith("/api/v1/nodes")]
    assert len(asked) == len(faults) + 2  # nine nodes are two pages


def test_tries_are_bounded(server: Server, take: Capture) -> None:
    server.always["/api/v1/nodes"] = -1
    assert take().why_unread(kinds.NODE).startswith("the connection failed")
    assert sum(path.startswith("/api/v1/nodes") for _, path in server.seen) == 4


def test_what_is_not_served_is_whole_and_empty(server: Server, take: Capture) -> None:
    server.always["/apis/keda.sh/v1alpha1"] = 404  # listed as a group, gone when asked
    server.always["/apis/policy/v1/poddisruptionbudgets"] = 404
    snapshot = take()
    assert snapshot.whole(kinds.NODE_POOL, kinds.SCALED_OBJECT, kinds.PDB)
    assert not snapshot.list(kinds.SCALED_OBJECT)
    assert not any("karpenter.sh" in path for _, path in server.seen)


def test_the_newest_version_that_is_served(server: Server, take: Capture) -> None:
    old = [each | {"spec": {"cohort": "x"}} for each in server.lists["/apis/kueue.x-k8s.io/v1beta2/clusterqueues"]]
    server.lists["/apis/kueue.x-k8s.io/v1beta1/clusterqueues"] = old
    assert {each["apiVersion"] for each in take().list(kinds.CLUSTER_QUEUE)} == {"kueue.x-k8s.io/v1beta2"}
    del server.lists["/apis/kueue.x-k8s.io/v1beta2/clusterqueues"]
    assert {each["apiVersion"] for each in take().list(kinds.CLUSTER_QUEUE)} == {"kueue.x-k8s.io/v1beta1"}


def test_a_version_we_do_not_know_is_unread(server: Server, take: Capture) -> None:
    server.lists["/apis/karpenter.sh/v2/nodepools"] = [{"metadata": {"name": "x"}}]
    snapshot = take()
    assert snapshot.coverage(kinds.NODE_POOL) is Coverage.UNREAD
    assert "served as v2 only" in snapshot.why_unread(kinds.NODE_POOL)


def test_without_discovery_every_kind_is_asked_for(server: Server, take: Capture) -> None:
    server.always["/apis"] = 403
    snapshot = take()
    assert snapshot.whole(*kinds.ALL)
    assert len(snapshot.list(kinds.CLUSTER_QUEUE)) == 2


def test_progress_is_told(take: Capture) -> None:
    told: list[tuple[str, int, int]] = []
    take(progress=lambda *step: told.append(step))
    assert told[0] == ("nodes", 0, len(kinds.ALL))
    assert told[-1] == ("done", len(kinds.ALL), len(kinds.ALL))


def fails(error: type[ClusterError | InputError], says: str, **how: Any) -> None:
    with pytest.raises(error) as caught:
        capture(**how)
    text = f"{caught.value} {caught.value.hint}"
    assert says in text
    assert caught.value.hint or caught.value.where
    for secret in (TOKEN, "wrong-token", "hunter2"):
        assert secret not in text


def test_what_ends_with_one_error(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    good = kubeconfig(tmp_path / "good", server.url)
    fails(ClusterError, "401", kubeconfig=kubeconfig(tmp_path / "a", server.url, "wrong-token"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    fails(ClusterError, "cannot reach", kubeconfig=kubeconfig(tmp_path / "b", f"http://u:hunter2@127.0.0.1:{port}"))
    fails(ClusterError, "cannot reach", kubeconfig=kubeconfig(tmp_path / "t", server.url.replace("http", "https")))
    server.always["/apis"] = 404
    fails(ClusterError, "no Kubernetes", kubeconfig=good)
    server.always["/apis"] = 302
    fails(ClusterError, "302", kubeconfig=good)
    fails(InputError, "no context prod", kubeconfig=good, context="prod")
    fails(InputError, "not there", kubeconfig=good, context="lost")
    fails(InputError, "no such kubeconfig", kubeconfig=tmp_path / "none")
    broken = kubeconfig(tmp_path / "d", server.url, **{"certificate-authority": "/nonexistent/ca.crt"})
    fails(InputError, "cannot be used", kubeconfig=broken)
    for number, content in enumerate((b"\xff\xfe\x00", b"token: hunter2: [", b"[]", b"clusters: 5", b"contexts: [x]")):
        path = tmp_path / f"odd{number}"
        path.write_bytes(content)
        fails(InputError, "not a kubeconfig", kubeconfig=path)


def test_a_credential_command_that_fails(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for command, args, says in (
        ("/nonexistent/login", [], "/nonexistent/login"),
        ("sh", ["-c", "echo hunter2 >&2; exit 3"], "Exec sh returned 3"),
        ("echo", ["hunter2"], "printed no token"),
    ):
        path = kubeconfig(tmp_path / "exec", server.url)
        config = json.loads(path.read_text())
        how = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": command, "args": args}
        config["users"][0]["user"] = {"exec": how}
        path.write_text(json.dumps(config))
        fails(ClusterError, says, kubeconfig=path)


def test_where_the_kubeconfig_comes_from(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ClusterError) as caught:
        capture()
    assert caught.value.exit_code == Exit.UNREACHABLE
    assert "--kubeconfig" in caught.value.hint
    (tmp_path / ".kube").mkdir()
    path = kubeconfig(tmp_path / ".kube" / "config", server.url)
    assert len(capture().list(kinds.NODE)) == 9
    empty = tmp_path / "empty"
    empty.write_text("{clusters: [], contexts: [], users: []}")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(empty), str(path)]))
    assert capture(context="lab").source.place == "lab"
    monkeypatch.setenv("KUBECONFIG", str(empty))
    with pytest.raises(InputError):
        capture()
