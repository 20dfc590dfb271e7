"""Finds everything about a declaration that its JSON Schema forbids, and says it in plain words.

The only module that knows jsonschema-rs. Titles in the schema are the noun phrases of the sentences.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs

from plimsoll.spec.problems import PROBLEMS_MAX, Path, Problem, value
from plimsoll.spec.schema import json_schema

_TYPES = {
    "object": "a map", "array": "a list", "string": "a text", "integer": "a whole number", "number": "a number",
    "boolean": "true or false",
}  # fmt: skip
_YAML_1_1 = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_ENTRIES = {"pools": "Pool", "teams": "Team", "services": "Service", "waivers": "Waiver"}


def problems(data: Any) -> list[Problem]:
    """Every violation, at most one per place and PROBLEMS_MAX in all. `data` holds what JSON can hold.

    List entries are judged one by one, so that a hostile file costs no more than what is said of it:
    jsonschema-rs collects all violations of what it is given, each with a copy of what it is about.
    """
    said = (
        problem
        for above, schema, part in _parts(data)
        for error in _validator(schema).iter_errors(part)
        for problem in _said(error, above)
    )
    found: dict[Path, Problem] = {}
    for problem in islice(said, PROBLEMS_MAX):
        found.setdefault(problem.path, problem)
    return list(found.values())


def _parts(data: Any) -> Iterator[tuple[Path, str, Any]]:
    """The file with its lists taken as they are, then each entry of those: path, name of the schema, value."""
    yield (), "", data
    for section, schema in _ENTRIES.items():
        entries = data.get(section) if isinstance(data, dict) else None
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            yield (section, index), schema, entry


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return json_schema()


@lru_cache(maxsize=len(_ENTRIES) + 1)
def _validator(name: str) -> Any:
    """The validator of one definition; of "" the one of the whole file, blind to what its lists hold."""
    definitions = json_schema()["$defs"]
    for section in _ENTRIES:
        definitions["Platform"]["properties"][section]["items"] = True
    schema = {"$defs": definitions, "$ref": f"#/$defs/{name or 'Platform'}"}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def _said(error: Any, above: Path) -> Iterator[Problem]:
    """One violation as problems: one per unknown field, and those of the branch that was meant of an alternative."""
    path: Path = above + tuple(error.instance_path)
    kind = type(error.kind).__name__
    rule = _at(list(error.schema_path)[:-1])
    if kind == "AdditionalProperties":
        for name in error.kind.unexpected:
            yield Problem(path=(*path, name), allowed="there is no such field", hint=_field_hint(name, rule))
    elif kind == "Required":
        name = error.kind.property
        missing = _at([*list(error.schema_path)[:-1], "properties", name])
        yield Problem(path=(*path, name), allowed=f"is missing, must be {_phrase(missing)}")
    elif kind == "PropertyNames":
        wrong = error.kind.error.instance
        names = rule.get("propertyNames", rule)
        yield Problem(path=(*path, wrong), found=f"the key {value(wrong)}", allowed=f"must be {_phrase(names)}")
    elif kind == "AnyOf" and (meant := _meant(error)):
        for inner in meant:
            yield from _said(inner, above)
    else:
        yield Problem(path=path, found=value(error.instance), allowed=_allowed(kind, error, rule),
                      hint=_hint(kind, error, rule))  # fmt: skip


def _meant(error: Any) -> list[Any]:
    """The violations inside the alternative that has the type of what was found; [] if none has."""
    own = list(error.instance_path)
    for branch in error.kind.context:
        top = [each for each in branch if list(each.instance_path) == own]
        if branch and not any(type(each.kind).__name__ in ("Type", "Enum", "Constant") for each in top):
            return list(branch)
    return []


def _allowed(kind: str, error: Any, rule: dict[str, Any]) -> str:
    if kind == "MinItems":
        return f"must have at least {error.kind.limit} " + ("entry" if error.kind.limit == 1 else "entries")
    if kind in ("MaxItems", "MaxProperties"):
        return f"must have at most {error.kind.limit} entries"
    return f"must be {_phrase(rule)}"


def _phrase(rule: dict[str, Any]) -> str:
    """What a rule takes, as a noun phrase."""
    if "$ref" in rule:
        return _phrase(_schema()["$defs"][rule["$ref"].rpartition("/")[2]])
    if "properties" in rule:
        return f"a map with {', '.join(rule['required'])}" if rule.get("required") else "a map"
    if "title" in rule:
        return str(rule["title"])
    if "enum" in rule:
        options = [str(each) for each in rule["enum"]]
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if "anyOf" in rule:
        return " or ".join(dict.fromkeys(_phrase(each) for each in rule["anyOf"]))
    if rule.get("format") == "date":
        return "a date, such as 2027-01-31"
    kinds = rule.get("type", "object")
    return " or ".join(_TYPES[each] for each in ([kinds] if isinstance(kinds, str) else kinds))


def _hint(kind: str, error: Any, rule: dict[str, Any]) -> str:
    found = error.instance
    if kind == "Enum" and isinstance(found, str):
        options = [each for each in rule["enum"] if isinstance(each, str)]
        return _did_you_mean(found, options) if len(options) > 1 else ""
    if kind != "Type":
        return ""
    wanted = rule.get("type")
    if wanted == "string" and isinstance(found, int | float):
        return f"write {found}s or {found}m" if "duration" in rule.get("title", "") else "write it in quotes"
    if wanted == "boolean" and isinstance(found, str) and found.lower() in _YAML_1_1:
        return f"write {_YAML_1_1[found.lower()]}"
    if wanted in ("integer", "number") and isinstance(found, str) and found.isdecimal():
        return "write it without quotes and leading zeros"
    return ""


def _field_hint(name: str, rule: dict[str, Any]) -> str:
    if name == "<<":
        return "merge keys are not part of YAML 1.2; repeat the fields"
    known = list(rule.get("properties", {}))
    return _did_you_mean(name, known) or f"there are {', '.join(known)}"


def _did_you_mean(wrong: str, known: list[str]) -> str:
    close = near(wrong, known)
    return f"did you mean {close}?" if close else ""


def near(wrong: str, known: list[str]) -> str:
    """The known word that a wrong one is nearly, whatever its case and dashes; "" if none is."""
    plain = {each.lower().replace("-", "").replace("_", ""): each for each in known}
    close = difflib.get_close_matches(wrong.lower().replace("-", "").replace("_", ""), plain, n=1, cutoff=0.7)
    return plain[close[0]] if close else ""


def _at(steps: list[str | int]) -> dict[str, Any]:
    """The rule at a schema path. A path may step through `$ref`, or go on from the definition itself."""
    rule: Any = _schema()
    for step in steps:
        if step == "$defs":
            rule = _schema()
        elif isinstance(rule, dict) and "$ref" in rule:
            rule = _schema()["$defs"][rule["$ref"].rpartition("/")[2]]
        rule = rule if step == "$ref" else rule[step]
    return rule if isinstance(rule, dict) else {}
