"""What an add-on needs of the lab: the API server, processes, Services that lead to them, tokens, mounted Secrets."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from plimsoll.errors import ClusterError, LabError
from plimsoll.kube.client import Client
from plimsoll.kube.files import whole
from plimsoll.kube.objects import Obj, mapping, name, namespace, text
from plimsoll.lab.build.found import Programs
from plimsoll.lab.run.controlplane import ControlPlane
from plimsoll.lab.run.forward import Forwarder
from plimsoll.lab.run.network import LOOPBACK, Network
from plimsoll.lab.run.pki import kubeconfig
from plimsoll.lab.run.process import Process, Program
from plimsoll.lab.run.settings import Folder, Settings, platform_of

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

_TOKEN_SECONDS = 30 * 24 * 3600
_PAUSE = 0.2


class Cluster:
    """One lab's cluster while it runs."""

    def __init__(self, folder: Folder, settings: Settings, programs: Programs, network: Network) -> None:
        self.folder = folder
        self.settings = settings
        self.programs = programs
        self.network = network
        self.platform = platform_of(settings)
        self.plane = ControlPlane(folder, network, programs)
        self.telemetry = f"{LOOPBACK}:{network.port('telemetry')}"
        self.forwarder = Forwarder()
        self.processes: dict[str, Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mounted: set[Path] = set()
        self.client = Client(self.plane.access.admin)  # as the API server's administrator

    @property
    def bwrap(self) -> Path | None:
        """bubblewrap, where the machine has it."""
        found = self.programs.found.get("bwrap")
        return found.path if found else None

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run what blocks (the client, Helm) beside the loop."""
        return await asyncio.to_thread(function, *args, **kwargs)

    async def run(self, program: Program) -> Process:
        """Start a program and wait until it is ready; one that runs already is left alone."""
        process = self.processes.get(program.name)
        if process is None:
            process = self.processes[program.name] = Process(program, self.folder.logs)
        await process.start()
        return process

    async def apply(self, objects: list[Obj], *, patience: float = 60.0) -> None:
        """Apply in the order given, each tried again while a webhook or a kind it needs is not there yet."""
        end = asyncio.get_running_loop().time() + patience
        for obj in objects:
            while True:
                try:
                    await self.call(self.client.apply, obj)
                    break
                except ClusterError as error:
                    if asyncio.get_running_loop().time() > end:
                        raise LabError(str(error), where=f"{text(obj, 'kind')} {namespace(obj)}/{name(obj)}") from None
                    await asyncio.sleep(_PAUSE)

    async def serve(self, space: str, service: str, ports: Mapping[int, int]) -> str:
        """Lead each port of a Service to a local port, once the Service is there; its address."""
        found = await self.until(lambda: self.client.get("v1/Service", service, space), f"Service {space}/{service}")
        address = text(found, "spec", "clusterIP")
        for port, target in ports.items():
            await self.forwarder.add(address, port, target)
        return address

    async def open(self, door: str, port: int) -> None:
        """Let callers from outside the lab's network reach a local port by the door of that name."""
        listener = self.network.outside(door)
        if listener:
            await self.forwarder.add(LOOPBACK, self.network.doors[door], port, listener=listener)

    async def account(self, space: str, account: str) -> Path:
        """A kubeconfig with a token of a service account, so that its RBAC is what the program has."""
        path = f"/api/v1/namespaces/{space}/serviceaccounts/{account}/token"
        body: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS},
        }
        await self.until(
            lambda: self.client.get("v1/ServiceAccount", account, space), f"ServiceAccount {space}/{account}"
        )
        answer = await self.call(self.client.post, path, body)
        token = text(answer, "status", "token")
        access = self.plane.access
        return kubeconfig(
            self.folder.pki / f"{space}-{account}.kubeconfig", access.server, access.authority, token=token
        )

    def mount(self, space: str, secret: str) -> Path:
        """A folder that follows a Secret as a kubelet's mount would; its files appear when the Secret has them."""
        folder = self.folder.mounts / space / secret
        if folder not in self._mounted:
            self._mounted.add(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self.background(self._follow(space, secret, folder))
        return folder

    async def until(self, look: Callable[[], _T | None], what: str, patience: float = 60.0) -> _T:
        """Look until there is something. Raises PlimsollError naming `what` where there is not in time."""
        end = asyncio.get_running_loop().time() + patience
        while True:
            last = ""
            try:
                found = await self.call(look)
            except ClusterError as error:
                found, last = None, f": {error}"
            if found:
                return found
            if asyncio.get_running_loop().time() > end:
                raise LabError(f"not there after {patience:.0f} s{last}", where=what)
            await asyncio.sleep(_PAUSE)

    def background(self, work: Coroutine[None, None, None]) -> None:
        """Have it run beside all else until `rest`."""
        self._tasks.add(asyncio.create_task(work))

    async def rest(self) -> None:
        """End what runs in the background; processes are stopped by their owner."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def close(self) -> None:
        """Let go of everything."""
        await self.rest()
        await self.forwarder.close()
        self.client.close()

    async def _follow(self, space: str, secret: str, folder: Path) -> None:
        written: dict[str, str] = {}
        while True:
            with suppress(ClusterError):
                found = await self.call(self.client.get, "v1/Secret", secret, space)
                data = {key: str(value) for key, value in mapping(found or {}, "data").items()}
                if data != written:
                    for key in written.keys() - data.keys():  # a Secret that is gone, or came anew without them
                        (folder / key).unlink(missing_ok=True)
                    for key, value in data.items():
                        with whole(folder / key, private=True) as file:
                            file.write(base64.b64decode(value))
                    written = data
                    _log.info("%s/%s is mounted: %s", space, secret, ", ".join(data))
            await asyncio.sleep(3.0 if written else _PAUSE)
