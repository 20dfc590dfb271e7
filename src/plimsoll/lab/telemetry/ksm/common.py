"""What families of several kinds have in common.

A family has a name, a help text, and a function from an object to its series: labels, and a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from plimsoll.kube.objects import Obj, get, items, labels, number, text
from plimsoll.lab.telemetry.exposition import Labels, sanitised
from plimsoll.units import moment, quantity

Series = tuple[Labels, float | str]
Family = tuple[str, str, Callable[[Obj], Iterable[Series]]]
_NOBODY: tuple[Obj, ...] = ({},)


def time_of(obj: Obj, *path: str) -> Iterator[Series]:
    """A moment in seconds of the epoch; nothing where there is none."""
    if found := moment(text(obj, *path)):
        yield (), int(found.timestamp())


def created(obj: Obj) -> Iterator[Series]:
    return time_of(obj, "metadata", "creationTimestamp")


def labels_of(obj: Obj) -> Iterator[Series]:
    """Labels of the object as `label_…`; those that become the same name are told apart by a number."""
    have = labels(obj)
    names = [f"label_{sanitised(key)}" for key in sorted(have)]
    twice = {each for each in names if names.count(each) > 1} if len(set(names)) < len(names) else set()
    seen: dict[str, int] = {}
    pairs = []
    for title, key in zip(names, sorted(have), strict=True):
        if title in twice:
            seen[title] = seen.get(title, 0) + 1
            title = f"{title}_conflict{seen[title]}"
        pairs.append((title, text(have, key)))
    yield pairs, 1


def owners(obj: Obj) -> Iterator[Series]:
    for each in items(obj, "metadata", "ownerReferences") or _NOBODY:
        controls = ("true" if each.get("controller") else "false") if each else ""
        yield (
            (
                ("owner_kind", text(each, "kind")),
                ("owner_name", text(each, "name")),
                ("owner_is_controller", controls),
            ),
            1,
        )


def field(*path: str) -> Callable[[Obj], Iterator[Series]]:
    """A whole number of the object; nothing where it is absent."""

    def read(obj: Obj) -> Iterator[Series]:
        value = get(obj, *path)
        if isinstance(value, int):
            yield (), int(value)

    return read


def counted(*path: str) -> Callable[[Obj], Iterator[Series]]:
    """A whole number of the object; 0 where it is absent, as Go reads it."""

    def read(obj: Obj) -> Iterator[Series]:
        yield (), number(obj, *path)

    return read


def always(_: Obj) -> Iterator[Series]:
    yield (), 1


_UNITS = {"cpu": "core", "memory": "byte", "ephemeral-storage": "byte", "storage": "byte"}


def resources(amounts: dict[str, object]) -> Iterator[tuple[str, str, str]]:
    """Resource, unit and value of a list of amounts, the resource as a label value of kube-state-metrics."""
    for resource in sorted(amounts):
        value = quantity(amounts[resource])
        if value is not None:
            unit = "byte" if resource.startswith("hugepages-") else _UNITS.get(resource, "integer")
            yield sanitised(resource), unit, _decimal(value)


def _decimal(value: Decimal) -> str:
    return str(int(value)) if value == int(value) else f"{value.normalize():f}"


def conditions(status: str) -> Iterator[tuple[str, int]]:
    for each in ("true", "false", "unknown"):
        yield each, int(status.lower() == each)


def condition_of(kind: str) -> Callable[[Obj], Iterator[Series]]:
    def read(pod: Obj) -> Iterator[Series]:
        for each in items(pod, "status", "conditions"):
            if each.get("type") == kind:
                for value, holds in conditions(text(each, "status")):
                    yield (("condition", value),), holds

    return read
