"""The lab's programs that are there: in the cache, or on this machine in a version that fits."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from plimsoll.errors import LabError
from plimsoll.lab.build import debian
from plimsoll.lab.build.command import ask
from plimsoll.lab.build.programs import Module, Recipe, definitions, recipes

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(-(?:alpha|beta|rc))?")
_HINT = "run `plimsoll lab build`"


class Found(msgspec.Struct, frozen=True):
    """A program that can be run.

    seconds: what building it took just now, else 0. home: the folder that a Debian package was unpacked into.
    libraries: folders in there that it needs on LD_LIBRARY_PATH.
    """

    name: str
    version: str
    source: Literal["built", "path", "debian"]
    path: Path
    seconds: float = 0.0
    home: Path | None = None
    libraries: tuple[Path, ...] = ()


class Programs(msgspec.Struct, frozen=True):
    """What there is, by name. modules: where the files lie that came with a Go module, by the module's name."""

    found: Mapping[str, Found]
    modules: Mapping[str, Module]

    @property
    def versions(self) -> dict[str, str]:
        """The release of each program, such as v1.36.3 or, of a Debian package, 2.42.0."""
        return {name: each.version for name, each in self.found.items()}

    def path(self, name: str) -> Path:
        """A program to run: the name of a recipe, prometheus, promtool, alertmanager, bwrap or postgres."""
        return self.of(name).path

    def of(self, name: str) -> Found:
        """As `path`, with what else is known of it."""
        if name not in self.found:
            raise LabError(f"{name} is not there", hint=_HINT)
        return self.found[name]

    def asset(self, module: str, name: str) -> Path:
        """A folder that came with a Go module, such as ("kueue", "charts/kueue")."""
        place = self.modules[module].home / "assets" / name
        if not place.is_dir():
            raise LabError(f"{name} of {module} is not there", where=str(place), hint=_HINT)
        return place

    def definitions(self) -> list[Path]:
        """The files that may hold CustomResourceDefinitions of systems whose controllers the lab does not run."""
        named = [module.name for module in definitions() if module.name in self.modules]
        folders = [self.asset(name, folder) for name in named for folder in self.modules[name].assets]
        return [file for folder in folders for file in sorted(folder.glob("*.yaml"))]


def find(wanted: Sequence[Recipe] | None = None) -> Programs:
    """What is there, with nothing built or downloaded. Raises LabError where a program or file of a recipe is missing.

    What Debian packages carry may be absent; `Programs.path` says so when it is asked for.
    """
    programs = look() if wanted is None else look(wanted, ())
    wanted = recipes() if wanted is None else wanted
    absent = [recipe.name for recipe in wanted if recipe.name not in programs.found]
    if absent:
        raise LabError(f"the lab's programs are not all there: {', '.join(absent)}", hint=_HINT)
    for module in programs.modules.values():
        for name in module.assets:
            programs.asset(module.name, name)
    return programs


def look(wanted: Sequence[Recipe] | None = None, read: Sequence[Module] | None = None) -> Programs:
    """What is there of these recipes, by default all, and of Debian's packages. read: modules without a program."""
    wanted = recipes() if wanted is None else wanted
    read = definitions() if read is None else read
    found = {recipe.name: there for recipe in wanted if (there := _there(recipe))}
    for packaged in debian.PACKAGED:
        for path in debian.places(packaged):
            if packaged.name not in found and (there := _packaged(packaged, path)):
                found[packaged.name] = there
    modules = [*(recipe.module for recipe in wanted), *read]
    return Programs(found, {module.name: module for module in modules})


def said_version(argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
    """The first version in what a program says; empty where it does not run."""
    ok, said = ask(argv, env=env)
    named = _VERSION.search(said) if ok else None
    return named[0] if named else ""


def _packaged(packaged: debian.Packaged, path: Path) -> Found | None:
    """A program that Debian packages, if this one runs and is new enough."""
    home = packaged.home if path.is_relative_to(packaged.home) else None
    libraries = debian.libraries(packaged, home) if home else ()
    version = said_version([path, "--version"], debian.with_libraries(libraries))
    if not version or int(version.partition(".")[0]) < packaged.least:
        return None
    return Found(packaged.name, version, "debian" if home else "path", path, 0.0, home, libraries)


def _there(recipe: Recipe) -> Found | None:
    """What the user points to, else the build, else what happens to be installed."""
    pointed = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nonexistent") / recipe.name
    if recipe.says and pointed.is_file() and (version := _fitting(recipe, pointed)):
        return Found(recipe.name, version, "path", pointed)
    if recipe.built.is_file():
        return Found(recipe.name, recipe.module.version, "built", recipe.built)
    installed = shutil.which(recipe.name) if recipe.says else None
    if installed and (version := _fitting(recipe, Path(installed))):
        return Found(recipe.name, version, "path", Path(installed))
    return None


def _fitting(recipe: Recipe, path: Path) -> str:
    """Its version, or nothing where that does not fit. A pre-release never does."""
    said = said_version([path, *recipe.says])
    own, other = _VERSION.match(recipe.module.version.removeprefix("v")), _VERSION.match(said)
    if own is None or other is None or other[4]:
        return ""
    same = (
        other.group(1, 2) == own.group(1, 2) if recipe.fits == "minor" else other.group(1, 2, 3) == own.group(1, 2, 3)
    )
    return f"v{said}" if same else ""
