"""A folder that is rendered into: what is somebody else's stays, whatever happens in between."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.plan.deliver import folder

OLD = {"NOTES.md": "old\n", "a/objects.yaml": "a: 1\n", "b/deep/objects.yaml": "b: 1\n", "same.yaml": "s\n"}
NEW = {"NOTES.md": "new\n", "a/objects.yaml": "a: 2\n", "c/objects.yaml": "c: 1\n", "same.yaml": "s\n"}


def there(root: Path) -> dict[str, str]:
    """What lies in a folder beside the index."""
    found = (path for path in root.rglob("*") if path.is_file() and path.name != folder.INDEX)
    return {path.relative_to(root).as_posix(): path.read_text() for path in found}


def test_it_holds_what_was_asked_for_last_and_no_empty_folder(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "out"
    assert folder.write(root, OLD).new == tuple(OLD)
    done = folder.write(root, NEW)
    assert done == folder.Written(
        new=("NOTES.md", "a/objects.yaml", "c/objects.yaml"), same=("same.yaml",), gone=("b/deep/objects.yaml",)
    )
    assert there(root) == NEW
    assert not (root / "b").exists()
    assert json.loads((root / folder.INDEX).read_text()).keys() == {"files"}


def test_what_is_so_already_is_not_touched(tmp_path: Path) -> None:
    folder.write(tmp_path, OLD)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert folder.write(tmp_path, OLD).same == tuple(OLD)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_files_of_others_are_refused_and_outlive_force(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("x")
    with pytest.raises(InputError, match="was not written by render") as caught:
        folder.write(tmp_path, OLD)
    assert there(tmp_path) == {"theirs.yaml": "x"}
    assert "--force" in caught.value.hint
    folder.write(tmp_path, OLD, force=True)
    folder.write(tmp_path, NEW, force=True)
    assert there(tmp_path) == NEW | {"theirs.yaml": "x"}


def test_what_somebody_has_changed_is_refused_and_only_force_writes_over_it(tmp_path: Path) -> None:
    folder.write(tmp_path, OLD)
    (tmp_path / "a" / "objects.yaml").write_text("theirs")
    (tmp_path / "b" / "deep" / "objects.yaml").write_text("theirs")
    with pytest.raises(InputError, match=r"was changed since it was rendered \(and 1 more\)"):
        folder.write(tmp_path, NEW)
    folder.write(tmp_path, NEW, force=True)
    assert there(tmp_path) == NEW | {"b/deep/objects.yaml": "theirs"}  # no longer asked for, and theirs now


def test_a_folder_whose_index_is_lost_is_taken_up_where_it_is_as_it_would_be(tmp_path: Path) -> None:
    folder.write(tmp_path, OLD)
    (tmp_path / folder.INDEX).unlink()
    assert folder.write(tmp_path, OLD).same == tuple(OLD)
    assert folder.write(tmp_path, NEW).gone == ("b/deep/objects.yaml",)


def test_what_belongs_to_git_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("x")
    (tmp_path / ".gitignore").write_text("x")
    folder.write(tmp_path, OLD)
    assert (tmp_path / ".git" / "HEAD").exists()


def test_no_link_is_followed_out_of_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (root / "a").symlink_to(outside)
    for force in (False, True):
        with pytest.raises(InputError):
            folder.write(root, OLD, force=force)
    (root / "a").unlink()
    (root / "NOTES.md").symlink_to(outside / "NOTES.md")
    with pytest.raises(InputError, match=r"in the way of NOTES\.md"):
        folder.write(root, OLD, force=True)
    assert not list(outside.iterdir())


def test_a_folder_in_the_place_of_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "NOTES.md").mkdir()
    with pytest.raises(InputError, match=r"in the way of NOTES\.md"):
        folder.write(tmp_path, OLD)
    assert there(tmp_path) == {}


def test_a_file_gives_way_to_a_folder_of_its_name(tmp_path: Path) -> None:
    folder.write(tmp_path, {"a": "x\n"})
    with pytest.raises(InputError, match="in the way of a/b"):
        folder.write(tmp_path, {"a/b": "x\n"})
    assert there(tmp_path) == {"a": "x\n"}


@pytest.mark.parametrize("path", ["../victim", "/etc/victim", "a/../../victim"])
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "out"
    root.mkdir()
    (tmp_path / "victim").write_text("x")
    (root / folder.INDEX).write_text(json.dumps({"files": {path: "0"}}))
    for force in (False, True):
        with pytest.raises(InputError, match="which is not in this folder"):
            folder.write(root, OLD, force=force)
    assert (tmp_path / "victim").exists()


def test_an_index_that_is_none_is_refused_unless_forced(tmp_path: Path) -> None:
    folder.write(tmp_path, OLD)
    (tmp_path / folder.INDEX).write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not an index"):
        folder.write(tmp_path, NEW)
    folder.write(tmp_path, NEW, force=True)
    assert there(tmp_path) == NEW | {"b/deep/objects.yaml": "b: 1\n"}


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another run"):
            folder.write(tmp_path, OLD)
    finally:
        os.close(handle)


def test_a_file_in_the_place_of_the_folder_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="cannot write it"):
        folder.write(tmp_path / "out", OLD)


class Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("after", [OLD, NEW, {}])
def test_a_run_that_is_killed_anywhere_is_taken_up_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, after: dict[str, str]
) -> None:
    """Whatever the next one is asked for; and in between each file is whole."""
    folder.write(tmp_path, OLD)
    left = steps

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def one(self: Path, *args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real(self, *args, **kwargs)

        monkeypatch.setattr(Path, name, one)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # a kill leaves what is staged
        counted("replace")
        counted("unlink")
        counted("open")
        with suppress(Killed):
            folder.write(tmp_path, NEW)
    monkeypatch.undo()
    for path, text in there(tmp_path).items():
        assert path.startswith(".plimsoll-staged/") or text in (OLD.get(path), NEW.get(path))
    folder.write(tmp_path, after)
    assert there(tmp_path) == after
    assert not (tmp_path / ".plimsoll-staged").exists()


names = st.sampled_from(["a.yaml", "b.yaml", "c/d.yaml", "c/e/f.yaml", "g/h.yaml"])
files = st.dictionaries(names, st.sampled_from(["1\n", "2\n"]), max_size=5)


@settings(max_examples=60, deadline=None)
@given(runs=st.lists(files, min_size=1, max_size=4), theirs=st.dictionaries(names.map("x/{}".format), st.just("y")))
def test_whatever_was_rendered_before_it_holds_the_last_and_what_is_theirs(
    tmp_path_factory: pytest.TempPathFactory, runs: list[dict[str, str]], theirs: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("out")
    for path, text in theirs.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for run in runs:
        folder.write(root, run, force=bool(theirs))
    assert there(root) == runs[-1] | theirs
