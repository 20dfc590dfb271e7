"""Which nodes are due for a look, and the writing of what it finds due."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from plimsoll.errors import ClusterError, InputError
from plimsoll.kube import kinds
from plimsoll.kube.answers import Conflict, NotFound
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, annotations_of, items, mapping, name, namespace, text
from plimsoll.kube.pods import finished
from plimsoll.lab.hardware import conditions as files
from plimsoll.lab.hardware import migmanager
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.hardware.node import Memory, View, Writes, reconcile
from plimsoll.lab.hardware.world import World
from plimsoll.lab.nodes import FAKE

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_THREADS = 4  # more only take turns: the work is Python's
_TOGETHER = 0.1  # seconds in which changes of one node become one look
_POLL = 0.3  # seconds between looks at the file of conditions
_RETRY = 1.0
_QUIET = 10.0  # seconds without a write after which the count is told


class Loop:
    """Plays the hardware until it is told to stop."""

    def __init__(self, client: Client, state: Path, *, space: str, operator: bool, grace: timedelta) -> None:
        self._client, self._state = client, state
        self._operator, self._grace = operator, grace
        self._world = World(client, space, self.wake)
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._memory: dict[str, Memory] = {}
        self._turn = threading.Condition()
        self._conditions: tuple[Condition, ...] = ()
        self._stamp: tuple[int, int] | None = None
        self.writes: Counter[str] = Counter()
        self._told, self._last = 0, 0.0

    def wake(self, node: str, delay: float = _TOGETHER) -> None:
        """Have a look at a node soon, or at all of them ("")."""
        with self._turn:
            at = time.monotonic() + delay
            for each in [node] if node else list(self._world.nodes):
                self._due[each] = min(self._due.get(each, at), at)
            self._turn.notify()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises what ended a watch."""
        self._world.follow(stop)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="node") as pool:
            while not stop.is_set():
                self._poll()
                for node in self._next():
                    pool.submit(self._work, node)
        if self._world.failed:
            raise self._world.failed

    def _next(self) -> list[str]:
        """The nodes that are due and not being looked at; waits a moment for the first."""
        with self._turn:
            now = time.monotonic()
            waiting = [at for node, at in self._due.items() if node not in self._busy]
            pause = min(min(waiting, default=now + _POLL) - now, _POLL)
            if pause > 0:
                self._turn.wait(pause)
                now = time.monotonic()
            ready = [node for node, at in self._due.items() if at <= now and node not in self._busy]
            for node in ready:
                del self._due[node]
            self._busy.update(ready)
            return ready

    def _poll(self) -> None:
        """Take in the file of conditions when it has changed."""
        total = self.writes.total()
        if total != self._told and time.monotonic() - self._last > _QUIET:
            self._told = total
            _log.info("%d writes so far: %s", total, dict(self.writes))
        try:
            stat = self._state.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            new = files.read(self._state)
        except InputError as error:
            _log.error("%s; the conditions of before hold", error)
            return
        changed = set(new) ^ set(self._conditions)
        self._conditions = new
        for node in {each.node for each in changed}:
            self.wake(node, 0.0)

    def _work(self, node: str) -> None:
        again: float | None = _RETRY
        try:
            again = self._look(node)
        except ClusterError as error:
            _log.warning("%s: %s", node, error)
        except Exception:
            _log.exception("%s", node)
        finally:
            with self._turn:
                self._busy.discard(node)
                self._turn.notify()
        if again is not None:
            self.wake(node, again)

    def _look(self, title: str) -> float | None:
        """Look at a node once and write what is due; seconds until the next look."""
        node = self._world.nodes.get(title)
        if node is None:
            self._memory.pop(title, None)
            return None
        if not FAKE.items() <= annotations_of(node).items():
            return None  # nobody plays its kubelet any more: the machine is dead
        standalone = self._world.policy is None and not self._operator
        view = View(
            node=node,
            pods=self._world.pods(title),
            nfd=self._world.worker(title),
            policy=None if standalone else self._world.told,
            configs=self._world.configs,
            conditions=files.on(self._conditions, title),
            used=migmanager.pending(node) and self._used(title),
            standalone=standalone,
            now=datetime.now(UTC).replace(microsecond=0),
            grace=self._grace,
        )
        writes, memory = reconcile(view, self._memory.get(title, Memory()))
        self._write(title, writes)
        self._memory[title] = memory
        return writes.again

    def _used(self, node: str) -> bool:
        """Whether pods hold GPUs of a node."""
        pods = self._client.list(kinds.POD, fields=f"spec.nodeName={node}")
        return any(_holds(pod) for pod in pods if not finished(pod))

    def _write(self, title: str, writes: Writes) -> None:
        """Write what is due, and take in the answers, so that the next look does not write it again."""
        client, world = self._client, self._world
        for pod, status in writes.pods:
            body = {"metadata": {"uid": text(pod, "metadata", "uid")}, "status": status}
            send = partial(client.patch, kinds.POD, name(pod), body, namespace(pod), subresource="status")
            if answer := self._send("pod", send):
                world.pod("MODIFIED", answer)
        for field, due, place in (("status", writes.status, "status"), ("metadata", writes.metadata, "")):
            send = partial(client.patch, kinds.NODE, title, {field: due}, subresource=place)
            if due and (answer := self._send(f"node {field}", send)):
                world.node(answer)
        for event in writes.events:
            self._send("event", partial(client.create, event))
        for pod in writes.gone:
            self._send("end of pod", partial(client.delete, kinds.POD, name(pod), namespace(pod), grace=0))

    def _send(self, what: str, send: Callable[[], _T]) -> _T | None:
        """One write; None where its object is gone, or was made already."""
        self.writes[what] += 1
        self._last = time.monotonic()
        try:
            return send()
        except (NotFound, Conflict):
            return None


def _holds(pod: Obj) -> bool:
    """Whether a pod was given devices of NVIDIA's."""
    limits = (mapping(each, "resources", "limits") for each in items(pod, "spec", "containers"))
    return any(key.startswith("nvidia.com/") for each in limits for key in each)
