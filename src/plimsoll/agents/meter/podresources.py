"""Which container holds which device, as the kubelet says: its pod-resources API, v1, over a socket of the node.

The messages are described here as far as they are read; protobuf skips the rest, so later versions are read too. Names
and numbers of fields: kubelet/pkg/apis/podresources/v1/api.proto of Kubernetes 1.36 (`claim_resources` since 1.27).

The kubelet before 1.34 goes on to list pods that have ended: what it says counts only while the pod lives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from plimsoll.errors import ClusterError

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
_SERVICE = "/v1.PodResourcesLister/"
_LARGEST = 16 << 20  # bytes of an answer; a node of 250 pods says some hundred thousand
_HINT = "Mount the node's /var/lib/kubelet/pod-resources into the pod, and run it as root"

# Message: (field, number, type); `*` behind a type is a list of it.
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "ListPodResourcesResponse": (("pod_resources", 1, "PodResources*"),),
    "AllocatableResourcesResponse": (("devices", 1, "ContainerDevices*"),),
    "PodResources": (("name", 1, ""), ("namespace", 2, ""), ("containers", 3, "ContainerResources*")),
    "ContainerResources": (
        ("name", 1, ""), ("devices", 2, "ContainerDevices*"), ("dynamic_resources", 5, "DynamicResource*"),
    ),
    "ContainerDevices": (("resource_name", 1, ""), ("device_ids", 2, "*")),
    "DynamicResource": (
        ("claim_name", 2, ""), ("claim_namespace", 3, ""), ("claim_resources", 4, "ClaimResource*"),
    ),
    "ClaimResource": (
        ("cdi_devices", 1, "CDIDevice*"), ("driver_name", 2, ""), ("pool_name", 3, ""), ("device_name", 4, ""),
        ("share_id", 5, ""),
    ),
    "CDIDevice": (("name", 1, ""),),
}  # fmt: skip


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A container holds a device. resource: as it was asked for (`nvidia.com/gpu`), or the DRA driver.

    device: its name. Of DRA only: claim `namespace/name`, pool of the device, share of it, CDI names of what the
    container was given.
    """

    namespace: str
    pod: str
    container: str
    resource: str
    device: str
    claim: str = ""
    pool: str = ""
    share: str = ""
    cdi: tuple[str, ...] = ()


class Kubelet:
    """The kubelet of this node. Each question is a connection of its own: a kubelet that restarts makes a new socket.

    Errors: ClusterError, where it is away, refuses, says what is no answer or more than 16 MiB; asking again is safe.
    """

    def __init__(self, socket: Path = SOCKET, *, timeout: float = 10.0) -> None:
        self.socket, self.timeout = socket, timeout

    def held(self) -> list[Held]:
        """Every device that a container of this node holds, each once, in the kubelet's order."""
        answer = self._ask("List", "ListPodResourcesResponse")
        found: dict[Held, None] = {}
        for pod in answer.pod_resources:
            for container in pod.containers:
                found.update(dict.fromkeys(_held(pod, container)))
        return list(found)

    def allocatable(self) -> dict[str, list[str]]:
        """The names of all devices that device plugins offer, by resource. Those of DRA are in ResourceSlices."""
        found: dict[str, list[str]] = {}
        for each in self._ask("GetAllocatableResources", "AllocatableResourcesResponse").devices:
            found.setdefault(each.resource_name, []).extend(each.device_ids)
        return found

    def _ask(self, method: str, kind: str) -> Any:
        try:
            return _TYPES[kind].FromString(self._bytes(method))
        except DecodeError:
            raise ClusterError("what the kubelet answers is no list of pod resources", where=str(self.socket)) from None

    def _bytes(self, method: str) -> bytes:
        options = [
            ("grpc.max_receive_message_length", _LARGEST),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),  # else it waits as long as after the last failure
        ]
        with grpc.insecure_channel(f"unix://{self.socket.absolute()}", options=options) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SERVICE + method)
            try:
                return call(b"", timeout=self.timeout)
            except grpc.RpcError as error:
                raise self._error(error) from None

    def _error(self, error: grpc.RpcError) -> ClusterError:
        code, said = (error.code(), error.details() or "") if isinstance(error, grpc.Call) else (None, str(error))
        if code is grpc.StatusCode.UNAVAILABLE:
            return ClusterError("the kubelet does not answer", where=str(self.socket), hint=_HINT)
        name = code.name.lower().replace("_", " ") if code else "failed"
        return ClusterError(f"the kubelet's pod resources cannot be read: {name}: {said[:200]}", where=str(self.socket))


def _held(pod: Any, container: Any) -> list[Held]:
    common = {"namespace": pod.namespace, "pod": pod.name, "container": container.name}
    plain = [
        Held(**common, resource=each.resource_name, device=device)
        for each in container.devices
        for device in each.device_ids
    ]
    claimed = [
        Held(
            **common, resource=each.driver_name, device=each.device_name,
            claim=f"{claim.claim_namespace}/{claim.claim_name}", pool=each.pool_name, share=each.share_id,
            cdi=tuple(cdi.name for cdi in each.cdi_devices),
        )
        for claim in container.dynamic_resources
        for each in claim.claim_resources
    ]  # fmt: skip
    return plain + claimed


def _types() -> dict[str, type[Message]]:
    """The classes of the messages, of a pool of their own: other packages may bring the same file."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package="v1", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for key, number, kind in fields:
            entry = message.field.add(name=key, number=number)
            entry.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            entry.type = field.TYPE_MESSAGE if kind.strip("*") else field.TYPE_STRING
            if kind.strip("*"):
                entry.type_name = f".v1.{kind.strip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1.{name}")) for name in _MESSAGES}


_TYPES = _types()
