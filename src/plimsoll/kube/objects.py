"""Reading plain Kubernetes objects without trusting their shape.

An object comes from a file somebody else wrote. Every accessor here returns
the empty value of the type it promises when the field is absent or of another
type, so that one odd object cannot end an audit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

Obj = dict[str, Any]
MANAGER = "plimsoll"  # our name among the managers of fields
_NOTHING: dict[str, Any] = {}


class Ref(msgspec.Struct, frozen=True, order=True):
    """The name of one object. `namespace` is "" for cluster-scoped kinds."""

    api_version: str = msgspec.field(name="apiVersion")
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Obj) -> Ref:
        return cls(text(obj, "apiVersion"), text(obj, "kind"), namespace(obj), name(obj))

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


# These four walk millions of steps in a review of 100,000 pods, so each has the loop itself; the exact type
# test is twice as fast as isinstance and right: readers make plain dicts and lists.


def get(obj: Any, *path: str | int) -> Any:
    """The value at a path of keys and indices, or None."""
    for step in path:
        obj = obj.get(step) if type(obj) is dict else _entry(obj, step)
    return obj


def mapping(obj: Any, *path: str | int) -> dict[str, Any]:
    """The map at a path; empty if absent. Do not change it."""
    for step in path:
        obj = obj.get(step) if type(obj) is dict else _entry(obj, step)
    return obj if type(obj) is dict else _NOTHING


def items(obj: Any, *path: str | int) -> list[dict[str, Any]]:
    """The maps in the list at a path, skipping what is not a map."""
    for step in path:
        obj = obj.get(step) if type(obj) is dict else _entry(obj, step)
    return [item for item in obj if type(item) is dict] if type(obj) is list else []


def text(obj: Any, *path: str | int) -> str:
    """The string at a path; "" if absent."""
    for step in path:
        obj = obj.get(step) if type(obj) is dict else _entry(obj, step)
    return obj if type(obj) is str else ""


def number(obj: Any, *path: str | int) -> int:
    """The whole number at a path; 0 if absent."""
    value = get(obj, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _entry(obj: Any, step: str | int) -> Any:
    """An entry of a list by index; None for what is no list or has no such entry."""
    if type(obj) is list and type(step) is int and -len(obj) <= step < len(obj):
        return obj[step]
    return None


def name(obj: Obj) -> str:
    found = _metadata(obj).get("name")
    return found if type(found) is str else ""


def namespace(obj: Obj) -> str:
    found = _metadata(obj).get("namespace")
    return found if type(found) is str else ""


def labels(obj: Obj) -> dict[str, str]:
    found = _metadata(obj).get("labels")
    return found if type(found) is dict else _NOTHING


def annotations_of(obj: Obj) -> dict[str, str]:
    return mapping(obj, "metadata", "annotations")


def _metadata(obj: Any) -> dict[str, Any]:
    found = obj.get("metadata") if type(obj) is dict else None
    return found if type(found) is dict else _NOTHING


def condition(obj: Obj, type_: str) -> dict[str, Any]:
    """The entry of `status.conditions` with that type; empty if there is none."""
    for entry in items(obj, "status", "conditions"):
        if entry.get("type") == type_:
            return entry
    return _NOTHING


def owner(obj: Obj) -> dict[str, Any]:
    """The controlling owner reference; empty if there is none."""
    owners = items(obj, "metadata", "ownerReferences")
    for entry in owners:
        if entry.get("controller"):
            return entry
    return owners[0] if owners else _NOTHING


def selects(selector: object, have: dict[str, str]) -> bool:
    """Whether a LabelSelector matches labels. An absent selector matches nothing, an empty one all."""
    if not isinstance(selector, dict):
        return False
    if any(have.get(key) != value for key, value in mapping(selector, "matchLabels").items()):
        return False
    return all(_expression(entry, have) for entry in items(selector, "matchExpressions"))


def _expression(entry: dict[str, Any], have: dict[str, str]) -> bool:
    key, operator = text(entry, "key"), text(entry, "operator")
    values = entry["values"] if isinstance(entry.get("values"), list) else []
    if operator == "Exists":
        return key in have
    if operator == "DoesNotExist":
        return key not in have
    if operator == "In":
        return have.get(key) in values
    if operator == "NotIn":
        return have.get(key) not in values
    if operator in ("Gt", "Lt") and str(have.get(key, "")).isdigit() and values and str(values[0]).isdigit():
        left, right = int(have[key]), int(values[0])
        return left > right if operator == "Gt" else left < right
    return False


def pod_template(obj: Obj) -> Obj:
    """The pod template of a workload object, or the Pod itself; empty if it has none."""
    kind = text(obj, "kind")
    if kind == "Pod":
        return obj
    if kind == "CronJob":
        return mapping(obj, "spec", "jobTemplate", "spec", "template")
    return mapping(obj, "spec", "template")


def containers(pod: Obj) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container of a pod or template with its path: init containers first, as they run."""
    for field in ("initContainers", "containers"):
        value = get(pod, "spec", field)
        for index, item in enumerate(value if isinstance(value, list) else []):
            if isinstance(item, dict):
                yield f"spec.{field}[{index}]", item
