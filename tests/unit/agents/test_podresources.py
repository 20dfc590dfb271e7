"""Who holds which device, asked of a kubelet that answers over a real socket."""

from __future__ import annotations

import base64
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter.podresources import Held, Kubelet
from plimsoll.errors import ClusterError

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
A, B = "GPU-b4895dbf-9350-2524-a89b-98161ddd9fe4", "MIG-9d14fb21-4ae1-546f-a636-011582899c39"
C = "MIG-0f709664-740c-52b0-ae79-3e4c9ede6d3b"

# Encoded by protoc's own code for the api.proto of kubernetes/kubelet@63b3249 (2026-07-23), every field of it in
# use: a pod with CPUs, memory and NUMA nodes, one with a share, one with MIG instances, one with a claim of two,
# one idle.
LIST = base64.b64decode(
    "CpsBCgl0cmFpbmVyLTASBnZpc2lvbhphCgRtYWluEkAKDm52aWRpYS5jb20vZ3B1EihHUFUtYjQ4OTVkYmYtOTM1MC0yNTI0LWE4OWItOTgx"
    "NjFkZGQ5ZmU0GgQKAggBEhIKCHJkbWEvaGNhEgZtbHg1XzAaAwECAxoJCgdzaWRlY2FyIgIBAioUCgZtZW1vcnkQgICAgAQaBAoCCAEKXQoK"
    "bm90ZWJvb2stYRIDbGFiGkoKAm5iEkQKFW52aWRpYS5jb20vZ3B1LnNoYXJlZBIrR1BVLWI0ODk1ZGJmLTkzNTAtMjUyNC1hODliLTk4MTYx"
    "ZGRkOWZlNDo6MwqCAQoFc2xpY2USA2xhYhp0CgFzEm8KFm52aWRpYS5jb20vbWlnLTFnLjEwZ2ISKE1JRy05ZDE0ZmIyMS00YWUxLTU0NmYt"
    "YTYzNi0wMTE1ODI4OTljMzkSK01JRy0wZjcwOTY2NC03NDBjLTUyYjAtYWU3OS0zZTRjOWVkZTZkM2I6OjEK7wEKB2NsYWltZXISA2xhYhre"
    "AQoBZCrYARIOY2xhaW1lci1ncHUteDcaA2xhYiJECiMKIWs4cy5ncHUubnZpZGlhLmNvbS9jbGFpbT0wYy1ncHUtMBIOZ3B1Lm52aWRpYS5j"
    "b20aBmgxMDAtMSIFZ3B1LTAiewofCh1rOHMuZ3B1Lm52aWRpYS5jb20vY2xhaW09MGMtYQofCh1rOHMuZ3B1Lm52aWRpYS5jb20vY2xhaW09"
    "MGMtYhIOZ3B1Lm52aWRpYS5jb20aBmgxMDAtMSIVZ3B1LTEtbWlnLTFnMTBnYi0xOS00Kgg1ZjlkM2MxZQoPCgRpZGxlEgdkZWZhdWx0"
)
ALLOCATABLE = base64.b64decode(
    "ChsKDm52aWRpYS5jb20vZ3B1EgVHUFUtYRoCCgAKHQoObnZpZGlhLmNvbS9ncHUSBUdQVS1iGgQKAggBChIKCHJkbWEvaGNhEgZtbHg1XzAS"
    "BAABAgMaEQoNaHVnZXBhZ2VzLTJNaRAE"
)


@contextmanager
def kubelet(listed: Answer | None = None, allocatable: Answer | None = None) -> Iterator[Path]:
    """A kubelet that serves what is given, as bytes; the rest it does not know."""
    given = {"List": listed, "GetAllocatableResources": allocatable}
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in given.items() if answer
    }
    with tempfile.TemporaryDirectory() as folder, futures.ThreadPoolExecutor(2) as pool:  # short enough for a socket
        path = Path(folder) / "kubelet.sock"
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers),))
        server.add_insecure_port(f"unix://{path}")
        server.start()
        try:
            yield path
        finally:
            server.stop(None).wait()


