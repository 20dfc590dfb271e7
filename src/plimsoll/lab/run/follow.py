"""Programs that follow the Deployment that asks for them, as the containers of its pods would.

A program runs while its Deployment does, with what that and its ConfigMaps say. When the pod template changes, one with
the new settings is started and takes over once it is ready, as in a rollout; one that does not come up crashes where
its pods can be seen, and the one before goes on. Pods become Ready when their program answers, no sooner.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from time import monotonic

import msgspec

from plimsoll.errors import ClusterError, LabError, PlimsollError
from plimsoll.kube.objects import Obj, annotations_of, get, mapping, name, number, text
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.process import Process, Program

_log = logging.getLogger(__name__)
_OURS = "lab.plimsoll.dev/"
ANSWERS = f"{_OURS}answers"  # on a pod: its program does. The stages make no such pod Ready before
_CRASH, _SAID = f"{_OURS}crash", f"{_OURS}crash-message"
_PAUSE = 0.5  # seconds between two looks
_RETRY = 10.0  # seconds before a program that does not come up is tried again


class Launch(msgspec.Struct, frozen=True):
    """A program as its Deployment asks for it. routes: local port by port of a Service, by the Service's name."""

    program: Program
    routes: Mapping[str, Mapping[int, int]] = {}


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """What asks for a program: `deployment` in `namespace`, whose pods carry `labels`. launch: how it is run."""

    program: str
    namespace: str
    deployment: str
    labels: Mapping[str, str]
    launch: Callable[[Cluster, Obj], Awaitable[Launch]]


