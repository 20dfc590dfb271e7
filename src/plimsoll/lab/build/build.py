"""Build what the lab lacks, one program after the other. Killed at any moment, the next run goes on from there."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from plimsoll.errors import LabError
from plimsoll.lab.build import debian, golang
from plimsoll.lab.build.command import ask, run, tail
from plimsoll.lab.build.found import Programs, look
from plimsoll.lab.build.programs import FLAGS, Module, Recipe, definitions, recipes
from plimsoll.lab.home import cache, made

Progress = Callable[[str, int, int], None]  # what it is at, how many seconds' worth is done, of how many
Say = Callable[[str], None]  # a line for whoever waits

_DEBIAN_SECONDS = 20  # what fetching Debian's packages took
_NETWORK_PAUSES = (2.0, 10.0)  # seconds before another try: `go` itself gives up a download at the first failure

# What `go` says, and what the user can do about it. The first that fits.
_NETWORK = ("dial tcp", "i/o timeout", "connection refused", "connection reset", "TLS handshake", "unexpected EOF",
            "no such host", "proxyconnect", "502 Bad Gateway", "503 Service", "504 Gateway")  # fmt: skip
_CAUSES = (
    (("no space left on device", "disk quota exceeded"), "the disk is full: the lab needs 1 GB in {cache} and Go about "
     "9 GB in its own caches (`go env GOCACHE GOMODCACHE`); what is built stays, run it again"),
    (("signal: killed", "cannot allocate memory"), "the machine ran out of memory: a build needs about 3 GB free"),
    (("SECURITY ERROR", "checksum mismatch"), "a download is not what our go.sum says: look at GOPROXY and what is "
     "between here and there; `go clean -modcache` forgets what was downloaded"),
    (_NETWORK, "Go modules come over the network: look at the connection and at GOPROXY; what is built stays, run it "
     "again"),
)  # fmt: skip


def build(progress: Progress, say: Say, wanted: Sequence[Recipe] | None = None) -> Programs:
    """Every program of the lab and what comes with it: found, or built and downloaded into the cache.

    Takes no time and starts no `go` where nothing is missing. Only one build runs at a time, others wait for it.
    Raises LabError where something cannot be had; what could be is kept.
    """
    read = definitions() if wanted is None else ()
    wanted = recipes() if wanted is None else wanted
    programs = look(wanted, read)
    if not _lacks(programs, wanted):
        return programs
    root = made(cache())
    try:
        with _alone(root, say):
            return _Build(root, progress, say, wanted, read).run()
    except OSError as error:
        why = f"cannot keep the lab's programs: {error.strerror or error}"
        raise LabError(why, where=str(error.filename or root)) from error


def _lacks(programs: Programs, wanted: Sequence[Recipe]) -> bool:
    names = [*(recipe.name for recipe in wanted), *(packaged.name for packaged in debian.PACKAGED)]
    return any(name not in programs.found for name in names) or any(map(_bare, programs.modules.values()))


def _bare(module: Module) -> bool:
    """Whether files are missing that come with it."""
    return any(not (module.home / "assets" / name).is_dir() for name in module.assets)


class _Build:
    """One run, which nobody else disturbs."""

    def __init__(
        self, root: Path, progress: Progress, say: Say, wanted: Sequence[Recipe], read: Sequence[Module]
    ) -> None:
        self.say = say
        self.wanted = wanted
        self._read = read
        self._progress = progress
        self._scratch = root / "tmp"  # ours alone, so what a killed run left in it goes
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(exist_ok=True)  # a compiler of that run may be alive for another second, and write there
        self._logs = root / "logs"
        self._logs.mkdir(exist_ok=True)
        self._took: dict[str, float] = {}
        self._done = self._total = 0

    def run(self) -> Programs:
        there = look(self.wanted, self._read)  # again: somebody else may have built while this run waited
        missing = [recipe for recipe in self.wanted if recipe.name not in there.found]
        packages = [each for each in debian.PACKAGED if each.name not in there.found]
        self._total = sum(recipe.seconds for recipe in missing) + (_DEBIAN_SECONDS if packages else 0)
        problems = self._fetch(packages)
        bare = [module for module in there.modules.values() if _bare(module)]
        if missing or bare:
            self._go(missing, bare)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if problems:
            raise LabError("\n".join(problems))
        programs = look(self.wanted, self._read)
        timed = {
            name: msgspec.structs.replace(each, seconds=round(self._took.get(name, 0.0), 1))
            for name, each in programs.found.items()
        }
        return Programs(timed, programs.modules)

    def _fetch(self, packages: list[debian.Packaged]) -> list[str]:
        """Debian's programs, first because they are quick: a sentence for each that the lab needs and cannot have."""
        if not packages:
            return []
        tick = self._ticker("Debian packages", _DEBIAN_SECONDS)
        start = time.monotonic()
        problems = debian.fetch(packages, log=self._log("debian"), scratch=self._scratch, tick=tick)
        self._done += _DEBIAN_SECONDS
        for problem in problems:
            self.say(problem.why)
        if not problems:
            self.say(f"Debian packages: {time.monotonic() - start:.0f} s")
        return [problem.why for problem in problems if problem.needed]

    def _go(self, missing: list[Recipe], bare: list[Module]) -> None:
        go = golang.find(max(module.go for module in [*bare, *(recipe.module for recipe in missing)]))
        env = go.environment(self._scratch)
        for recipe in missing:
            start = time.monotonic()
            fresh = self._scratch / recipe.name
            argv = ["build", *FLAGS, "-ldflags", recipe.module.ldflags, "-o", str(fresh), recipe.package]
            self._run_go(recipe.name, recipe.module, [str(go.path), *argv], env, recipe.seconds)
            recipe.built.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(recipe.built)  # in the cache only when it is whole
            self._took[recipe.name] = time.monotonic() - start
            self._done += recipe.seconds
            self._progress(recipe.name, self._done, self._total)
            self.say(f"{recipe.name} {recipe.module.version}: {self._took[recipe.name]:.0f} s")
        for module in bare:
            # Asked for by its version, go.sum is kept to and nothing that it requires is downloaded.
            argv = [str(go.path), "mod", "download", "-json", f"{module.path}@{module.pinned}"]
            self._run_go(f"{module.name}-files", module, argv, env, 0)
            self._copy(module, argv, env)

    def _run_go(self, name: str, module: Module, argv: list[str], env: dict[str, str], seconds: int) -> None:
        """Run it in the module's folder, again where only the network failed. Raises LabError with what it said."""
        tick = self._ticker(name, seconds)
        tick(0.0)  # what is begun shows, however soon it ends
        for pause in (*_NETWORK_PAUSES, 0.0):
            log = self._log(name)
            if not run(argv, log=log, cwd=module.folder, env=env, tick=tick):
                return
            if not pause or _cause(tail(log)) is not _NETWORK:
                raise _refused(f"{name} {module.version}: `go {argv[1]}` failed", log)
            self.say(f"{name}: the network failed, trying again in {pause:.0f} s")
            time.sleep(pause)

    def _copy(self, module: Module, argv: list[str], env: dict[str, str]) -> None:
        """Copy what a module brings along out of Go's cache, which others may empty and whose files are read-only.

        argv: what says where it is there.
        """
        ok, said = ask(argv, cwd=module.folder, env=env)
        named = re.search(r'"Dir": "(.+)"', said)
        source = Path(named[1] if named else "/nonexistent")
        for name in module.assets:
            files = [path for path in sorted((source / name).rglob("*")) if path.is_file()] if ok else []
            if not files:
                raise LabError(f"{module.path} {module.pinned} has no folder {name}", where=said.strip()[-300:])
            fresh, place = self._scratch / module.name / name, module.home / "assets" / name
            for file in files:
                copy = fresh / file.relative_to(source / name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(place)

    def _ticker(self, name: str, seconds: int) -> Callable[[float], None]:
        """Moves the bar within one program, and not to its end before it is there."""
        return lambda passed: self._progress(name, self._done + min(int(passed), seconds), self._total)

    def _log(self, name: str) -> Path:
        log = self._logs / f"{name}.log"
        log.write_bytes(b"")
        return log


@contextmanager
def _alone(root: Path, say: Say) -> Iterator[None]:
    """Hold the lock of the cache. The kernel gives it back when its holder ends, however that ends."""
    with (root / "build.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            say(f"another build runs (process {lock.read().strip() or 'unknown'}); waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _cause(said: str) -> tuple[str, ...]:
    """The words of a known cause that are in what `go` said."""
    return next((words for words, _ in _CAUSES if any(word in said for word in words)), ())


def _refused(what: str, log: Path) -> LabError:
    said = tail(log)
    hint = dict(_CAUSES).get(_cause(said), "the log has all of it")
    return LabError(f"{what}; the last lines of its log:\n{said}", where=str(log), hint=hint.format(cache=cache()))
