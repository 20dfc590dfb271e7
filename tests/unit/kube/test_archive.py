"""Hostile files, folders and archives: refused in one sentence, before they cost memory or time."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from plimsoll.errors import InputError
from plimsoll.kube import archive, unpack
from plimsoll.kube.store import open_snapshot, save

NODE = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}).encode()
PACK: dict[str, Callable[[bytes], bytes]] = {"json": bytes, "gz": gzip.compress, "zst": zstandard.compress}
BOMB = 400 << 20  # bytes of nothing; packs a thousand times and more


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        open_snapshot(path)
    assert caught.value.where.startswith(str(path))
    assert str(caught.value).isprintable()
    return caught.value


def tar(path: Path, *members: tuple[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            change(info)
            file.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing").what
    assert "Not a directory" in refused(Path(__file__) / "x").what
    os.mkfifo(tmp_path / "fifo")
    assert "neither a file nor a folder" in refused(tmp_path / "fifo").what
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert "neither" in refused(tmp_path / "socket").what
    for device in ("/dev/zero", "/dev/null"):
        assert "neither" in refused(Path(device)).what
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot read it" in refused(tmp_path / "loop").what
    (tmp_path / "empty").mkdir()
    assert "no JSON or YAML file" in refused(tmp_path / "empty").what
    with pytest.raises(InputError, match="cannot be a file"):
        open_snapshot(tmp_path / "a\0b")
    assert "File name too long" in refused(tmp_path / ("x" * 300)).what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything: run the tests as an ordinary user")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.write_bytes(NODE)
    path.chmod(0)
    assert "Permission denied" in refused(path).what


def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json"))
    path.write_bytes(NODE)
    snapshot = open_snapshot(path)
    assert snapshot.source.place == f"{tmp_path}/caf\\xe9.json"
    save(snapshot, tmp_path / "copy")


def test_a_two_gigabyte_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with little_memory(1 << 20):
        error = refused(path)
    assert "larger than 1024 MiB" in error.what
    assert error.hint
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / "nodes.json")
    with little_memory(1 << 20):
        assert "more than 1024 MiB" in refused(tmp_path / "folder").what


@pytest.mark.parametrize("pack", ["gz", "zst", "zst-frames", "tgz", "zip", "zip-lie"])
def test_bombs(tmp_path: Path, pack: str) -> None:
    path = tmp_path / f"bomb.{pack}"
    if pack == "gz":
        with gzip.open(path, "wb") as file:
            for _ in range(BOMB >> 20):
                file.write(bytes(1 << 20))
    elif pack == "zst":
        path.write_bytes(zstandard.compress(bytes(BOMB)))
    elif pack == "zst-frames":
        path.write_bytes(zstandard.compress(bytes(1 << 20)) * 400)
    elif pack == "tgz":
        tar(path, ("nodes.json", bytes(BOMB)))
    else:
        zipped(path, ("nodes.json", bytes(BOMB)))
        if pack == "zip-lie":  # says that it is small: in the list of files and before the file itself
            content = path.read_bytes().replace(BOMB.to_bytes(4, "little"), (100).to_bytes(4, "little"))
            path.write_bytes(content)
    assert path.stat().st_size < 1 << 20
    with little_memory(100 << 20):
        assert re.search("expands more than (200|1000) times", refused(path).what) or pack == "zip-lie"


@pytest.mark.parametrize("make", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_stream_is_left_at_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(unpack, "BYTES_MAX", 3 << 20)
    path = tmp_path / "large"
    path.write_bytes(make(os.urandom(1 << 20) * 4))
    assert "expands to more than 3 MiB" in refused(path).what


def test_packed_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice"
    for inner in (gzip.compress(NODE), zstandard.compress(NODE), zipped(tmp_path / "z", ("a.json", NODE)).read_bytes()):
        path.write_bytes(gzip.compress(inner))
        assert "inside gzip" in refused(path).what
        path.write_bytes(zstandard.compress(inner))
        assert "inside zstd" in refused(path).what


def test_an_archive_in_an_archive_is_not_opened(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", ("node.json", NODE)).read_bytes()
    assert "no JSON or YAML file" in refused(zipped(tmp_path / "outer.zip", ("inner.zip", inner))).what
    error = refused(zipped(tmp_path / "outer.zip", ("apiVersion.json", b"PK\x03\x04 apiVersion")))
    assert error.where.endswith("outer.zip/apiVersion.json")


PLACES = ["../up.json", "/etc/up.json", "a/../../up.json", "..\\up.json", "C:\\up.json", "C:/up.json", "\\up.json"]


@pytest.mark.parametrize("name", PLACES)
def test_names_that_point_outside(tmp_path: Path, name: str) -> None:
    assert "points outside" in refused(tar(tmp_path / "evil.tar", ("node.json", NODE), (name, NODE))).what
    assert "points outside" in refused(tar(tmp_path / "evil.tgz", (name, NODE))).what
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("x")
        info.filename = name
        file.writestr(info, NODE)
    assert "points outside" in refused(path).what
    assert sorted(each.name for each in tmp_path.iterdir()) == ["evil.tar", "evil.tgz", "evil.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_a_tar_are_passed_over(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as file:
        odd = tarfile.TarInfo("link.json")
        odd.type, odd.linkname = kind, "/etc/passwd"
        file.addfile(odd)
        info = tarfile.TarInfo("node.json")
        info.size = len(NODE)
        file.addfile(info, io.BytesIO(NODE))
    assert open_snapshot(path).counts() == {"Node": 1}


def test_a_link_of_a_zip_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link.json")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "apiVersion: /etc/passwd")
        file.writestr("node.json", NODE)
    assert open_snapshot(path).counts() == {"Node": 1}


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS_MAX", 10)
    members = [(f"{number}.log", b"") for number in range(11)]
    assert "more than 10 files" in refused(tar(tmp_path / "many.tar", *members)).what
    assert "more than 10 files" in refused(zipped(tmp_path / "many.zip", *members)).what
    (tmp_path / "many").mkdir()
    for name, content in members:
        (tmp_path / "many" / name).write_bytes(content)
    assert "more than 10 files" in refused(tmp_path / "many").what


def test_too_much_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "BYTES_MAX", 1000)
    members = [("a.json", b"#" * 600), ("b.yaml", b"#" * 600)]
    assert "of JSON and YAML" in refused(tar(tmp_path / "much.tar", *members)).what
    assert "of JSON and YAML" in refused(zipped(tmp_path / "much.zip", *members)).what
    logs = [("a.log", b"#" * 5000), ("node.json", NODE)]  # passed over, not counted
    assert open_snapshot(tar(tmp_path / "logs.tar", *logs)).counts() == {"Node": 1}
    monkeypatch.setattr(archive, "STREAM_MAX", 4000)
    assert "expanded" in refused(tar(tmp_path / "logs.tar", *logs)).what


def test_a_zip_with_an_endless_list_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "list.zip", *((f"{number}.log", b"") for number in range(100)))
    monkeypatch.setattr(archive, "_DIRECTORY_MAX", 1000)
    assert "lists more files" in refused(path).what


def test_a_tar_with_an_endless_header(tmp_path: Path) -> None:
    """A name, or a note in a PAX header, of many megabytes: the library would read it before it shows the member."""
    path = tmp_path / "header.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * (20 << 20)}) as file:
        file.addfile(tarfile.TarInfo("node.json"))
    with little_memory(60 << 20):
        assert "header of more than 1 MiB" in refused(path).what


def test_headers_of_headers(tmp_path: Path) -> None:
    """Each long-name header says that another follows; the library calls itself for each."""
    block = tarfile.TarInfo("x")
    block.type, block.size = tarfile.GNUTYPE_LONGNAME, 512
    path = tmp_path / "deep.tar"
    path.write_bytes((block.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 5000)
    assert refused(path)


def test_a_locked_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "locked.zip", ("node.json", NODE))
    content = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + flags] |= 1
    path.write_bytes(content)
    assert "password" in refused(path).what


def test_names_with_escapes_do_not_reach_the_terminal(tmp_path: Path) -> None:
    bad = ("\x1b[2Jnode.json", b"apiVersion: [")
    assert "?[2Jnode.json" in refused(tar(tmp_path / "x.tar", bad)).where
    assert "?[2Jnode.json" in refused(zipped(tmp_path / "x.zip", bad)).where


def _cuts(content: bytes) -> Iterator[bytes]:
    """Every tenth byte of a small file; of a large one a thousand places."""
    yield from (content[:end] for end in range(1, len(content), max(10, len(content) // 1000)))


@pytest.mark.parametrize("form", ["json", "gz", "zst", "own", "tar", "tgz", "zip"])
def test_cut_short_anywhere(tmp_path: Path, form: str) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [json.loads(NODE)] * 20}).encode()
    path = tmp_path / f"whole.{form}"
    if form == "own":
        (tmp_path / "list").write_bytes(text)
        save(open_snapshot(tmp_path / "list"), path)
    elif form == "zip":
        zipped(path, ("a.json", text), ("b.json", text))
    elif form in ("tar", "tgz"):
        tar(path, ("a.json", text), ("b.json", text))
    else:
        path.write_bytes(PACK[form](text))
    content = path.read_bytes()
    assert open_snapshot(path).counts() == {"Node": 1}
    if form == "tar":  # the zeros at its end say nothing
        content = content[: content.rindex(b"}") + 1]
    for part in _cuts(content):
        path.write_bytes(part)
        with pytest.raises(InputError):
            open_snapshot(path)


@pytest.mark.parametrize("form", ["gz", "zst", "own", "tar", "tgz", "zip"])
def test_any_byte_changed_is_read_or_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"whole.{form}"
    if form == "own":
        (tmp_path / "list").write_bytes(NODE)
        save(open_snapshot(tmp_path / "list"), path)
    elif form == "zip":
        zipped(path, ("a.json", NODE))
    elif form in ("tar", "tgz"):
        tar(path, ("a.json", NODE))
    else:
        path.write_bytes(PACK[form](NODE))
    content = path.read_bytes()[:1200]
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= (0x01, 0x80, 0xFF)[place % 3]
        path.write_bytes(changed)
        try:
            open_snapshot(path)
        except InputError as error:
            assert error.where.startswith(str(path))


def test_a_tar_that_breaks_in_the_middle_is_not_a_smaller_one(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", ("a.json", NODE), ("b.json", NODE.replace(b'"a"', b'"b"')))
    content = bytearray(path.read_bytes())
    content[1024 + 150] ^= 1  # the check sum in the second header
    path.write_bytes(content)
    assert "damaged" in refused(path).what


@pytest.mark.parametrize(("name", "content"), [
    ("missing", None), ("empty.json", b""), ("utf16", NODE.decode().encode("utf-16")), ("nul", bytes(256)),
    ("bomb.gz", gzip.compress(bytes(64 << 20))), ("deep.json", b"[" * 100_000), ("cut.json", NODE[:-3]),
    ("odd.json", b'{"apiVersion":"v1","kind":"Node","metadata":[]}'),
])  # fmt: skip
def test_the_command_ends_with_one_sentence_and_exit_2(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = subprocess.run([sys.executable, "-m", "plimsoll", "check", str(path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"error: {path}")
    assert all(line == "" or line.startswith("hint: ") for line in rest)
