"""Record the project's own snapshots from the lab: the practised platform, healthy and with each fault.

Writes examples/practice/recordings.tar.zst and docs/reference/faults.md, the table of what found what.

    python tools/record.py [ID...]      # only these faults; the others stay as they were recorded

The recordings are so alike that together they take little more than one: a tar in one zstd stream, in which each is
a snapshot not packed by itself. `tar --zstd -xf` takes them out, and `plimsoll check` reads them.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import zstandard

from plimsoll.cli.lab_life import manifests_in
from plimsoll.cli.progress import bar
from plimsoll.errors import PlimsollError
from plimsoll.kube.pack import save
from plimsoll.kube.snapshot import Snapshot
from plimsoll.lab.faults import registry
from plimsoll.lab.faults.judge import Judge, Judgement
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.run import control, launch
from plimsoll.lab.run.settings import ADDONS, Settings
from plimsoll.spec.load import load

NAME = "record"
ROOT = Path(__file__).parents[1]
PRACTICE = ROOT / "examples" / "practice"
RECORDINGS = PRACTICE / "recordings.tar.zst"
_ROWS = "judgements.json"
_LEVEL, _WINDOW = 19, 24  # 16 MiB: several recordings fit into what is looked back at
TABLE = ROOT / "docs" / "reference" / "faults.md"


def main(ids: list[str]) -> int:
    """Record; 1 where a check missed its fault or named something else beside it."""
    faults = [registry.find(id_) for id_ in ids] or list(registry.ALL)
    book = _read() if ids and RECORDINGS.exists() else Book()
    platform = (PRACTICE / "platform.yaml").read_text()
    with tempfile.TemporaryDirectory() as root:
        os.environ["XDG_STATE_HOME"] = root
        settings = Settings(name=NAME, addons=ADDONS, platform=platform, manifests=manifests_in(PRACTICE / "manifests"))
        with bar("lab up") as progress:
            launch.up(settings, progress)
        try:
            judge = Judge(launch.folder_of(NAME), load(platform, "platform.yaml"))
            if not ids:
                book.snapshots["healthy"] = _plain(judge.snapshot())
            failed = _record(judge, faults, book)
            judge.close()
        finally:
            launch.down(launch.folder_of(NAME))
    known = {fault.id for fault in registry.ALL}
    book.rows = {id_: row for id_, row in book.rows.items() if id_ in known}
    _write(book)
    TABLE.write_text(_table([book.rows[fault.id] for fault in registry.ALL if fault.id in book.rows]))
    missed = [each.fault for each in book.rows.values() if not each.hit or each.extra or not each.healed]
    print(f"{len(book.rows)} faults recorded; not as they should be: {', '.join(missed) or 'none'}", file=sys.stderr)
    return 1 if missed or failed else 0


class Book(msgspec.Struct):
    """What is recorded, by fault: snapshots as they are before they are packed, and what was judged."""

    snapshots: dict[str, bytes] = msgspec.field(default_factory=dict)
    rows: dict[str, Judgement] = msgspec.field(default_factory=dict)


def _record(judge: Judge, faults: list[Fault], book: Book) -> list[str]:
    """Give each fault; the ids of those whose symptom did not show."""
    failed = []
    with bar("recording") as progress:
        for done, fault in enumerate(faults):
            progress(fault.id, done, len(faults))
            try:
                said, snapshot = judge.one(fault)
            except PlimsollError as error:
                print(f"{fault.id}: {error}", file=sys.stderr)
                failed.append(fault.id)
                continue
            book.snapshots[fault.id] = _plain(snapshot)
            book.rows[fault.id] = said
            if not said.healed:
                print(f"{fault.id}: not healed, the lab is reset", file=sys.stderr)
                control.ask(launch.folder_of(NAME), "reset")
    return failed


def _plain(snapshot: Snapshot) -> bytes:
    """A snapshot as our own files hold it, not packed."""
    with tempfile.TemporaryDirectory() as root:
        one = Path(root) / "one"
        save(snapshot, one)
        return zstandard.ZstdDecompressor().stream_reader(one.read_bytes()).read()


def _read() -> Book:
    """What was recorded before."""
    book = Book()
    with (
        RECORDINGS.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        for entry in tar:
            data = tar.extractfile(entry)
            content = data.read() if data else b""
            if entry.name == _ROWS:
                book.rows = msgspec.json.decode(content, type=dict[str, Judgement])
            else:
                book.snapshots[Path(entry.name).stem] = content
    return book


def _write(book: Book) -> None:
    """All of it, as files of a tar with times and owners that do not change from run to run."""
    shape = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW, enable_ldm=True)
    titles = ["healthy", *(fault.id for fault in registry.ALL if fault.id in book.rows)]
    files = {_ROWS: msgspec.json.encode(book.rows)} | {f"{title}.plimsoll": book.snapshots[title] for title in titles}
    with (
        RECORDINGS.open("wb") as file,
        zstandard.ZstdCompressor(compression_params=shape).stream_writer(file) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for title, content in files.items():
            entry = tarfile.TarInfo(title)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _table(found: Iterable[Judgement]) -> str:
    rows = list(found)
    hits = sum(each.hit for each in rows)
    extra = sum(len(each.extra) for each in rows)
    named = sum(len(each.found) for each in rows)
    titles = {fault.id: fault for fault in registry.ALL}
    lines = [
        "# Faults of the lab, and what finds them",
        "",
        f"Generated by `make record` on {datetime.now(UTC):%Y-%m-%d}, from a lab with examples/practice on it:",
        "each fault was given, judged with `plimsoll check` once the API showed it (again, up to four times in eight",
        "seconds, while what it had set in motion went on), and healed. Seconds are from giving it to the judgement.",
        "",
        f"Recall: {hits} of {len(rows)} faults have their check as a root cause.",
        f"Precision: {named - extra} of {named} new root causes name the fault.",
        "",
        "| fault | what is wrong | root causes found | beside it | seconds | healed |",
        "|---|---|---|---|---|---|",
    ]
    for each in rows:
        own = ", ".join(place for check, place in each.found if check == titles[each.fault].check) or "**missed**"
        beside = ", ".join(f"{check} {place}" for check, place in each.extra) or "–"
        when = f" ({titles[each.fault].later} minutes later)" if titles[each.fault].later else ""
        check = titles[each.fault].check
        lines.append(
            f"| `{each.fault}` | {titles[each.fault].title}{when} | [{check}](checks/{check}.md) {own} | {beside} "
            f"| {each.seconds:.1f} | {'yes' if each.healed else '**no**'} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
