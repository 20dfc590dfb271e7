"""Capture from a real API server, as its administrator and as somebody who may read a little."""

from __future__ import annotations

import base64
from pathlib import Path

from plimsoll.kube import kinds
from plimsoll.kube.capture import capture
from plimsoll.kube.pack import save
from plimsoll.kube.store import open_snapshot
from plimsoll.lab.run.pki import kubeconfig
from tests.lab.conftest import Lab

SECRET = "do-not-let-this-out"


def test_everything_is_read_and_no_secret_value_leaves(lab: Lab, space: str, tmp_path: Path) -> None:
    data = {"password": base64.b64encode(SECRET.encode()).decode()}
    lab.client.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": space}, "data": data}
    )
    snapshot = capture(kubeconfig=lab.folder.kubeconfig)
    assert snapshot.unread == ()
    assert snapshot.whole(*kinds.ALL)
    assert snapshot.get(kinds.CLUSTER_ROLE, "cluster-admin")
    assert snapshot.get(kinds.SECRET, "s", space)
    file = tmp_path / "lab.plimsoll"
    save(snapshot, file)
    again = open_snapshot(file)
    assert len(again.list(kinds.NODE)) == len(lab.client.list("v1/Node"))
    assert SECRET.encode() not in repr(again.get(kinds.SECRET, "s", space)).encode()


def test_what_an_account_may_not_read_is_unread(lab: Lab, space: str, tmp_path: Path) -> None:
    lab.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": space}})
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": f"{space}-nodes"}}
    lab.client.apply({**role, "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]})
    binding = {**role, "kind": "ClusterRoleBinding"}
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{space}-nodes"}
    who = [{"kind": "ServiceAccount", "name": "reader", "namespace": space}]
    lab.client.apply({**binding, "roleRef": to, "subjects": who})
    answer = lab.client.post(f"/api/v1/namespaces/{space}/serviceaccounts/reader/token", {"spec": {}})
    authority = (lab.folder.pki / "ca.crt").read_bytes()
    server = f"https://127.0.0.1:{lab.state.doors['api-server']}"
    config = kubeconfig(tmp_path / "reader", server, authority, token=answer["status"]["token"])
    snapshot = capture(kubeconfig=config)
    assert snapshot.whole(kinds.NODE)
    assert not snapshot.whole(kinds.POD)
    assert any(each.kind is kinds.POD and "forbidden" in each.reason.lower() for each in snapshot.unread)
