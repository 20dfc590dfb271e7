"""The JSON Schema of platform.yaml: for editors, and for our own validation."""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from plimsoll.spec import values
from plimsoll.spec.model import Platform
from plimsoll.spec.section import Section

ID = "https://plimsoll.dev/schema/v1/platform.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FIELDS = re.compile(r"(?:^|(?<=\. )|(?<=\n))(`?[a-z_0-9]+`?(?:, `?[a-z_0-9]+`?)*): ")


@lru_cache(maxsize=1)
def _built() -> dict[str, Any]:
    built = msgspec.json.schema(Platform, schema_hook=values.schema)
    definitions: dict[str, Any] = built.pop("$defs")
    for definition in (_without_null(each) for each in definitions.values()):
        definition.setdefault("type", "object")
    for struct in _structs(Platform, {}).values():
        _describe(struct, definitions[struct.__name__])
    return {
        "$schema": DIALECT,
        "$id": ID,
        "title": "Plimsoll platform",
        "description": "The declaration of a GPU platform on Kubernetes.",
        **built,
        "$defs": definitions,
    }


def json_schema() -> dict[str, Any]:
    """The schema of the whole file, draft 2020-12. Titles of plain values are the phrases errors use."""
    return msgspec.json.decode(msgspec.json.encode(_built()), type=dict[str, Any])


def _without_null(schema: Any) -> Any:
    """A schema in which an optional field is one that is left out: `field:` with nothing behind it is a mistake.

    Changes the schema in place and returns it.
    """
    if isinstance(schema, list):
        for each in schema:
            _without_null(each)
    elif isinstance(schema, dict):
        choices = schema.get("anyOf")
        if isinstance(choices, list) and {"type": "null"} in choices:
            left = [each for each in choices if each != {"type": "null"}]
            del schema["anyOf"]
            schema.update(left[0] if len(left) == 1 else {"anyOf": left})
        if "default" in schema and schema["default"] is None:
            del schema["default"]
        for each in schema.values():
            _without_null(each)
    return schema


def _structs(of: Any, found: dict[str, type[Section]]) -> dict[str, type[Section]]:
    """Every section struct that a type holds, by class name."""
    if isinstance(of, type) and issubclass(of, Section):
        if of.__name__ not in found:
            found[of.__name__] = of
            for hint in get_type_hints(of).values():
                _structs(hint, found)
    elif get_origin(of) is not None:
        for argument in get_args(of):
            _structs(argument, found)
    return found


def _describe(struct: type[Section], definition: dict[str, Any]) -> None:
    """Give each property its line of the docstring, and its default."""
    documented = _documented(struct)
    for field in msgspec.structs.fields(struct):
        about = definition["properties"][field.encode_name]
        if field.name.rstrip("_") in documented:
            about["description"] = documented[field.name.rstrip("_")]
        if not field.required:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            plain = _without_nothing(msgspec.to_builtins(default, enc_hook=values.encode, str_keys=True))
            if plain is not None:
                about["default"] = plain
    definition["description"] = (inspect.getdoc(struct) or "").partition("\n\n")[0]


def _without_nothing(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    return {key: _without_nothing(each) for key, each in plain.items() if each is not None}


def _documented(struct: type[Section]) -> dict[str, str]:
    """Field to what the docstring says of it, in the form `name: text` or `name, name: text`."""
    body = (inspect.getdoc(struct) or "").partition("\n\n")[2]
    parts = _FIELDS.split(re.sub(r"\n\s+", " ", body))
    names = {field.name.rstrip("_") for field in msgspec.structs.fields(struct)}
    found: dict[str, str] = {}
    for heads, said in zip(parts[1::2], parts[2::2], strict=False):
        listed = [head.strip("` ") for head in heads.split(",")]
        for head in listed:
            if head in names:
                found[head] = " ".join(said.split()).rstrip(".")
    return found
