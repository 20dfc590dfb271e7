"""The process that is a lab: brings everything up, keeps it up, takes it down.

Whatever it starts dies with it, also when it is killed -9: the kernel ends the children of a dead parent on our word
(prctl PR_SET_PDEATHSIG). So a lab is never half there: while the supervisor holds the folder's lock, it runs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import shutil
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from plimsoll.errors import LabError, PlimsollError
from plimsoll.lab.build import found
from plimsoll.lab.run import control, fleet, steps, upward
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.follow import Follower
from plimsoll.lab.run.network import Network
from plimsoll.lab.run.settings import Folder, Settings
from plimsoll.lab.run.state import Done, Running, State, hold
from plimsoll.lab.run.steps import Step

_log = logging.getLogger(__name__)
DOORS = ("api-server", "telemetry", "prometheus", "alertmanager")
_REPORT = 2.0  # seconds between two looks at what the programs hold


class Supervisor:
    """One lab, from its first process to its last."""

    def __init__(self, folder: Folder, settings: Settings, network: Network) -> None:
        self._folder = folder
        self._settings = settings
        self._cluster = Cluster(folder, settings, found.find(), network)
        self._network = network
        self._followers: dict[str, Follower] = {}
        self._done = asyncio.Event()
        self._busy = asyncio.Lock()  # one of up, reset and down at a time
        self.state = State(
            name=settings.name,
            pid=os.getpid(),
            own_network=network.own,
            kubeconfig=str(folder.kubeconfig),
            doors=dict(network.doors),
            discovery=f"http://{self._cluster.telemetry}/sd",
            versions=dict(self._cluster.programs.versions),
        )

    async def live(self) -> None:
        """Come up, answer until told to end, go down."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._done.set)
        async with control.server(self._folder, self._answer):
            up = asyncio.create_task(self._up())
            done = asyncio.create_task(self._done.wait())
            await asyncio.wait((up, done), return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not up.exception():
                report = asyncio.create_task(self._report())
                await done
                report.cancel()
            up.cancel()
            failure = None
            with suppress(asyncio.CancelledError):
                failure = await _outcome(up)
            await self._down()
        self.state.programs = ()
        self.state.phase = "failed" if failure else "stopped"
        if failure:
            self.state.error, self.state.hint = str(failure), getattr(failure, "hint", "")
        self.state.write(self._folder)

    async def _up(self) -> None:
        async with self._busy:
            began = time.monotonic()
            work, self._followers = upward.work(self._cluster)
            work.append(Step("kept for reset", self._keep, ("settled",)))
            self.state.total = len(work)
            await steps.run(work, self._told)
            self.state.phase = "ready"
            self.state.seconds = round(time.monotonic() - began, 1)
            self._look()

    def _told(self, name: str, seconds: float | None) -> None:
        done = tuple(each for each in self.state.steps if each.name != name)
        self.state.steps = (*done, Done(name, seconds))
        if seconds is not None:
            _log.info("%s: %.2f s", name, seconds)
        self._look()

    async def _keep(self) -> None:
        """Copy etcd as it stands: what `reset` goes back to. A stopped process and a dead one leave the same files."""
        etcd = self._cluster.processes["etcd"]
        os.kill(etcd.pid, signal.SIGSTOP)
        try:
            await asyncio.to_thread(shutil.copytree, self._folder.etcd, self._folder.pristine)
        finally:
            os.kill(etcd.pid, signal.SIGCONT)

    async def _reset(self) -> None:
        followers = self._followers.values()
        async with self._busy, AsyncExitStack() as undisturbed:
            began = time.monotonic()
            for follower in followers:
                await undisturbed.enter_async_context(follower.turn)
            await self._stop_all(grace=0)
            await asyncio.to_thread(shutil.rmtree, self._folder.etcd)
            await asyncio.to_thread(shutil.copytree, self._folder.pristine, self._folder.etcd)
            for leftover in (self._folder.hardware, self._folder.faults):
                leftover.unlink(missing_ok=True)
            for name, process in list(self._cluster.processes.items()):
                if name not in self._followers:
                    await process.start()
            await upward.together(follower.again() for follower in followers)
            await undisturbed.aclose()  # pods become Ready only when they are looked at
            await fleet.settled(self._cluster)
            self.state.seconds = round(time.monotonic() - began, 1)

    async def _down(self) -> None:
        await self._cluster.rest()  # else what is stopped is started again
        await self._stop_all(grace=0)
        await self._cluster.close()

    async def _stop_all(self, *, grace: float) -> None:
        await upward.together(process.stop(grace=grace) for process in self._cluster.processes.values())

    async def _answer(self, request: dict[str, str]) -> dict[str, str]:
        """Carry out one request of the command line."""
        do, program = request.get("do", ""), request.get("program", "")
        if do == "down":
            self._done.set()
        elif do == "reset":
            await self._reset()
        elif do in ("stop", "start", "restart") and program in self._followers:
            await self._followers[program].obey(do)
        elif do in ("stop", "start", "restart") and program in self._cluster.processes:
            process = self._cluster.processes[program]
            if do != "start":
                await process.stop()
            if do != "stop":
                await process.start()
        else:
            raise LabError(f"no such request: {do} {program}".strip())
        self._look()
        return {}

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT)
            self._look()

    def _look(self) -> None:
        self.state.programs = tuple(
            Running(name, process.pid, process.restarts, process.resident(), str(process.log))
            for name, process in self._cluster.processes.items()
        )
        self.state.write(self._folder)


async def _outcome(task: asyncio.Task[None]) -> BaseException | None:
    try:
        await task
    except PlimsollError as error:
        return error
    except Exception as error:
        _log.exception("the lab cannot come up")
        return error
    return None


def main() -> int:
    """Be the lab in the folder named on the command line."""
    folder = Folder(Path(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    faulthandler.enable()  # its log is all that is left of one that dies
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    lock = hold(folder.lock)
    if lock is None:
        return 1
    if os.fork():  # whoever started us goes on; the child keeps the lock
        return 0
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    settings = folder.load()
    shutil.rmtree(folder.etcd, ignore_errors=True)
    shutil.rmtree(folder.pristine, ignore_errors=True)
    try:
        supervisor = Supervisor(folder, settings, Network(DOORS))
    except PlimsollError as error:
        State(name=settings.name, phase="failed", error=str(error), hint=error.hint).write(folder)
        return int(error.exit_code)
    asyncio.run(supervisor.live())
    return 0


if __name__ == "__main__":
    os._exit(main())