class Follower:
    """Keeps one program as its Deployment says."""

    def __init__(self, cluster: Cluster, followed: Followed) -> None:
        self.turn = asyncio.Lock()  # nothing is looked at or changed while somebody else holds it
        self._cluster = cluster
        self._followed = followed
        self._told = ""  # what the running program was told, as a hash
        self._held = False
        self._not_before = 0.0
        self._routes: set[tuple[str, int]] = set()
        self._fallen: set[str] = set()

    async def begin(self) -> None:
        """Start the program of a Deployment that comes in a moment, and follow. Raises LabError where it fails."""
        await self._cluster.until(self._deployment, f"Deployment {self._followed.deployment}")
        async with self.turn:
            await self._look()
        await self.follow()

    async def follow(self) -> None:
        """Follow from now on; there may be no Deployment for long."""
        self._cluster.background(self._keep())

    async def obey(self, do: str) -> None:
        """`stop` the program until `start` or `restart`, whatever its Deployment says meanwhile."""
        async with self.turn:
            self._held = do == "stop"
            process = self._process
            if process and do != "start":
                await process.stop()
            if not self._held:
                await self.again()

    async def again(self) -> None:
        """See to the program now. For who holds `turn`. Raises LabError where it does not come up."""
        self._held, self._not_before = False, 0.0
        await self._look()

    @property
    def _process(self) -> Process | None:
        return self._cluster.processes.get(self._followed.program)

    async def _keep(self) -> None:
        while True:
            try:
                async with self.turn:
                    await self._look()
            except PlimsollError as error:
                _log.warning("%s: %s", self._followed.program, error)
            except Exception:
                _log.exception("%s", self._followed.program)
            await asyncio.sleep(_PAUSE)

    async def _look(self) -> None:
        # Pods first: none of them can be of a newer template than the Deployment that is read afterwards.
        pods = await self._cluster.call(self._pods)
        deployment = await self._cluster.call(self._deployment)
        told = _hash(deployment) if deployment else ""
        if not told or deployment is None:
            await self._end()
        elif not self._held:
            if told != self._told:
                if monotonic() < self._not_before:
                    return
                await self._replace(deployment, told)
            elif process := self._process:
                await process.start()
            await self._cluster.call(self._answer, pods)

    async def _replace(self, deployment: Obj, told: str) -> None:
        """Start a program as the Deployment has it now; what ran before it goes on until this one is ready."""
        cluster, title = self._cluster, self._followed.program
        _log.info("%s: as its Deployment says", title)
        before = self._process
        launch = await self._followed.launch(cluster, deployment)
        process = Process(launch.program, cluster.folder.logs)
        if not (before and before.pid):  # it may call what it serves itself before it is ready
            await self._route(launch)
        try:
            if not await self._started(process, told):
                return
        except LabError:
            self._not_before = monotonic() + _RETRY
            container = text(deployment, "spec", "template", "spec", "containers", 0, "name")
            await cluster.call(self._fall, container, process.tail())
            raise
        cluster.processes[title] = process
        self._told = told
        await self._route(launch)
        if before:
            await before.stop()
        await cluster.call(self._rise)

    async def _started(self, process: Process, told: str) -> bool:
        """False where something else was asked for before it was ready. Raises LabError where it does not come up."""
        start = asyncio.create_task(process.start())
        ready = False
        try:
            while not (await asyncio.wait((start,), timeout=_PAUSE))[0]:
                with suppress(ClusterError):
                    deployment = await self._cluster.call(self._deployment)
                    if deployment is None or _hash(deployment) != told:
                        return False
            await start
            ready = True
        finally:
            if not ready:  # it may have become so in the last moment
                start.cancel()
                await asyncio.gather(start, return_exceptions=True)
                await process.stop()
        return True

    async def _route(self, launch: Launch) -> None:
        for service, ports in launch.routes.items():
            address = await self._cluster.serve(self._followed.namespace, service, ports)
            self._routes.update((address, port) for port in ports)

    async def _end(self) -> None:
        """Nobody asks for it any more."""
        self._told = ""
        self._fallen.clear()
        if process := self._process:
            _log.info("%s: nothing asks for it", self._followed.program)
            await process.stop()
            self._cluster.processes.pop(self._followed.program)
        for route in self._routes:
            self._cluster.forwarder.remove(*route)
        self._routes.clear()

    def _deployment(self) -> Obj | None:
        return self._cluster.client.get("apps/v1/Deployment", self._followed.deployment, self._followed.namespace)

    def _pods(self) -> list[Obj]:
        labels = ",".join(f"{key}={value}" for key, value in self._followed.labels.items())
        found = self._cluster.client.list("v1/Pod", self._followed.namespace, labels=labels)
        return [each for each in found if not text(each, "metadata", "deletionTimestamp")]

    def _answer(self, pods: list[Obj]) -> None:
        for pod in pods:
            if ANSWERS not in annotations_of(pod):
                self._note(pod, {ANSWERS: "true"})

    def _fall(self, container: str, said: str) -> None:
        """The pods that wait for it are seen to crash."""
        with suppress(ClusterError):
            for pod in self._pods():
                if ANSWERS not in annotations_of(pod) and _CRASH not in annotations_of(pod):
                    self._note(pod, {_CRASH: container, _SAID: said})
                    self._fallen.add(name(pod))

    def _rise(self) -> None:
        """Those go, and their owner makes new ones, which find it answering."""
        for each in self._fallen:
            with suppress(ClusterError):
                self._cluster.client.delete("v1/Pod", each, self._followed.namespace, grace=0)
        self._fallen.clear()

    def _note(self, pod: Obj, notes: dict[str, str]) -> None:
        with suppress(ClusterError):  # it may be gone
            patch = {"metadata": {"annotations": notes}}
            self._cluster.client.patch("v1/Pod", name(pod), patch, self._followed.namespace)


def _hash(deployment: Obj) -> str:
    """Of what a container is made from; "" where none is asked for. Annotations for the fake kubelet do not count."""
    if text(deployment, "metadata", "deletionTimestamp") or not number(deployment, "spec", "replicas"):
        return ""
    template = copy.deepcopy(mapping(deployment, "spec", "template"))
    notes = get(template, "metadata", "annotations")
    for key in [key for key in notes or () if key.startswith(_OURS)]:
        del notes[key]
    if not notes:
        mapping(template, "metadata").pop("annotations", None)
    told = [text(deployment, "metadata", "uid"), template]
    return sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()
