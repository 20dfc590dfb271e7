"""What each form of input promises: which kinds it holds whole, in part, or not at all.

The rule and what it costs: docs/decisions/0002-what-a-file-can-promise.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.archive import Member
from plimsoll.kube.decode import HINT, Sharing, admit, from_yaml
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage

# Every cluster has objects of these; a List with all of them was taken over every kind there is.
_EVERYWHERE = frozenset({
    kinds.NAMESPACE, kinds.NODE, kinds.POD, kinds.SERVICE, kinds.SERVICE_ACCOUNT, kinds.CONFIG_MAP,
    kinds.CLUSTER_ROLE, kinds.API_SERVICE,
})  # fmt: skip
# What `kubectl cluster-info dump` writes per namespace. Source: kubectl pkg/cmd/clusterinfo.
_DUMPED = (kinds.EVENT, kinds.SERVICE, kinds.DAEMON_SET, kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.POD)
_HOMES = frozenset({"kube-system", "kube-public", "kube-node-lease"})  # every cluster has these namespaces


class Found(NamedTuple):
    """What a reader got out of its input."""

    form: str
    objects: list[Obj]
    coverage: dict[Kind, Coverage]


class _Piece(NamedTuple):
    """An object and whether it came in a List of its kind."""

    obj: Obj
    listed: bool


def from_json(text: bytes, where: str, sharing: Sharing, *, only: bool = True) -> Iterator[_Piece]:
    """The objects of one JSON document: a List, a typed List such as PodList, or a single object.

    `only`: this is the only file, so that a document of another kind is an error; else it has none.
    """
    try:
        head = msgspec.json.decode(text, type=_Head)
    except msgspec.ValidationError as error:
        if only:
            raise InputError(f"JSON, but no Kubernetes object or List: {error}", where=where, hint=HINT) from error
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(error, where) from error
    if not only and not head.kind:
        return
    bare = head.items is not None and not head.kind  # an array of objects, as jq makes them
    if head.items is None or not (bare or head.kind.endswith("List")):
        yield _Piece(admit(_decoded(text, where, sharing), where), False)
        return
    for number, raw in enumerate(head.items):
        place = f"{where}: item {number}"
        yield _Piece(admit(_typed(_decoded(raw, place, sharing), head), place), not bare)


class _Head(msgspec.Struct):
    """As much of a document as tells what it is; items stay text."""

    apiVersion: str = ""  # noqa: N815  Kubernetes' name
    kind: str = ""
    items: list[msgspec.Raw] | None = None


def _no_json(error: Exception, where: str) -> InputError:
    if isinstance(error, RecursionError):
        return InputError("nested deeper than any object", where=where)
    if isinstance(error, UnicodeDecodeError):
        return InputError(f"not UTF-8 text: {error.reason} 0x{error.object[error.start]:02x}", where=where)
    hint = "the file ends in the middle; take it again" if "truncated" in str(error) else ""
    return InputError(f"not JSON: {error}", where=where, hint=hint)


def _decoded(raw: bytes | msgspec.Raw, where: str, sharing: Sharing) -> Any:
    try:
        return sharing.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_json(error, where) from error


def _typed(value: Any, head: Any) -> Any:
    """An item of a typed list (PodList) says neither kind nor version; its list does."""
    if isinstance(value, dict) and "kind" not in value and head.kind not in ("", "List"):
        return {"apiVersion": head.apiVersion, "kind": head.kind.removesuffix("List"), **value}
    return value


def from_documents(text: str, where: str, *, only: bool = True) -> Iterator[_Piece]:
    """The objects of a YAML text: Lists and single objects, document by document. Empty documents are skipped.

    `only`: as in `from_json`.
    """
    for number, document in enumerate(from_yaml(text, where)):
        if document is None or not (only or (isinstance(document, dict) and document.get("kind"))):
            continue
        place = where if number == 0 else f"{where}: document {number + 1}"
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
            items = document["items"] or []
            if not isinstance(items, list):
                raise InputError("items is not a list", where=place)
            head = _Head(str(document.get("apiVersion", "")), str(document["kind"]))
            for index, item in enumerate(items):
                yield _Piece(admit(_typed(item, head), f"{place}: item {index}"), True)
        else:
            yield _Piece(admit(document, place), False)


def file(text: bytes, where: str) -> Found:
    """One file of text: JSON where it begins like it, else YAML."""
    pieces = list(_pieces(text, where, Sharing()))
    listed = any(piece.listed for piece in pieces)
    return Found("list" if listed else "manifest", [piece.obj for piece in pieces], _list_coverage(pieces))


def _pieces(text: bytes, where: str, sharing: Sharing, *, only: bool = True) -> Iterator[_Piece]:
    start = text.lstrip()[:1]
    if not start:
        raise InputError("the file is empty", where=where, hint=HINT)
    if start in (b"{", b"["):
        return from_json(text, where, sharing, only=only)
    return from_documents(decoded_text(text, where), where, only=only)


def decoded_text(text: bytes, where: str) -> str:
    """Bytes as text, or an InputError with the place of the first byte that is none."""
    try:
        found = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise InputError(f"not UTF-8 text: byte 0x{text[error.start]:02x}", where=f"{where}:{line}") from error
    if "\0" in found:
        raise InputError("not text: it holds NUL bytes", where=where)
    return found


def _by_kind(pieces: Iterable[_Piece]) -> dict[Kind, list[_Piece]]:
    found: dict[Kind, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        group = piece.obj["apiVersion"].rpartition("/")[0]
        if kind := kinds.BY_GROUP_KIND.get((group, piece.obj["kind"])):
            found[kind].append(piece)
    return found


def _list_coverage(pieces: list[_Piece]) -> dict[Kind, Coverage]:
    """A whole export holds every kind whole; else a listed kind is whole unless it may be of one namespace only."""
    found = _by_kind(pieces)
    whole = {kind for kind, own in found.items() if all(piece.listed for piece in own)}
    if whole >= _EVERYWHERE:
        return dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    return {
        kind: Coverage.WHOLE if kind in whole and (not kind.namespaced or _namespaces(own) > 1) else Coverage.PARTIAL
        for kind, own in found.items()
    }


def _namespaces(pieces: list[_Piece]) -> int:
    return len({piece.obj["metadata"].get("namespace") for piece in pieces})


def folder(members: Iterable[Member], where: str) -> Found:
    """A cluster-info dump or a must-gather: many files, each a List, an object or something else of no interest."""
    sharing, homes, names = Sharing(), set(), set()
    pieces: list[_Piece] = []
    for member in members:
        name = member.name.removeprefix("./")
        names.add(name.rpartition("/")[2])
        if member.content.strip():
            pieces += _pieces(member.content, f"{where}/{name}", sharing, only=False)
        homes |= set(name.split("/")[:-1]) & _HOMES
    if not pieces:
        raise InputError("holds no JSON or YAML file with Kubernetes objects", where=where, hint=HINT)
    found = _by_kind(pieces)
    coverage = {
        kind: Coverage.WHOLE if not kind.namespaced and all(piece.listed for piece in own) else Coverage.PARTIAL
        for kind, own in found.items()
    }
    dump = {"nodes.json", "pods.json", "events.json"} <= names
    if dump and homes == _HOMES:  # taken with --all-namespaces: an absent object does not exist
        coverage |= dict.fromkeys(_DUMPED, Coverage.WHOLE)
    return Found("cluster-info dump" if dump else "must-gather", [piece.obj for piece in pieces], coverage)
