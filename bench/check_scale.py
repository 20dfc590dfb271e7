"""A cold `plimsoll check` of 5,000 nodes and 100,000 pods: bar 5 s and 1 GB.

    python bench/check_scale.py [FILE] [--rounds 5]

Without a FILE the generated cluster is taken; it is made once (half a minute) and kept under build/bench. The process
is started anew each round, so that imports, reading, every check and the report are all in the figure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.measure import measure, report  # noqa: E402  found from the repository's root, wherever this is started

GENERATOR = Path(__file__).with_name("generate.py")
MAKERS = (GENERATOR, ROOT / "src" / "plimsoll" / "kube" / "pack.py")  # what the file's content and form come from


def generated() -> Path:
    """The large cluster as a file; made where there is none, or an older one than its makers."""
    path = ROOT / "build" / "bench" / "5000-nodes-100000-pods.plimsoll"
    if not path.exists() or path.stat().st_mtime < max(maker.stat().st_mtime for maker in MAKERS):
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"generating {path.relative_to(ROOT)}", file=sys.stderr, flush=True)
        # In a process of its own: a child that is measured starts with the peak memory of its parent.
        subprocess.run([sys.executable, str(GENERATOR), str(path)], check=True)
    return path


def main() -> bool:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    file = given.file or generated()
    command = [sys.executable, "-m", "plimsoll", "check", str(file), "--fail-on", "never", "-o", "json"]
    title = f"check of {file.name}, cold"
    return report(title, [measure(command) for _ in range(given.rounds)], seconds=5, mib=954)  # 1 GB


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
