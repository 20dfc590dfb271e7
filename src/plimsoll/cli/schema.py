"""`plimsoll schema`: for editors."""

from __future__ import annotations

import click
import msgspec


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of platform.yaml.

    \b
    plimsoll schema > platform.schema.json
    # then in platform.yaml, for editors with the YAML language server:
    # yaml-language-server: $schema=platform.schema.json
    """
    from plimsoll.spec.schema import json_schema

    click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
