"""What follows a Deployment, on a cluster of dicts: programs are real, and end when the test does."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import LabError
from plimsoll.kube.objects import Obj, annotations_of
from plimsoll.lab.run import follow
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.follow import ANSWERS, Followed, Follower, Launch
from plimsoll.lab.run.process import Process, Program

CRASH = "lab.plimsoll.dev/crash"
Notes = list[set[str]]  # within World, `list` is the method
Pods = list[Obj]


class World:
    """One Deployment at most, its pods, and what a follower does with them."""

    def __init__(self, folder: Path) -> None:
        self.deployment: Obj | None = None
        self.pods: dict[str, Obj] = {}
        self.routes: dict[tuple[str, int], int] = {}
        self.processes: dict[str, Process] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.folder = SimpleNamespace(logs=folder)
        self.forwarder = SimpleNamespace(remove=lambda *route: self.routes.pop(route, None))
        self.client = self

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    async def until(self, look: Callable[[], Any], _what: str) -> Any:
        while not (found := look()):
            await asyncio.sleep(0.01)
        return found

    async def serve(self, _space: str, service: str, ports: dict[int, int]) -> str:
        self.routes.update({(service, port): target for port, target in ports.items()})
        return service

    def background(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def get(self, _kind: str, _name: str, _space: str) -> Obj | None:
        return copy.deepcopy(self.deployment)

    def list(self, _kind: str, _space: str, *, labels: str) -> Pods:
        assert labels == "app=it"
        return copy.deepcopy([*self.pods.values()])

    def patch(self, _kind: str, name: str, body: Obj, _space: str) -> None:
        if pod := self.pods.get(name):
            pod["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])

    def delete(self, _kind: str, name: str, _space: str, *, grace: int) -> None:
        del self.pods[name]

    def ask(self, command: str, **more: Any) -> None:
        """Somebody applies the Deployment; its ReplicaSet makes a pod."""
        container = {"name": "main", "command": ["sh", "-c", command]}
        template = {"metadata": {}, "spec": {"containers": [container]}}
        self.deployment = {"metadata": {"uid": "1"}, "spec": {"replicas": 1, "template": template, **more}}
        name = f"pod-{len(self.pods)}"
        self.pods[name] = {"metadata": {"name": name}}

    def notes(self) -> Notes:
        return [set(annotations_of(pod)) for pod in self.pods.values()]


async def launch(_cluster: Cluster, deployment: Obj) -> Launch:
    """A program that is ready once it has made its file, named by a number that it is told."""
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]

    async def ready() -> bool:
        return Path(command[-1].split()[-1]).exists()

    sleep = f"{command[-1].replace('make', 'touch')} && exec sleep 60"
    argv = [shutil.which("sh") or "sh", "-c", sleep]
    program = Program(name="it", argv=argv, env={"PATH": os.environ["PATH"]}, ready=ready, patience=1.0)
    return Launch(program, {"service": {443: len(command[-1])}})


FOLLOWED = Followed(program="it", namespace="here", deployment="it", labels={"app": "it"}, launch=launch)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(follow, "_PAUSE", 0.02)
    monkeypatch.setattr(follow, "_RETRY", 0.2)
    yield


@asynccontextmanager
async def following(world: World) -> Any:
    follower = Follower(cast(Cluster, world), FOLLOWED)
    await follower.follow()
    try:
        yield follower
    finally:
        for task in world.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for process in world.processes.values():
            await process.stop(grace=0)


async def seen(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.01)


def run(tmp_path: Path, story: Callable[[World, Follower], Awaitable[None]]) -> None:
    async def told() -> None:
        world = World(tmp_path)
        async with following(world) as follower:
            await story(world, follower)

    asyncio.run(told())


def test_it_runs_while_it_is_asked_for_and_its_pods_are_ready_no_sooner(tmp_path: Path) -> None:
    async def story(world: World, _follower: Follower) -> None:
        await asyncio.sleep(0.1)
        assert not world.processes
        world.ask(f"sleep 0.2; make {tmp_path}/a")
        await seen(lambda: world.processes or world.routes)
        assert world.notes() == [set()]
        await seen(lambda: world.notes() == [{ANSWERS}])
        assert (tmp_path / "a").exists()
        assert world.processes["it"].pid
        world.deployment = None
        await seen(lambda: not world.processes and not world.routes)

    run(tmp_path, story)


def test_the_next_takes_over_when_it_is_ready_and_not_before(tmp_path: Path) -> None:
    async def story(world: World, _follower: Follower) -> None:
        world.ask(f"make {tmp_path}/a")
        await seen(lambda: world.processes)
        first, route = world.processes["it"], dict(world.routes)
        world.ask(f"sleep 0.3; make {tmp_path}/bb")
        await asyncio.sleep(0.15)
        assert (world.processes["it"], world.routes) == (first, route)
        assert world.notes()[1] == set()
        await seen(lambda: world.processes["it"] is not first)
        await seen(lambda: not first.pid)
        assert world.routes != route
        await seen(lambda: world.notes() == [{ANSWERS}, {ANSWERS}])

    run(tmp_path, story)


def test_one_that_does_not_come_up_crashes_where_it_is_seen_and_takes_nothing_over(tmp_path: Path) -> None:
    async def story(world: World, _follower: Follower) -> None:
        world.ask(f"make {tmp_path}/a")
        await seen(lambda: world.processes)
        first = world.processes["it"]
        world.ask(f"echo no such setting; exit 3; make {tmp_path}/bb")
        await seen(lambda: CRASH in world.notes()[1])
        assert world.pods["pod-1"]["metadata"]["annotations"]["lab.plimsoll.dev/crash-message"] == "no such setting"
        assert CRASH not in world.notes()[0]
        assert world.processes["it"] is first
        assert first.pid
        world.ask(f"make {tmp_path}/ccc")
        await seen(lambda: world.processes["it"] is not first)
        await seen(lambda: [*world.pods] == ["pod-0", "pod-2"])  # its owner makes another of the one that crashed

    run(tmp_path, story)


def test_while_it_starts_another_wish_counts(tmp_path: Path) -> None:
    async def story(world: World, _follower: Follower) -> None:
        world.ask(f"sleep 9; make {tmp_path}/a")
        await asyncio.sleep(0.1)
        world.ask(f"make {tmp_path}/bb")
        await seen(lambda: world.processes)
        assert not (tmp_path / "a").exists()
        world.deployment = None
        await seen(lambda: not world.processes)

    run(tmp_path, story)


def test_held_it_stays_stopped_until_it_is_let_go(tmp_path: Path) -> None:
    async def story(world: World, follower: Follower) -> None:
        world.ask(f"make {tmp_path}/a")
        await seen(lambda: world.processes)
        process = world.processes["it"]
        await follower.obey("stop")
        assert not process.pid
        world.ask(f"make {tmp_path}/bb")
        await asyncio.sleep(0.1)
        assert not world.processes["it"].pid
        assert world.notes()[1] == set()
        await follower.obey("start")
        assert world.processes["it"].pid
        before = world.processes["it"].pid
        await follower.obey("restart")
        assert world.processes["it"].pid not in (0, before)
        await follower.obey("stop")
        assert world.deployment
        world.deployment["spec"]["replicas"] = 0
        await follower.obey("start")
        assert not world.processes, "nobody asks for it"

    run(tmp_path, story)


def test_begin_fails_where_it_does_not_come_up(tmp_path: Path) -> None:
    async def told() -> None:
        world = World(tmp_path)
        world.ask(f"exit 1; make {tmp_path}/a")
        with pytest.raises(LabError, match="did not become ready"):
            await Follower(cast(Cluster, world), FOLLOWED).begin()
        assert not world.processes

    asyncio.run(told())


notes = st.dictionaries(st.sampled_from(["a.b/c", "lab.plimsoll.dev/crash", "lab.plimsoll.dev/x"]), st.text(max_size=2))


@given(notes, notes, st.text(max_size=2), st.text(max_size=2))
def test_only_what_a_container_is_made_from_counts(one: Obj, other: Obj, image: str, second: str) -> None:
    def told(own: Obj, of: str) -> str:
        template = {"metadata": {"annotations": own}, "spec": {"containers": [{"image": of}]}}
        return follow._hash({"metadata": {"uid": "1"}, "spec": {"replicas": 1, "template": template}})

    mine, others = ({key: value for key, value in each.items() if key.startswith("a.b")} for each in (one, other))
    assert (told(one, image) == told(other, second)) == ((mine, image) == (others, second))
