"""A Platform as the platform.yaml a person would have written: in a fixed order, defaults left out."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from plimsoll.spec import values
from plimsoll.spec.document import plain
from plimsoll.spec.model import Platform
from plimsoll.spec.section import Section

WIDTH = 110


class _Writer(yaml.SafeDumper):
    """Quotes what YAML 1.1 or our own reading of YAML 1.2 would take for something other than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  equal values are written out, not shared
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if plain(text) is text else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def to_yaml(platform: Platform) -> str:
    """The text of a file that `load` reads back as an equal Platform."""
    head = {
        "apiVersion": platform.api_version,
        "kind": platform.kind,
        "metadata": {"name": platform.metadata.name},
    }
    return yaml.dump(
        {**head, **_section(platform)},
        Dumper=_Writer,
        sort_keys=False,
        allow_unicode=True,
        width=WIDTH,
        default_flow_style=None,
    )


def _section(section: Section) -> dict[str, Any]:
    """The fields that differ from their defaults, by their names in the file, in the order of the struct."""
    written: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        if field.required or value != _default(field):
            written[field.encode_name] = _value(value)
    return written


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _value(value: Any) -> Any:
    if isinstance(value, Section):
        return _section(value)
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    return msgspec.to_builtins(value, enc_hook=values.encode)
