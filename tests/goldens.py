"""What `render` writes for each example: tools/golden.py keeps it in tests/golden/render, test_golden.py compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plimsoll.pillars.render import render
from plimsoll.plan import deliver
from plimsoll.plan.deliver.manifests import Files
from plimsoll.plan.deliver.source import Source
from plimsoll.spec.load import load

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "render"
NAMES = tuple(sorted(path.parent.name for path in (ROOT / "examples").glob("*/platform.yaml")))
# The form that an example declares; of the richest also what the others have beside its objects.
CASES = (*((name, "") for name in NAMES), ("05-everything", "flux"), ("05-everything", "helmfile"))
_SOURCE = Source.of("https://git.example.com/platform.git", "main", "clusters/production")


def folder(name: str, form: str) -> Path:
    return GOLDEN / (f"{name}.{form}" if form else name)


def files(name: str, form: str) -> Files:
    """By path in the folder of the case."""
    file = ROOT / "examples" / name / "platform.yaml"
    platform = load(file.read_bytes(), str(file))
    wanted = render(platform)
    own = deliver.files(wanted, platform.cluster.delivery, _SOURCE)
    if not form:
        return own
    return {path: text for path, text in deliver.files(wanted, form, _SOURCE).items() if own.get(path) != text}


def there(name: str, form: str) -> Files:
    """What is kept."""
    root = folder(name, form)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in _files(root)}


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())
