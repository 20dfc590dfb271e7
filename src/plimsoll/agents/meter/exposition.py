"""The text format in which Prometheus reads metrics (version 0.0.4): families of gauges, labels escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "(other)"  # stands for many; no name in Kubernetes has such signs
_LABEL = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LONGEST = 300  # characters of a label's value: sources are sentences, and a page has thousands of them


class Sample(msgspec.Struct, frozen=True):
    """One series. value: as text, so that money stays exact. A label without a value is no label."""

    value: str
    labels: Mapping[str, str] = {}


class Family(msgspec.Struct, frozen=True):
    """Gauges of one name."""

    name: str
    about: str
    samples: tuple[Sample, ...]


def text(families: Iterable[Family]) -> str:
    """A page; families without a sample are not on it.

    Prometheus takes no page that has a series twice: of two with equal labels (long ones are cut) the first stays.
    """
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {family.about.translate(_HELP)}")
            lines.append(f"# TYPE {family.name} gauge")
            series = {f"{family.name}{_labels(each.labels)}": each.value for each in reversed(family.samples)}
            lines += [f"{name} {value}" for name, value in reversed(series.items())]
    return "\n".join(lines) + "\n" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{value[:_LONGEST].translate(_LABEL)}"' for name, value in labels.items() if value]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def money(amount: int, digits: int = 6) -> str:
    """An amount of units × 10^digits (micro-units) as a decimal number of units, exact."""
    whole, rest = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
