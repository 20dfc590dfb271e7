"""Programs that read fixed paths find them in a file system of their own (bubblewrap), or, as root, on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from plimsoll.errors import LabError

_SHARED = ("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc", "/bin", "/lib", "/lib64")
"""What a program finds as it is on the machine, read-only; the places named by callers must not lie in these."""


def at(argv: Sequence[str], paths: Mapping[str, Path], writable: Path, bwrap: Path | None) -> list[str]:
    """The command that runs `argv` where each of `paths` (absolute) holds the file or folder it is given.

    writable: the one folder the program may write, under its own name. `paths` inside it may be written too.
    bwrap: the bubblewrap program. Raises PlimsollError where neither it nor root can help.
    """
    if bwrap and _works(str(bwrap)):
        return [str(bwrap), *_flags(argv[0], paths, writable), "--", *argv]
    if os.geteuid() == 0:
        for target, source in paths.items():
            _place(Path(target), source)
        return list(argv)
    raise LabError(
        f"{Path(argv[0]).name} reads fixed paths ({', '.join(paths)}), which needs bubblewrap or root",
        where="bwrap",
        hint="apt-get install bubblewrap, on a kernel that lets users make namespaces",
    )


def _flags(program: str, paths: Mapping[str, Path], writable: Path) -> list[str]:
    flags = ["--die-with-parent", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108  # its own
    for top in _SHARED:
        if Path(top).is_symlink():
            flags += ["--symlink", str(Path(top).readlink()), top]
        else:
            flags += ["--ro-bind-try", top, top]
    flags += ["--ro-bind", program, program, "--bind", str(writable), str(writable)]
    for target, source in paths.items():
        how = "--bind" if source.is_relative_to(writable) else "--ro-bind"
        flags += [how, str(source), target]
    return flags


@cache
def _works(bwrap: str) -> bool:
    trial = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--", "/bin/true"]
    return (
        subprocess.run(  # noqa: S603  # the program found as bwrap
            trial, capture_output=True, check=False
        ).returncode
        == 0
    )


def _place(target: Path, source: Path) -> None:
    """Copy, since some programs do not follow links; a folder that is there is added to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
