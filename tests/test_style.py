"""The house rules that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LINES_MAX, FUNCTION_MAX = 500, 70


def tracked() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout; run it in one")
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_and_functions_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX, f"split {path.name}: {text.count(chr(10))} lines"
    tree = ast.parse(text)
    assert ast.get_docstring(tree) or not tree.body, f"{path.name} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_MAX, f"{path.name}: {node.name} has {length} lines"


def test_no_promises_left_in_the_code() -> None:
    promise = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    left = [
        f"{path.name}: {line}" for path in SOURCES for line in path.read_text().splitlines() if promise.search(line)
    ]
    assert not left


def test_nothing_names_a_machine_or_a_download_address() -> None:
    own = re.compile(r"(?<![\w./-])/(work|root|home/(?!kubernetes/)[a-z]+)/\w")  # /home/kubernetes is a GKE node's
    address = re.compile(r"https?://[^\s\"]*(/simple\b|files\.pythonhosted|registry\.npmjs|\.whl\b)")
    bad = []
    for path in tracked():
        if path.suffix in (".gz", ".png", ".zst") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if own.search(line) or address.search(line):
                bad.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not bad, bad


def test_locks_pin_every_package_by_hash() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        entries = [entry for entry in re.split(r"\n(?=\S)", lock.read_text().strip()) if entry]
        assert entries
        for entry in entries:
            assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry


def test_ci_runs_the_readme_command() -> None:
    command = (ROOT / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert command == "make test"
    assert command in (ROOT / "README.md").read_text()
