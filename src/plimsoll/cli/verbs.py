"""A command with verbs that are imported only when they run, so that help stays fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click


class Verbs(click.Group):
    """A group that knows its commands by name before it imports them.

    verbs: verb to its one-line help. where: the place of a verb's command, as module:attribute.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], where: Callable[[str], str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = verbs
        self._where = where

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.verbs:
            return None
        module, _, attribute = self._where(cmd_name).partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(self.verbs.items()))
