"""The lab's certificates: they verify against their authority only, for the hosts they name."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from plimsoll.lab.run.pki import Authority, Pair, kubeconfig, signing_key


def _handshake(server: Pair, trusted: Path, host: str) -> str:
    """The common name that a client which trusts `trusted` sees."""
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(server.cert, server.key)
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with accepting.wrap_socket(far, server_side=True) as call:
                call.recv(1)
        except (ssl.SSLError, OSError):
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ssl.create_default_context(cafile=str(trusted)).wrap_socket(near, server_hostname=host) as call:
            subject = dict(entry[0] for entry in call.getpeercert()["subject"])  # type: ignore[index, misc]
            call.sendall(b".")
            return str(subject["commonName"])
    finally:
        near.close()
        thread.join()


def test_a_certificate_is_good_for_its_hosts_and_its_authority(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "a", "ca"), Authority(tmp_path / "b", "ca")
    server = ours.sign("server", "kube-apiserver", hosts=("localhost", "127.0.0.1"))
    assert _handshake(server, ours.files.cert, "localhost") == "kube-apiserver"
    assert _handshake(server, ours.files.cert, "127.0.0.1") == "kube-apiserver"
    with pytest.raises(ssl.SSLError):
        _handshake(server, theirs.files.cert, "localhost")
    with pytest.raises(ssl.SSLError):
        _handshake(server, ours.files.cert, "example.com")


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pair = authority.sign("user", "someone", groups=("system:masters",))
    config = kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", authority.pem, pair=pair)
    for path in (authority.files.key, pair.key, signing_key(tmp_path, "tokens").key, config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
