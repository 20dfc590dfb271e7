"""images/Containerfile: nothing here can build it, so its text is held against what it needs and what needs it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from plimsoll.pillars.observability import render_meter

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "images" / "Containerfile").read_text()
KNOWN = {"ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}


def steps() -> list[tuple[str, str]]:
    """Instructions and what they say, lines that go on made one."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = [tuple(line.split(None, 1)) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
    return [(name, said) for name, said in found]


def copied() -> list[str]:
    """Paths of the repository that it copies."""
    words = [shlex.split(said) for name, said in steps() if name == "COPY" and not said.startswith("--from")]
    return [source for each in words for source in each[:-1]]


def of(name: str) -> list[str]:
    return [said for each, said in steps() if each == name]


def test_it_is_made_of_known_steps_on_one_base() -> None:
    assert {name for name, _ in steps()} <= KNOWN
    assert [said.split()[0] for said in of("FROM")] == ["${PYTHON}"] * 2
    (base,) = of("ARG")
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert base.startswith(f"PYTHON=docker.io/library/python:{python.removeprefix('>=')}-slim")


def test_it_runs_as_the_user_and_on_the_port_that_are_rendered() -> None:
    assert of("USER") == [f"{render_meter.USER}:{render_meter.USER}"]
    assert [name for name, _ in steps()].index("USER") > [name for name, _ in steps()].index("FROM")
    assert of("EXPOSE") == [str(render_meter.PORT)]
    assert of("ENTRYPOINT") == ['["plimsoll"]']


def test_everything_is_installed_from_the_lock_with_its_hash() -> None:
    installs = [said for said in of("RUN") if "pip install" in said]
    assert len(installs) == 2
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)
    (lock,) = [path for path in copied() if path.endswith(".lock")]
    text = (ROOT / lock).read_text()
    have = dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+) \\$", text.lower(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"],
              *(each for extra in ("data", "agents", "probe") for each in extras[extra])]  # fmt: skip
    names = {re.split(r"[^a-z0-9.-]", each.lower())[0].replace(".", "-") for each in wanted}
    assert names <= set(have)
    assert text.count("--hash=sha256:") >= len(have)


def test_what_it_copies_makes_the_whole_package(tmp_path: Path) -> None:
    for path in copied():
        source, target = ROOT / path, tmp_path / "src" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=tmp_path / "src", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = tmp_path / "src" / "src" / "plimsoll"
    sources = {f"plimsoll/{path.relative_to(package)}" for path in package.rglob("*.py")}
    assert len(sources) > 200
    assert sources <= inside
