"""Helm releases as they lie in a cluster: Secrets that Helm writes, one for each revision."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Mapping

import msgspec

from plimsoll.kube.objects import Obj, mapping, text
from plimsoll.plan.fields import Field, differences

_REVISION = re.compile("[0-9]{1,18}")
_BYTES_MAX = 64 << 20  # of a release in clear; Kubernetes keeps at most 1 MiB of it packed


class Release(msgspec.Struct, frozen=True):
    """The newest revision of a release. `status`: deployed, failed, pending-upgrade, …; `values`: those given."""

    name: str
    namespace: str
    revision: int
    status: str
    version: str  # of its chart
    values: Obj


def newest(secrets: Iterable[Obj]) -> Release | None:
    """Of the Secrets of one release; None if there is none that can be read."""
    found = [(text(each, "metadata", "labels", "version"), each) for each in secrets]
    known = [(int(version), each) for version, each in found if _REVISION.fullmatch(version)]
    for revision, secret in sorted(known, key=lambda pair: -pair[0]):
        if (release := _decoded(text(secret, "data", "release"))) is not None:
            return Release(
                name=text(release, "name"),
                namespace=text(release, "namespace"),
                revision=revision,
                status=text(release, "info", "status"),
                version=text(release, "chart", "metadata", "version"),
                values=mapping(release, "config"),
            )
    return None


def _decoded(packed: str) -> Obj | None:
    """Helm's form: JSON, gzip, base64; and base64 once more, as every Secret's data."""
    try:
        inner = base64.b64decode(base64.b64decode(packed))
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        clear = stream.decompress(inner, _BYTES_MAX)
        return None if stream.unconsumed_tail else msgspec.json.decode(clear, type=dict)
    except (binascii.Error, zlib.error, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def changed(live: Mapping[str, object], wanted: Mapping[str, object]) -> tuple[Field, ...]:
    """Values of a release that are not as wanted."""
    return tuple(differences(dict(live), dict(wanted), "values"))
