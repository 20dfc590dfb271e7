"""Values a person writes with a unit: durations, money, percentages, rates, quantities, names.

Each type says which text it takes (`schema`), reads it (`read`) and writes it back (`write`).
`title` is the noun phrase an error prints after "must be".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec
from msgspec import Meta

from plimsoll import units

T = TypeVar("T")

_DURATION_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = "([0-9]{1,6}d)?([0-9]{1,8}h)?([0-9]{1,9}m)?([0-9]{1,11}s)?([0-9]{1,12}ms)?"
_MICRO = 1_000_000


class Duration(int):
    """A span of time in whole milliseconds, written `90s`, `15m`, `1h30m`, `24h`, `400d`, `60ms`."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": f"^(?=.){_DURATION}$",
        "title": "a duration with its unit (ms, s, m, h or d), such as 90s, 15m, 1h30m or 400d",
    }

    @property
    def seconds(self) -> float:
        return self / 1000

    @classmethod
    def read(cls, raw: Any) -> Self:
        parts = re.findall(r"([0-9]+)(ms|[dhms])", raw)
        return cls(sum(int(number) * _DURATION_MS[unit] for number, unit in parts))

    def write(self) -> str:
        unit, size = next(pair for pair in _DURATION_MS.items() if self % pair[1] == 0)
        return f"{self // size}{unit}" if self else "0s"

    __str__ = write


class Interval(Duration):
    """A Duration, or `auto`: worked out by Plimsoll from what it knows. `auto` is held as 0."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": f"^(auto|(?=.){_DURATION})$",
        "title": "auto or a duration with its unit (ms, s, m, h or d), such as 15m",
    }

    @property
    def auto(self) -> bool:
        return not self

    @classmethod
    def read(cls, raw: Any) -> Self:
        return cls(0) if raw == "auto" else super().read(raw)

    def write(self) -> str:
        return super().write() if self else "auto"

    __str__ = write


class Money(int):
    """An amount in whole micro-units of its currency, written as a number of units: `55.04`."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "number",
        "minimum": 0,
        "maximum": 1_000_000_000,
        "title": "an amount of money as a plain number ≥ 0, such as 55.04",
    }

    @property
    def units(self) -> Decimal:
        return Decimal(int(self)) / _MICRO

    @classmethod
    def read(cls, raw: Any) -> Self:
        return cls(round(Decimal(str(raw)) * _MICRO))

    def write(self) -> int | float:
        return self // _MICRO if self % _MICRO == 0 else float(self.units)

    def __str__(self) -> str:
        return f"{self.units:,.2f}"


class Portion(str):
    """A count or a percentage of something: `1`, `10%`."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {
        "type": ["integer", "string"],
        "minimum": 1,
        "pattern": "^(100|[1-9][0-9]?)%$",
        "title": "a whole number ≥ 1, or a percentage from 1% to 100%",
    }

    def of(self, total: int) -> int:
        """The count it means among `total`, rounded up as the API machinery does for maxUnavailable; at least 1."""
        if not self.endswith("%"):
            return int(self)
        return max(1, -(-total * int(self[:-1]) // 100))

    @classmethod
    def read(cls, raw: Any) -> Self:
        return cls(raw)

    def write(self) -> int | str:
        return str(self) if self.endswith("%") else int(self)


class Rate(str):
    """Something per time: `20/s`, `0.5/s`, `300/m`, `1000/h`."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^[0-9]{1,9}(\.[0-9]{1,6})?/[smhd]$",
        "title": "a rate per s, m, h or d, such as 20/s or 300/m",
    }

    @property
    def per_second(self) -> float:
        number, _, unit = self.partition("/")
        return float(Fraction(number) * 1000 / _DURATION_MS[unit])

    @classmethod
    def read(cls, raw: Any) -> Self:
        return cls(raw)

    def write(self) -> str:
        return str(self)


class Quantity(str):
    """A Kubernetes quantity: `8`, `500m`, `64Gi`."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {
        "type": ["integer", "number", "string"],
        "minimum": 0,
        "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?([numkMGTPE]|[KMGTPE]i)?$",
        "title": "a Kubernetes quantity, such as 8, 500m or 64Gi",
    }

    @property
    def value(self) -> Decimal:
        """Cores or bytes, as the field says."""
        return units.quantity(str(self)) or Decimal(0)

    @classmethod
    def read(cls, raw: Any) -> Self:
        return cls(raw)

    def write(self) -> int | str:
        return int(self) if self.isdecimal() and str(int(self)) == self else str(self)


def as_name(text: str, otherwise: str) -> str:
    """A text as a name the file takes: `Team_A.x` is `team-a-x`; `otherwise` where nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or otherwise


WRITTEN = (Duration, Interval, Money, Portion, Rate, Quantity)


def decode(wanted: type[Any], raw: Any) -> Any:
    """msgspec's hook from a validated plain value to one of WRITTEN."""
    return wanted.read(raw)


def encode(value: Any) -> Any:
    """msgspec's hook from one of WRITTEN to the plain value that reads back as it."""
    return value.write()


def schema(wanted: type[Any]) -> dict[str, Any]:
    """msgspec's hook for the JSON Schema of one of WRITTEN."""
    return dict(wanted.schema)


def default(value: T) -> T:
    """A default of one of WRITTEN, or of a struct that holds one, for a struct field.

    msgspec writes plain defaults into the schema itself and knows none of these types.
    """
    make: Callable[[], T] = lambda: value  # noqa: E731
    return msgspec.field(default_factory=make)


Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        title="a name of at most 63 lower-case letters, digits and -, that begins and ends with a letter or digit",
    ),
]
Text = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x08\x0b-\x1f\x7f]*$",
        max_length=1000,
        title="a text of 1 to 1000 characters, not only spaces, without control characters",
    ),
]
Word = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000, title="a text on one line, without control characters")
]
Positive = Annotated[int, Meta(ge=1, le=1_000_000, title="a whole number ≥ 1")]
Natural = Annotated[int, Meta(ge=0, le=1_000_000, title="a whole number ≥ 0")]
Version = Annotated[
    str,
    Meta(
        pattern=r"^v?[0-9]+(\.[0-9]+)*([-+.][0-9A-Za-z.-]+)?$",
        max_length=63,
        title='a version in quotes, such as "1.36" or v26.7.0',
    ),
]
LabelKey = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        max_length=317,
        title="a label key, such as topology.kubernetes.io/zone",
    ),
]
LabelValue = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$",
        title="a label value: a text of at most 63 letters, digits, -, _ and ., in quotes if it looks like a number",
    ),
]
Url = Annotated[
    str, Meta(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=2000, title="an http:// or https:// address")
]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", title="a currency code of three capital letters, such as USD")]
Date = date
