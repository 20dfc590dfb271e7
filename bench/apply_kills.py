"""`plimsoll apply` killed at random moments, and the API server under it: the next apply must always converge.

python bench/apply_kills.py [--kills 100] [--server-kills 20] [--seed 1]

Each round applies a declaration that differs from the last one (a team and a service more or less, other quotas,
another setting of Kueue), with --prune. The run is killed with SIGKILL after a random time, or the API server is; then
the same apply runs to its end. After each: `plan` finds no change, the objects that carry our label are exactly those
that are rendered, and Helm has one deployed revision of each release.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from plimsoll.kube import kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Ref, labels
from plimsoll.lab.run import launch
from plimsoll.lab.run.settings import ADDONS, Folder, Settings
from plimsoll.lab.run.state import read
from plimsoll.pillars.render import render
from plimsoll.plan.live import Cluster
from plimsoll.plan.model import PILLAR
from plimsoll.plan.record import PILLAR_VALUE
from plimsoll.spec.load import load

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "plimsoll"
PATIENCE = 240  # seconds for one apply


def declarations() -> list[str]:
    """What is applied in turns."""
    base = (ROOT / "examples" / "practice" / "platform.yaml").read_text()
    more = base.replace("teams:\n", "teams:\n  - {name: guests, namespaces: [guests, guests-2], quota: {}}\n", 1)
    other = base.replace("queueing:\n", "queueing:\n  waitForPodsReady: 17m\n", 1)
    if "queueing:" not in base:
        other = f"{base}\nqueueing: {{waitForPodsReady: 17m}}\n"
    return [base, more, other]


class Bench:
    """A lab, and what is applied to it."""

    def __init__(self, folder: Folder, work: Path) -> None:
        self.folder, self.client = folder, Client(folder.kubeconfig)
        self.env = {**os.environ, "KUBECONFIG": str(folder.kubeconfig), "PLIMSOLL_CHARTS": str(folder.root / "charts")}
        self.files = [work / f"platform-{number}.yaml" for number, _ in enumerate(declarations())]
        for file, text in zip(self.files, declarations(), strict=True):
            file.write_text(text)

    def start(self, file: Path) -> subprocess.Popen[str]:
        words = [str(PROGRAM), "apply", "-f", str(file), "--yes", "--prune", "--timeout", "120"]
        return subprocess.Popen(
            words, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def finish(self, file: Path) -> float:
        """Apply to the end; seconds."""
        began = time.monotonic()
        process = self.start(file)
        _, said = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise SystemExit(f"apply of {file.name} ended with {process.returncode}:\n{said}")
        return time.monotonic() - began

    def converged(self, file: Path) -> list[str]:
        """What is not as it should be."""
        done = subprocess.run(
            [str(PROGRAM), "plan", "-f", str(file), "--exit-code"],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        wrong = (
            []
            if done.returncode == 0
            else [f"plan ends with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-500:]}"]
        )
        platform = load(file.read_text(), file.name)
        wanted = [_plain(Ref.of(each)) for each in render(platform).objects]
        there = [
            _plain(Ref.of(each))
            for each in Cluster(self.client).ours(platform.metadata.name)
            if labels(each).get(PILLAR) != PILLAR_VALUE
        ]
        wrong += [f"orphan {each}" for each in set(there) - set(wanted)]
        wrong += [f"missing {each}" for each in set(wanted) - set(there)]
        for space in ("gpu-operator", "kueue-system"):
            found = self.client.list(kinds.SECRET, space, labels="owner=helm")
            states = [labels(each).get("status") for each in found]
            if states.count("deployed") != 1 or any(str(each).startswith("pending") for each in states):
                wrong.append(f"releases in {space}: {states}")
        return wrong

    def kill_server(self) -> None:
        state = read(self.folder)
        for program in state.programs if state else ():
            if program.name == "kube-apiserver":
                os.kill(program.pid, signal.SIGKILL)


def _plain(ref: Ref) -> tuple[str, str, str, str]:
    return ref.api_version.rpartition("/")[0], ref.kind, ref.namespace, ref.name


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--server-kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    rounds = ["apply"] * asked.kills + ["server"] * asked.server_kills
    chance.shuffle(rounds)
    with tempfile.TemporaryDirectory(prefix="plimsoll-kills-") as work:
        os.environ["XDG_STATE_HOME"] = work
        platform = (ROOT / "examples" / "practice" / "platform.yaml").read_text()
        launch.up(Settings(name="kills", addons=ADDONS, platform=platform, charts="wait"))
        folder = launch.folder_of("kills")
        try:
            return play(Bench(folder, Path(work)), rounds, chance)
        finally:
            launch.down(folder)


def play(bench: Bench, rounds: list[str], chance: random.Random) -> int:
    longest = 20.0  # seconds within which a run is killed: at first the whole platform is created
    killed = failed = 0
    for number, what in enumerate(rounds):
        file = bench.files[number % len(bench.files)]
        process = bench.start(file)
        time.sleep(chance.uniform(0.3, longest))
        if what == "server":
            bench.kill_server()
            process.communicate(timeout=PATIENCE)
        else:
            killed += process.poll() is None
            with suppress(ProcessLookupError):  # it had just ended
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        took = bench.finish(file)
        longest = min(longest, took + 6.0)
        wrong = bench.converged(file)
        failed += bool(wrong)
        print(
            f"{number + 1}/{len(rounds)} {what}: {took:.1f} s{''.join(f'; {each}' for each in wrong)}",
            flush=True,
        )
    print(f"{len(rounds)} rounds, {killed} runs killed before their end, {failed} did not converge")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
