"""Kubernetes quantities and moments as plain numbers.

Parsers return None for text that is not of the unit, because they read what
clusters hold; a caller that reads what a person wrote turns None into an error.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40, "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}  # fmt: skip
_QUANTITY = re.compile(
    r"([+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?|[+-]?\.[0-9]{1,30})"  # at most 30 digits: a hostile number stays cheap
    r"(?:([eE][+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i)?)\Z"
)


def quantity(text: object) -> Decimal | None:
    """The value of a Kubernetes quantity (`8`, `500m`, `64Gi`, `1e3`), or None if it is none.

    Cores, bytes or counts, as the field says. Source: apimachinery `resource.Quantity`.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    if isinstance(text, int):
        return Decimal(text)
    match = _QUANTITY.match(str(text))
    if not match:
        return None
    number, exponent, suffix = match.groups()
    try:
        return Decimal(number + (exponent or "")) * _SUFFIX[suffix or ""]
    except InvalidOperation:
        return None


def count(text: object) -> int:
    """A device count from a quantity; 0 where there is none. Extended resources are whole numbers."""
    if type(text) is str and text.isdecimal() and len(text) < 10:  # nearly every one
        return int(text)
    value = quantity(text)
    return int(value) if value is not None else 0


def moment(text: object) -> datetime | None:
    """An RFC 3339 time as an aware UTC datetime, or None."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def version(text: object) -> tuple[int, ...]:
    """The numbers of a dotted version (`v25.3.2`, `570.148.08`), for comparing; () if none."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text) if isinstance(text, str) else None
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()
