"""`plimsoll apply` of 500 objects beside `kubectl apply -f` of the same, to a real API server, in turns.

python bench/apply_speed.py [--teams 50] [--rounds 3]

Each run begins with a lab put back to where nothing is applied. Plimsoll's time is that of the whole command: render,
plan, apply, and the wait until every queue is Active; kubectl waits for nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from plimsoll.kube.objects import Ref
from plimsoll.lab.build import found
from plimsoll.lab.run import control, launch
from plimsoll.lab.run.settings import Settings
from plimsoll.pillars.render import render
from plimsoll.plan.order import rank, wave
from plimsoll.spec.load import load

BAR = 5.0  # times
PROGRAM = Path(sys.executable).parent / "plimsoll"


def declaration(teams: int) -> str:
    """A platform whose queues and limits are about ten objects for each team."""
    lines = [
        "apiVersion: plimsoll.dev/v1",
        "kind: Platform",
        "metadata: {name: speed}",
        "cluster: {manage: [security]}",
        "pools: [{name: h100, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {min: 2, max: 100}}]",
        "teams:",
        *(f"  - {{name: team-{number}, quota: {{h100: 8}}}}" for number in range(teams)),
    ]
    return "\n".join(lines) + "\n"


def timed(words: list[str], env: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{words[0]} ended with {done.returncode}: {done.stderr[-1500:]}")
    return took


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--teams", type=int, default=54)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    text = declaration(asked.teams)
    objects = sorted(render(load(text, "bench")).objects, key=lambda each: (wave(each), rank(Ref.of(each))))
    with tempfile.TemporaryDirectory(prefix="plimsoll-speed-") as work:
        os.environ["XDG_STATE_HOME"] = work
        file, manifests = Path(work, "platform.yaml"), Path(work, "objects.yaml")
        file.write_text(text)
        manifests.write_text(yaml.safe_dump_all(objects))
        launch.up(Settings(name="speed", addons=()))
        folder = launch.folder_of("speed")
        env = {**os.environ, "KUBECONFIG": str(folder.kubeconfig)}
        kubectl = str(found.find().path("kubectl"))
        ways = {
            "plimsoll apply": [str(PROGRAM), "apply", "-f", str(file), "--yes"],
            "kubectl apply -f": [kubectl, "apply", "-f", str(manifests)],
            "kubectl apply --server-side -f": [kubectl, "apply", "--server-side", "-f", str(manifests)],
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        try:
            for _ in range(asked.rounds):
                for way, words in ways.items():
                    times[way].append(timed(words, env))
                    control.ask(folder, "reset")
        finally:
            launch.down(folder)
    middle = {way: statistics.median(each) for way, each in times.items()}
    for way, each in times.items():
        print(f"{way}: {middle[way]:.2f} s for {len(objects)} objects (of {', '.join(f'{one:.2f}' for one in each)})")
    ratio = middle["kubectl apply -f"] / middle["plimsoll apply"]
    print(f"{ratio:.1f} times as fast as kubectl apply -f; the bar is {BAR:g}")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
