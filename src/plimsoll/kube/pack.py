"""Our own snapshot file: one zstd stream of JSON lines, written so that 100,000 pods are read in a second and a half.

    header      what is known about the snapshot, and how many lines of each sort follow
    shared      one value that several objects have (the containers of a DaemonSet's pods)
    bundles     {field: {field below: number of a shared value}}: what the objects of one template have in common
    objects     [own fields, number of a bundle, the same map for what only few others share]
    end         the number of objects, so that a file cut short is seen

Not kept: credentials (redact.py), the random part of the name of a pod's token volume, and of a Pod's status
`podIPs`, `hostIPs`, each `containerID` and what is empty in conditions and container statuses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.decode import admit
from plimsoll.kube.files import whole
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.kube.unpack import AGAIN, STREAM_MAX

SCHEMA_VERSION = "plimsoll.dev/snapshot/v1"
MAGIC = b'{"schemaVersion":'
_REST = ""  # no field of a served kind has this name
_REST_BYTES_MIN = 48  # fewer single values are cheaper to write twice
_COMMON = 50  # uses that give a shared value a place in a bundle; rarer ones would make a bundle per object
# The volume every pod gets for its token has a random name, the only difference between pods of one template.
_TOKEN_VOLUME = re.compile(rb'"kube-api-access-[a-z0-9]{5}"')
_KINDS = {str(kind): kind for kind in kinds.ALL}
Taken = dict[str, dict[str, int]]  # field, field below it, number of a shared value
_DAMAGE = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


class _Refused(msgspec.Struct, frozen=True):
    kind: str
    reason: str


class _Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first line."""

    schema_version: str
    form: str
    place: str
    taken_at: datetime | None
    taken_at_is: str
    coverage: dict[str, Coverage]
    unread: list[_Refused]
    shared: int
    bundles: int
    objects: int


def read(lines: Iterator[bytes], where: str) -> Snapshot:
    """The snapshot in the lines of our own file.

    Raises InputError for one that is damaged, cut short or of a version we do not know.
    """
    try:
        header = _header(next(lines), where)
        objects = list(_objects(header, lines, where))
        if len(objects) < header.objects:
            raise StopIteration
        if msgspec.json.decode(next(lines)) != {"end": header.objects} or next(lines, None) is not None:
            raise InputError("the snapshot is damaged: its end does not fit its beginning", where=where, hint=AGAIN)
    except StopIteration:
        raise InputError("the snapshot is cut short", where=where, hint=AGAIN) from None
    except _DAMAGE as error:
        raise InputError(f"the snapshot is damaged ({error})", where=where, hint=AGAIN) from error
    known = {_KINDS[name]: coverage for name, coverage in header.coverage.items() if name in _KINDS}
    unread = [Unread(_KINDS[each.kind], each.reason) for each in header.unread if each.kind in _KINDS]
    source = Source(header.form, header.place, header.taken_at_is)
    return Snapshot(objects, source=source, taken_at=header.taken_at, coverage=known, unread=unread)


def _header(first: bytes, where: str) -> _Header:
    version = msgspec.json.decode(first, type=dict[str, msgspec.Raw])["schemaVersion"]
    if (found := msgspec.json.decode(version)) != SCHEMA_VERSION:
        raise InputError(
            f"a snapshot of version {str(found)[:60]}, where this plimsoll reads {SCHEMA_VERSION}",
            where=where,
            hint="take it again with this plimsoll",
        )
    header = msgspec.json.decode(first, type=_Header)
    if header.taken_at is not None and header.taken_at.tzinfo is None:
        raise ValueError("takenAt has no time zone")
    return header


def _objects(header: _Header, lines: Iterator[bytes], where: str) -> Iterator[Obj]:
    """The objects with their shared parts in place; fewer than the header says where the lines end before."""
    shared = _Shared()
    for _, line in zip(range(header.shared), lines, strict=False):
        shared.add(line)
    decode_bundle = msgspec.json.Decoder(Taken).decode
    bundles = [shared.fill(decode_bundle(line)) for _, line in zip(range(header.bundles), lines, strict=False)]
    decode = msgspec.json.Decoder(tuple[dict[str, Any], int, Taken]).decode
    sound: set[int] = set()
    left = STREAM_MAX  # what all objects are with their parts written out
    for number, line in zip(range(header.objects), lines, strict=False):
        obj, bundle, few = decode(line)
        size, levels = bundles[bundle]
        for key, level in levels.items():
            obj[key].update(level)
        left -= size
        if few:
            left -= shared.put(few, obj)
        if left < 0:
            raise InputError(f"expands to more than {STREAM_MAX >> 30} GiB", where=where)
        if not _seen(obj, sound):
            admit(obj, f"{where}: object {number}")
            _remember(obj, sound)
        yield obj


