"""Programs that Debian packages: used where they are installed, else unpacked into the cache. Needs no root."""

from __future__ import annotations

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


class Packaged(msgspec.Struct, frozen=True):
    """A program in a Debian package. commands: its name there first, then others it goes by elsewhere."""

    name: str
    package: str
    commands: tuple[str, ...]

    @property
    def home(self) -> Path:
        """Where its package is unpacked: one folder per distribution, whose libraries it needs."""
        system = {}
        with suppress(OSError):
            system = platform.freedesktop_os_release()
        release = system.get("VERSION_ID") or system.get("VERSION_CODENAME", "")
        return cache() / "debian" / "-".join([system.get("ID", "linux"), release, target()[1]]) / self.package

    @property
    def unpacked(self) -> Path:
        return self.home / "usr" / "bin" / self.commands[0]


PACKAGED = (
    Packaged("prometheus", "prometheus", ("prometheus",)),
    Packaged("promtool", "prometheus", ("promtool",)),
    Packaged("alertmanager", "prometheus-alertmanager", ("prometheus-alertmanager", "alertmanager")),
    Packaged("bwrap", "bubblewrap", ("bwrap",)),
)


def places(packaged: Packaged) -> list[Path]:
    """Where the program is: on PATH, in the cache."""
    installed = [Path(path) for command in packaged.commands if (path := shutil.which(command))]
    return [*installed, *([packaged.unpacked] if packaged.unpacked.is_file() else [])]


def fetch(wanted: Iterable[Packaged], *, log: Path, scratch: Path, tick: Callable[[float], None]) -> list[str]:
    """Download and unpack the packages of these programs; a sentence for each that cannot be had.

    log: keeps what apt says. scratch: a folder for lists and archives, some 100 MB, nothing of which is needed later.
    """
    packages = {each.package: each for each in wanted}
    if not packages:
        return []
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return [f"install {', '.join(packages)}: this machine has no apt-get to fetch them with"]
    with tempfile.TemporaryDirectory(prefix="apt-", dir=scratch) as folder:
        place = Path(folder)
        work = _Work(place, _apt(place), log, tick)
        work.run([*work.apt, "update"])  # one source of many may fail: what counts is whether the packages can be had
        return [reason for each in packages.values() if (reason := work.unpack(each))]


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
        if why := self.run([*self.apt, "download", package]):
            causes = dict.fromkeys([self.trouble, why])  # such as: a name that does not resolve, so there is no package
            return f"install {package}: it cannot be downloaded: {'; '.join(filter(None, causes))}"
        whole = self._place / "unpacked" / package
        whole.mkdir(parents=True)
        archive = max(self._place.glob(f"{package}_*.deb"))
        if why := self.run(["dpkg-deb", "-x", archive, whole]):
            return f"install {package}: it cannot be unpacked: {why}"
        ok, said = ask([whole / packaged.unpacked.relative_to(packaged.home), "--version"])
        if not ok:
            library = re.search(r"loading shared libraries: ([^\s:]+)", said)
            why = f"the library {library[1]} is missing" if library else f"it does not run: {said.strip()[-300:]}"
            return f"install {package} with what it depends on (apt-get install {package}): {why}"
        packaged.home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(packaged.home, ignore_errors=True)
        whole.rename(packaged.home)
        return ""
