"""A lab's network: nothing outside sees it but through its doors, and a socket made before stays outside."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from plimsoll.errors import LabError
from plimsoll.lab.run import network

_INSIDE = """
    import socket, sys
    from plimsoll.lab.run.network import Network
    network = Network(("door",))
    if not network.own:
        print("shared")
        sys.exit()
    hidden = socket.create_server(("0.0.0.0", 0))
    print(hidden.getsockname()[1], network.doors["door"], network.cidr, network.api_address, flush=True)
    call, _ = network.outside("door").accept()
    call.sendall(b"from inside")
    call.close()
    sys.stdin.readline()
"""


@pytest.fixture
def inside() -> Iterator[subprocess.Popen[str]]:
    code = textwrap.dedent(_INSIDE)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_only_doors_lead_in(inside: subprocess.Popen[str]) -> None:
    assert inside.stdout
    said = inside.stdout.readline().split()
    if said == ["shared"]:
        pytest.skip("this kernel does not let us make a network namespace; run as root or allow user namespaces")
    hidden, door, cidr, address = said
    assert (cidr, address) == ("127.96.0.0/16", "127.96.0.1")
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(hidden)), timeout=2):
        pass
    with socket.create_connection(("127.0.0.1", int(door)), timeout=5) as call:
        assert call.recv(100) == b"from inside"


def test_two_labs_on_one_loopback_get_two_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_isolate", lambda: False)
    try:
        first, second = network.Network(("a",)), network.Network(("a",))
    except LabError as error:
        pytest.skip(f"{error}: {error.hint}")
    assert first.prefix != second.prefix
    assert first.doors != second.doors
    assert first.port("a") == first.doors["a"]
    ports = {first.port() for _ in range(50)}
    assert len(ports) == 50
    for each in (first, second):
        each.api_listener.close()
        each.release()


def test_without_namespace_and_root_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(address: str, port: int) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(network, "_isolate", lambda: False)
    monkeypatch.setattr(network, "_listener", refused)
    with pytest.raises(LabError) as caught:
        network.Network(())
    assert "root" in caught.value.hint