class _Shared:
    """The shared values by number."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._sizes: list[int] = []

    def add(self, line: bytes) -> None:
        self._values.append(msgspec.json.decode(line))
        self._sizes.append(len(line))

    def fill(self, taken: Taken) -> tuple[int, dict[str, Obj]]:
        """The values that numbers stand for, by field and the field below it, and their size in bytes of JSON."""
        filled: dict[str, Obj] = {key: {} for key in taken}
        return self.put(taken, filled), filled

    def put(self, taken: Taken, into: Obj) -> int:
        """Put the values that numbers stand for where they belong. Returns their size in bytes of JSON."""
        size = 0
        for key, numbers in taken.items():
            level = into[key]
            for field, number in numbers.items():
                size += self._sizes[number]
                if field == _REST:
                    level.update(self._values[number])
                else:
                    level[field] = self._values[number]
        return size


def _seen(obj: Obj, sound: set[int]) -> bool:
    """Whether an object names itself plainly and has labels and annotations that were looked at: most are shared."""
    meta = obj.get("metadata")
    if type(meta) is not dict or id(meta.get("labels")) not in sound or id(meta.get("annotations")) not in sound:
        return False
    if type(obj.get("apiVersion")) is not str or type(obj.get("kind")) is not str:
        return False
    name, namespace = meta.get("name"), meta.get("namespace", "")
    return type(name) is str and type(namespace) is str and name != "" and (name + namespace).isprintable()


def _remember(obj: Obj, sound: set[int]) -> None:
    """Note, by identity, the labels and annotations of an object of a kind that `admit` looks into."""
    if (obj["apiVersion"].rpartition("/")[0], obj["kind"]) in kinds.BY_GROUP_KIND:
        sound |= {id(obj["metadata"].get("labels")), id(obj["metadata"].get("annotations"))}


def save(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot for its owner's eyes only (mode 0600), redacted, all of it or nothing.

    Raises InputError where the place cannot be written.
    """
    objects = [_slim(redacted(obj)) for obj in snapshot]
    uses = Counter(text for obj in objects for _, _, text in _parts(obj))
    index = {text: place for place, text in enumerate(text for text, times in uses.items() if times > 1)}
    bundles: dict[bytes, int] = {}
    placed = []
    for obj in objects:
        common, few = _taken(obj, index, uses)
        placed.append((common, bundles.setdefault(msgspec.json.encode(common), len(bundles)), few))
    coverage: dict[Kind, Coverage] = {kind: snapshot.coverage(kind) for kind in kinds.ALL}
    header = _Header(
        schema_version=SCHEMA_VERSION,
        form=snapshot.source.form,
        place=snapshot.source.place,
        taken_at=snapshot.taken_at,
        taken_at_is=snapshot.source.taken_at_is,
        coverage={str(kind): value for kind, value in coverage.items()},
        unread=[_Refused(str(entry.kind), entry.reason) for entry in snapshot.unread],
        shared=len(index),
        bundles=len(bundles),
        objects=len(objects),
    )
    with whole(path, private=True) as file, zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as out:
        out.write(msgspec.json.encode(header) + b"\n")
        for text in (*index, *bundles):
            out.write(text + b"\n")
        for obj, (common, bundle, few) in zip(objects, placed, strict=True):
            out.write(_encode((_own(obj, common, few), bundle, few)) + b"\n")
        out.write(msgspec.json.encode({"end": len(objects)}) + b"\n")


def _slim(obj: Obj) -> Obj:
    """Without what nobody reads and every pod has of its own: ids of the runtime, addresses said twice, blanks."""
    status = obj.get("status")
    if obj.get("kind") != "Pod" or not isinstance(status, dict):
        return obj
    lean = {key: value for key, value in status.items() if key not in ("podIPs", "hostIPs")}
    for field in ("conditions", "containerStatuses", "initContainerStatuses"):
        if isinstance(entries := lean.get(field), list):
            lean[field] = [_slim_entry(entry) if isinstance(entry, dict) else entry for entry in entries]
    return {**obj, "status": lean}


def _slim_entry(entry: Obj) -> Obj:
    return {key: value for key, value in entry.items() if key != "containerID" and value not in (None, "", {})}


def _parts(obj: Obj) -> Iterator[tuple[str, str, bytes]]:
    """What of an object may be shared: (field, field below it, its JSON).

    Single values of a spec go together, under the name _REST: a pod's own are few.
    """
    for key, level in obj.items():
        if not isinstance(level, dict):
            continue
        for field, value in level.items():
            if isinstance(value, dict | list) and field != _REST:
                yield key, field, _encode(value)
        if key == "spec" and len(text := _encode(_rest(level))) >= _REST_BYTES_MIN:
            yield key, _REST, text


def _rest(spec: Obj) -> Obj:
    return {key: value for key, value in spec.items() if key != "nodeName" and not isinstance(value, dict | list)}


def _encode(value: Any) -> bytes:
    return _TOKEN_VOLUME.sub(b'"kube-api-access"', msgspec.json.encode(value))


def _taken(obj: Obj, index: dict[bytes, int], uses: Counter[bytes]) -> tuple[Taken, Taken]:
    """The numbers of an object's shared values: those for its bundle, and those that few others have."""
    common: Taken = {}
    few: Taken = {}
    for key, field, text in _parts(obj):
        if text in index:
            (common if uses[text] >= _COMMON else few).setdefault(key, {})[field] = index[text]
    return common, few


def _own(obj: Obj, common: Taken, few: Taken) -> Obj:
    """What an object does not share."""
    return {
        key: _own_fields(level, {*common.get(key, ()), *few.get(key, ())}) if isinstance(level, dict) else level
        for key, level in obj.items()
    }


def _own_fields(level: Obj, shared: set[str]) -> Obj:
    gone = shared - {_REST} | (_rest(level).keys() if _REST in shared else set())
    return {field: value for field, value in level.items() if field not in gone}
