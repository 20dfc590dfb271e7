"""Programs that Debian packages: used where they are installed, else unpacked into the cache. Needs no root."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from plimsoll.lab.build.command import ask, run
from plimsoll.lab.build.programs import target
from plimsoll.lab.home import cache


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """A program in a Debian package.

    commands: its name there first, then others it goes by elsewhere. folder: where it lies in the package; also looked
    into on this machine where that is not on PATH. beside: what else has to be there with it. parts: packages that some
    releases made of a part of it, and unpacked with it there. numbered: the package is empty and depends on the one
    with the program, `<package>-<version>`. libraries: those that this machine lacks are
    unpacked, too; who runs the program passes their folders on. needless: files of the package that are left out.
    least: the oldest major version that will do. pointer: a variable that names a folder to use in place of what is
    installed. needed: whether the lab itself runs it.
    """

    name: str
    package: str
    commands: tuple[str, ...]
    folder: str = "usr/bin"
    beside: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    numbered: bool = False
    libraries: bool = False
    needless: tuple[str, ...] = ()
    least: int = 0
    pointer: str = ""
    needed: bool = True

    @property
    def home(self) -> Path:
        """Where its package is unpacked: one folder per distribution, whose libraries it needs."""
        system = {}
        with suppress(OSError):
            system = platform.freedesktop_os_release()
        release = system.get("VERSION_ID") or system.get("VERSION_CODENAME", "")
        return cache() / "debian" / "-".join([system.get("ID", "linux"), release, target()[1]]) / self.package

    def under(self, root: Path) -> list[Path]:
        """The program, with all that has to be beside it, in the folders of `root` that it may lie in; newest first."""
        folders = sorted(root.glob(self.folder), key=_numbers, reverse=True)
        wanted = (self.commands[0], *self.beside)
        return [folder / wanted[0] for folder in folders if all((folder / name).is_file() for name in wanted)]


class Trouble(msgspec.Struct, frozen=True):
    """Why a package cannot be had, and whether the lab needs it."""

    why: str
    needed: bool


PACKAGED = (
    Packaged(name="prometheus", package="prometheus", commands=("prometheus",), parts=("promtool",)),
    Packaged(name="promtool", package="prometheus", commands=("promtool",), parts=("promtool",)),  # since Debian 13
    Packaged(
        name="alertmanager",
        package="prometheus-alertmanager",
        commands=("prometheus-alertmanager", "alertmanager"),
    ),
    Packaged(name="bwrap", package="bubblewrap", commands=("bwrap",)),
    Packaged(
        name="postgres",
        package="postgresql",
        commands=("postgres",),
        folder="usr/lib/postgresql/*/bin",
        beside=("initdb",),
        numbered=True,
        libraries=True,
        needless=("usr/lib/postgresql/*/lib/*llvmjit*", "usr/lib/postgresql/*/lib/bitcode", "usr/share/locale"),
        least=15,  # as cost/postgres.py
        pointer="PLIMSOLL_POSTGRES",
        needed=False,  # tests of the ledger do
    ),
)


def places(packaged: Packaged) -> list[Path]:
    """Where the program is: where the user points, else on PATH or where its package puts it; then in the cache."""
    pointed = os.environ.get(packaged.pointer) if packaged.pointer else None
    if pointed:
        installed = [Path(pointed) / packaged.commands[0]]
    else:
        installed = [Path(path) for command in packaged.commands if (path := shutil.which(command))]
        installed += packaged.under(Path("/")) if packaged.folder != "usr/bin" else []
    there = (path for path in installed if all((path.parent / name).is_file() for name in packaged.beside))
    return [*there, *packaged.under(packaged.home)]


def libraries(packaged: Packaged, home: Path) -> tuple[Path, ...]:
    """The folders of libraries that were unpacked with it, for LD_LIBRARY_PATH."""
    found = [*home.glob("usr/lib/*-linux-gnu"), *home.glob("lib/*-linux-gnu")] if packaged.libraries else []
    return tuple(found)


def with_libraries(folders: Sequence[Path]) -> dict[str, str] | None:
    """The environment of a program whose libraries lie in these folders; None where there are none."""
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))} if folders else None


def _numbers(path: Path) -> list[int]:
    """To sort by the version in a path: 9 before 15."""
    return [int(each) for each in re.findall(r"\d+", path.name + path.parent.name)]


def fetch(wanted: Iterable[Packaged], *, log: Path, scratch: Path, tick: Callable[[float], None]) -> list[Trouble]:
    """Download and unpack the packages of these programs; what is the trouble with each that cannot be had.

    log: keeps what apt says. scratch: a folder for lists and archives, some 100 MB, nothing of which is needed later.
    """
    packages = {each.package: each for each in wanted}
    if not packages:
        return []
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        sorts = ((need, [name for name, each in packages.items() if each.needed == need]) for need in (True, False))
        no = "this machine has no apt-get to fetch them with"
        return [Trouble(f"install {', '.join(names)}: {no}", need) for need, names in sorts if names]
    with tempfile.TemporaryDirectory(prefix="apt-", dir=scratch) as folder:
        place = Path(folder)
        work = _Work(place, _apt(place), log, tick)
        work.run([*work.apt, "update"])  # one source of many may fail: what counts is whether the packages can be had
        return [Trouble(why, each.needed) for each in packages.values() if (why := work.unpack(each))]


def _apt(place: Path) -> list[str]:
    """apt-get with this machine's sources and keys, and state of our own, which an ordinary user may write."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    options = {
        "Dir::State": place / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": place / "cache",
        "APT::Sandbox::User": "root",  # do not become _apt, who may not write here
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return ["apt-get", "--quiet", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


class _Work:
    """Packages, from the archive into the cache. trouble: what apt complained of first."""

    def __init__(self, place: Path, apt: list[str], log: Path, tick: Callable[[float], None]) -> None:
        self.apt = apt
        self.trouble = ""
        self._place = place
        self._log = log
        self._tick = tick

    def run(self, argv: Sequence[str | Path]) -> str:
        """Run it; what it complained of last where it failed."""
        before = self._log.stat().st_size
        failed = run(argv, log=self._log, cwd=self._place, tick=self._tick)
        lines = self._log.read_bytes()[before:].decode(errors="replace").splitlines() or [f"{argv[0]} failed"]
        complaints = [line.strip()[:200] for line in lines if line.startswith(("E:", "W:"))]
        self.trouble = self.trouble or next(iter(complaints), "")
        return (complaints or lines)[-1] if failed else ""

    def unpack(self, packaged: Packaged) -> str:
        """Put one package into the cache if its program runs; else a sentence why not."""
        package = packaged.package
        whole = self._place / "unpacked" / package
        whole.mkdir(parents=True)
        if packaged.numbered:
            if why := self._download([package]):
                return f"install {package}: {why}"
            held = re.search(rf"{package}-(\d+)", self._depends(package))
            if held is None or int(held[1]) < packaged.least:
                has = f"version {held[1]}" if held else "none"
                return f"install {package} {packaged.least} or newer: this system's packages have {has}"
            package = held[0]
        if why := self._download([package]) or self._extract([package], whole) or self._parts(packaged, package, whole):
            return f"install {package}: {why}"
        for pattern in packaged.needless:
            for path in whole.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        why = self._runs(packaged, whole)
        if why and packaged.libraries:
            why = self._libraries(package, whole) or self._runs(packaged, whole)
        if why:
            return f"install {package} with what it depends on (apt-get install {package}): {why}"
        packaged.home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(packaged.home, ignore_errors=True)
        whole.rename(packaged.home)
        return ""

    def _download(self, packages: Sequence[str]) -> str:
        """Have the archives of packages; what is wrong where they cannot be had."""
        if why := self.run([*self.apt, "download", *packages]):
            causes = dict.fromkeys([self.trouble, why])  # such as: a name that does not resolve, so there is no package
            return f"it cannot be downloaded: {'; '.join(filter(None, causes))}"
        return ""

    def _archive(self, package: str) -> Path:
        return max(self._place.glob(f"{package}_*.deb"))

    def _extract(self, packages: Sequence[str], whole: Path) -> str:
        failed = (self.run(["dpkg-deb", "-x", self._archive(each), whole]) for each in packages)
        why = next(filter(None, failed), "")
        return f"it cannot be unpacked: {why}" if why else ""

    def _depends(self, package: str) -> str:
        """What a package that is downloaded depends on, as it says it."""
        return ask(["dpkg-deb", "-f", self._archive(package), "Depends"])[1]

    def _parts(self, packaged: Packaged, package: str, whole: Path) -> str:
        named = re.split(r"[\s,|]+", self._depends(package)) if packaged.parts else []
        parts = [each for each in packaged.parts if each in named]
        return (self._download(parts) or self._extract(parts, whole)) if parts else ""

    def _libraries(self, package: str, whole: Path) -> str:
        """Unpack the libraries that a package needs and this machine lacks, with what those need."""
        direct = re.findall(r"(?:^|, )(lib[^\s,|]+)", self._depends(package))
        named = [each for each in direct if not each.startswith("libllvm")]  # 120 MB, and all works without
        how = ["install", "--simulate", "--no-install-recommends", "--no-upgrade"]
        ok, said = ask([*self.apt, *how, *named])
        lacks = re.findall(r"^Inst (\S+) \(", said, re.MULTILINE)  # one that is installed says its version before
        if not ok or not lacks:
            return f"its libraries cannot be had: {said.strip()[-300:] or 'apt-get lists none'}"
        return self._download(lacks) or self._extract(lacks, whole)

    def _runs(self, packaged: Packaged, whole: Path) -> str:
        """Why the programs that were unpacked do not run; empty where they do."""
        there = packaged.under(whole)
        if not there:
            return f"{packaged.commands[0]} is not in it"
        for path in (there[0], *(there[0].parent / name for name in packaged.beside)):
            ok, said = ask([path, "--version"], env=with_libraries(libraries(packaged, whole)))
            if not ok:
                library = re.search(r"loading shared libraries: ([^\s:]+)", said)
                return f"the library {library[1]} is missing" if library else f"it does not run: {said.strip()[-300:]}"
        return ""
