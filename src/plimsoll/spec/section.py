"""What every part of the declaration has in common."""

from __future__ import annotations

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of platform.yaml: frozen, camelCase in the file, no field that is not its own."""
