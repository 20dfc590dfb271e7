"""What the documents say is so: links lead somewhere, the README's example is what is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.cli.main import VERBS
from plimsoll.pillars import PILLARS, all_checks

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"),
                 *(ROOT / "bench").glob("*.md")]
    if "reference/checks" not in path.as_posix() or path.name == "README.md"
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_in_the_readme_is_what_plimsoll_prints() -> None:
    shown = re.search(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown
    command, *lines = shown.group(1).splitlines()
    words = command.removeprefix("$ plimsoll ").split()
    done = subprocess.run([sys.executable, "-m", "plimsoll", *words], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "110"}, timeout=120)  # fmt: skip
    assert done.returncode == 1, done.stderr
    printed = " ".join(done.stdout.split())
    for line in lines:
        assert line.strip() == "…" or " ".join(line.split()) in printed, line


def test_the_readme_names_only_verbs_that_exist() -> None:
    for verb in re.findall(r"^\s+plimsoll (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert verb in VERBS


def test_every_pillar_has_the_checks_the_checklist_asks_for() -> None:
    per_pillar = {pillar: sum(check.pillar == pillar for check in all_checks()) for pillar in PILLARS}
    assert sum(per_pillar.values()) >= 60
    assert all(count >= 10 for count in per_pillar.values()), per_pillar


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
