"""A real API server on loopback, where its programs are to be had."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plimsoll.errors import ClusterError
from plimsoll.kube.client import Client

_TOKEN = "token-of-the-real-server"


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"]]))


MISSING = (
    ""
    if _program("kube-apiserver") and _program("etcd") and shutil.which("openssl")
    else "needs kube-apiserver, etcd and openssl: put them on PATH or into $KUBEBUILDER_ASSETS (setup-envtest does)"
)


@contextmanager
def real_api_server(folder: Path) -> Iterator[Path]:
    """The kubeconfig of its administrator. No controllers run, so nothing happens by itself."""
    folder.mkdir()
    store, peer, port = _free_port(), _free_port(), _free_port()
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{_TOKEN},admin,1,system:masters\n")
    commands: list[list[object]] = [
        [_program("etcd"), "--data-dir", folder / "etcd", "--unsafe-no-fsync",
         f"--listen-client-urls=http://127.0.0.1:{store}", f"--advertise-client-urls=http://127.0.0.1:{store}",
         f"--listen-peer-urls=http://127.0.0.1:{peer}"],
        [_program("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{store}", f"--secure-port={port}",
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