def test_whole_gpus_shares_instances_and_claims() -> None:
    with kubelet(lambda asked, _: LIST if asked == b"" else b"") as path:
        found = Kubelet(path).held()
    assert [(each.namespace, each.pod, each.container, each.resource, each.device) for each in found] == [
        ("vision", "trainer-0", "main", "nvidia.com/gpu", A),
        ("vision", "trainer-0", "main", "rdma/hca", "mlx5_0"),
        ("lab", "notebook-a", "nb", "nvidia.com/gpu.shared", f"{A}::3"),
        ("lab", "slice", "s", "nvidia.com/mig-1g.10gb", B),
        ("lab", "slice", "s", "nvidia.com/mig-1g.10gb", f"{C}::1"),
        ("lab", "claimer", "d", "gpu.nvidia.com", "gpu-0"),
        ("lab", "claimer", "d", "gpu.nvidia.com", "gpu-1-mig-1g10gb-19-4"),
    ]
    assert found[-1] == Held(
        namespace="lab", pod="claimer", container="d", resource="gpu.nvidia.com", device="gpu-1-mig-1g10gb-19-4",
        claim="lab/claimer-gpu-x7", pool="h100-1", share="5f9d3c1e",
        cdi=("k8s.gpu.nvidia.com/claim=0c-a", "k8s.gpu.nvidia.com/claim=0c-b"),
    )  # fmt: skip
    assert not found[0].claim


def test_what_may_be_given_out() -> None:
    with kubelet(allocatable=lambda *_: ALLOCATABLE) as path:
        assert Kubelet(path).allocatable() == {"nvidia.com/gpu": ["GPU-a", "GPU-b"], "rdma/hca": ["mlx5_0"]}


def test_a_node_with_nothing_on_it() -> None:
    with kubelet(lambda *_: b"", lambda *_: b"") as path:
        assert Kubelet(path).held() == []
        assert Kubelet(path).allocatable() == {}


def test_a_device_that_is_told_twice_is_held_once() -> None:
    with kubelet(lambda *_: LIST + LIST) as path:
        assert len(Kubelet(path).held()) == 7


def test_a_kubelet_that_is_away_and_comes_back(tmp_path: Path) -> None:
    lost = Kubelet(tmp_path / "kubelet.sock")
    with pytest.raises(ClusterError, match="does not answer") as caught:
        lost.held()
    assert caught.value.hint
    with kubelet(lambda *_: LIST) as path:
        lost.socket = path
        assert len(lost.held()) == 7


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "kubelet.sock").write_text("no socket")
    with pytest.raises(ClusterError, match="does not answer"):
        Kubelet(tmp_path / "kubelet.sock").held()


def test_a_kubelet_that_refuses_says_why() -> None:
    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit" + "!" * 5000)

    with (
        kubelet(refuse) as path,
        pytest.raises(ClusterError, match="resource exhausted: rejected by rate limit") as got,
    ):
        Kubelet(path).held()
    assert len(got.value.what) < 400


def test_an_older_kubelet_lacks_a_question() -> None:
    with kubelet(lambda *_: LIST) as path, pytest.raises(ClusterError, match="unimplemented"):
        Kubelet(path).allocatable()


def test_a_kubelet_that_takes_too_long() -> None:
    def stay(_: bytes, context: grpc.ServicerContext) -> bytes:
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait()
        return b""

    with kubelet(stay) as path, pytest.raises(ClusterError, match="deadline exceeded"):
        Kubelet(path, timeout=0.2).held()


def test_an_answer_that_is_too_long() -> None:
    with kubelet(lambda *_: bytes(17 << 20)) as path, pytest.raises(ClusterError, match="exhausted"):
        Kubelet(path).held()


@pytest.mark.parametrize("answer", [LIST[:-3], b"\xff" * 100, b"\x0a\x03\x0a\x01\xff", b"<html>"])
def test_an_answer_that_is_none(answer: bytes) -> None:
    with kubelet(lambda *_: answer) as path, pytest.raises(ClusterError, match="no list of pod resources"):
        Kubelet(path).held()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(LIST)), st.integers(0, len(LIST)))
def test_any_bytes_are_an_answer_or_an_error(noise: bytes, begin: int, end: int) -> None:
    said = LIST[:begin] + noise + LIST[end:]

    class Canned(Kubelet):
        def _bytes(self, method: str) -> bytes:
            return said

    try:
        found = Canned().held()
    except ClusterError:
        return
    assert all(isinstance(each.device, str) for each in found)


def test_a_later_kubelet_says_more() -> None:
    more = LIST + b"\xfa\x3f\x03new"  # field 1023 of the answer, which nobody has defined yet
    with kubelet(lambda *_: more) as path:
        assert len(Kubelet(path).held()) == 7
