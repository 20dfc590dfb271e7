from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll.errors import InputError
from plimsoll.kube.files import whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_modes_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    link.symlink_to(path)
    with whole(link) as file:
        file.write(b"x")
    assert link.is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    with whole(path, private=True) as file:
        file.write(b"y")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_device_or_a_folder_is_not_replaced(tmp_path: Path) -> None:
    for place in (Path("/dev/null"), tmp_path):
        with pytest.raises(InputError, match="neither"), whole(place) as file:
            file.write(b"x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(InputError, match="cannot write it"), whole(tmp_path / "none" / "a") as file:
        file.write(b"x")
