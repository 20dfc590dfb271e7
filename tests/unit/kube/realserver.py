"""A real API server on loopback, where its programs are to be had."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plimsoll.errors import ClusterError, LabError
from plimsoll.kube.client import Client
from plimsoll.lab.build import found
from plimsoll.lab.run.pki import signing_key

_TOKEN = "token-of-the-real-server"


PROGRAMS: found.Programs | None = None
MISSING = ""
try:  # now, before a test changes where home is
    PROGRAMS = found.find()
except LabError as error:
    MISSING = f"{error}; {error.hint}"


@contextmanager
def real_api_server(folder: Path) -> Iterator[Path]:
    """The kubeconfig of its administrator. No controllers run, so nothing happens by itself."""
    folder.mkdir()
    store, peer, port = _free_port(), _free_port(), _free_port()
    assert PROGRAMS is not None, MISSING
    key = signing_key(folder, "sa").key
    (folder / "tokens.csv").write_text(f"{_TOKEN},admin,1,system:masters\n")
    commands: list[list[object]] = [
        [PROGRAMS.path("etcd"), "--data-dir", folder / "etcd", "--unsafe-no-fsync",
         f"--listen-client-urls=http://127.0.0.1:{store}", f"--advertise-client-urls=http://127.0.0.1:{store}",
         f"--listen-peer-urls=http://127.0.0.1:{peer}"],
        [PROGRAMS.path("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{store}", f"--secure-port={port}",
         "--bind-address=127.0.0.1", f"--cert-dir={folder}", "--service-account-issuer=https://localhost",
         f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
         f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC",
         "--service-cluster-ip-range=10.0.0.0/24"],
    ]  # fmt: skip
    running = [
        subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    config = _kubeconfig(folder / "config", port)
    try:
        _await(config)
        yield config
    finally:
        for each in reversed(running):
            each.terminate()
            each.wait(30)


def _kubeconfig(path: Path, port: int) -> Path:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    path.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": _TOKEN}}],
        })
    )  # fmt: skip
    return path


def _await(config: Path) -> None:
    deadline = time.monotonic() + 90
    with Client(config) as client:
        while True:
            try:
                client.raw("/readyz")
                if client.get("v1/Namespace", "default"):
                    return
            except ClusterError:
                pass
            assert time.monotonic() < deadline, "the API server did not start"
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
