"""A machine with nothing on PATH but what a test puts there: a `go` that writes what it is told to, an `apt-get`."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = ("charts/kueue/Chart.yaml", "config/crd/bases/a.yaml", "deployments/gpu-operator/Chart.yaml",
         "assets/state-driver/a.yaml", "manifests/state-driver/a.yaml", "example/prometheus-operator-crd/a.yaml",
         "config/components/crd/bases/a.yaml", "pkg/apis/crds/a.yaml", "manifests/crds/a.yaml")  # fmt: skip

# `mode` names the program that it treats otherwise, and how. `sleep` writes half of it first.
GO = """#!/bin/sh
here=${0%/*}
echo "$@" >> $here/calls
[ "$1" = version ] && { echo "go version go${GO_SAYS:-1.26.8} linux/amd64"; exit; }
[ "$2" = download ] && { echo '"Dir": "'$here'/module",'; exit; }
[ "$1" = build ] || exit 0
/usr/bin/env > $here/environment
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
read -r program how < $here/mode
if [ "$program" = "${out##*/}" ]; then
    case $how in
        sleep) echo half > $out; echo $$ > $here/pid; /bin/sleep 60;;
        slow) /bin/sleep 1;;
        fail) echo "x.go:1:2: undefined: y" >&2; exit 1;;
        *) echo "$how" >&2; exit 1;;
    esac
fi
echo whole > $out
"""


class Machine:
    """Where `plimsoll` runs: its PATH, its cache, what its `go` was asked for."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in FILES:
            file = self.bin / "module" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
            file.chmod(0o444)
            file.parent.chmod(0o755)
        self.install("go", GO)
        self.mode("nothing", "")
        for name in ("prometheus", "promtool", "prometheus-alertmanager", "bwrap"):
            self.says(name, f"{name}, version 2.42.0+ds (branch: debian)")
        for name in ("postgres", "initdb"):
            self.says(name, f"{name} (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
        self.env = {"PATH": str(self.bin), "HOME": str(folder), "PLIMSOLL_CACHE": str(self.cache)}
        self.env["PLIMSOLL_POSTGRES"] = str(self.bin)  # what is installed here is of no concern

    def install(self, name: str, script: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
        return path

    def says(self, name: str, answer: str, folder: Path | None = None) -> Path:
        """A program that says its version and nothing else."""
        return self.install(name, f"#!/bin/sh\necho '{answer}'\n", folder)

    def mode(self, program: str, how: str) -> None:
        """How `go` treats one program: see GO."""
        (self.bin / "mode").write_text(f"{program} {how}\n")

    def remove(self, name: str) -> None:
        (self.bin / name).unlink()

    def built(self) -> list[str]:
        """The programs that `go build` was asked for, in order."""
        calls = self.bin / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        words = [line.split() for line in lines if line.startswith("build ")]
        return [Path(each[each.index("-o") + 1]).name for each in words]

    def forget(self) -> None:
        (self.bin / "calls").unlink()

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """`plimsoll lab build` in a process."""
        command = [sys.executable, "-m", "plimsoll", "lab", "build", *args]
        pipe = subprocess.PIPE
        # A run in the background ignores Ctrl-C, and so would everything it starts.
        hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=self.env | env, cwd=ROOT, preexec_fn=hears
        )

    def build(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        child = self.start(*args, **env)
        out, err = child.communicate(timeout=60)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to ask does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
