"""From the text of platform.yaml to a Platform, or every problem at once with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.spec import document, values
from plimsoll.spec.crosscheck import crosscheck
from plimsoll.spec.document import Node
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import Path, Problem, SpecError
from plimsoll.spec.repair import readable
from plimsoll.spec.validate import problems

# msgspec 0.22 describes a type to itself at its first use; a second thread meanwhile uses half a description and ends
# the process. So each type that threads use is used first where it is imported.
msgspec.json.Decoder(Platform, dec_hook=values.decode)
GAPS_MAX = 50  # values that only converting refuses, each found by one more conversion


def load(content: bytes | str, where: str) -> Platform:
    """The declaration in a file's content; `where` is what errors call the file.

    Raises SpecError, and nothing else, whatever the content is.
    """
    root = document.read(content, where)
    return _platform(root.value, where, root)


def from_mapping(mapping: Mapping[str, Any], where: str = "platform") -> Platform:
    """The same from plain data, as a test or a program writes it; problems have no lines."""
    try:
        plain = msgspec.json.decode(msgspec.json.encode(mapping))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise SpecError([Problem(allowed=f"must be plain data: {error}")], where) from None
    return _platform(plain, where, None)


def _platform(data: Any, where: str, root: Node | None) -> Platform:
    found = problems(data)
    platform, unread = _converted(data, found)
    if platform is not None:
        found += [problem for problem in crosscheck(platform, unread) if not _said(problem.path, unread)]
    if platform is None or found:
        raise SpecError([_placed(problem, root) for problem in found], where)
    return platform


def _converted(data: Any, found: list[Problem]) -> tuple[Platform | None, frozenset[Path]]:
    """The data without what is wrong in it as a Platform, or None; and what in that is not what the file means.

    Adds to `found` what the schema lets pass and a Platform does not take.
    """
    for _ in range(GAPS_MAX if isinstance(data, dict) else 0):
        rest, unread = readable(data, [problem.path for problem in found])
        try:
            return msgspec.convert(rest, Platform, dec_hook=values.decode), unread
        except msgspec.ValidationError as error:
            gap = _gap(str(error))
        if any(gap.path == each.path for each in found):
            break  # more problems than are kept: what is left of the file is no declaration
        found.append(gap)
    return None, frozenset()


def _said(path: Path, unread: frozenset[Path]) -> bool:
    """Whether what stands at a path has a problem of its own already."""
    return any(path[:size] in unread for size in range(1, len(path) + 1))


def _gap(message: str) -> Problem:
    """What msgspec refuses and the schema does not: `8.0` is an integer to JSON Schema."""
    said, _, place = message.partition(" - at `$")
    place = place.partition("[...]")[0]  # msgspec does not tell keys of maps
    path = tuple(int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", place))
    wanted = re.match(r"Expected `(.+)`, got `(.+)`", said)
    if wanted and "int" in wanted[1].split(" | ") and wanted[2] == "float":
        return Problem(path=path, allowed="must be a whole number, written without a decimal point")
    return Problem(path=path, allowed=f"cannot be read: {said}")


def _placed(problem: Problem, root: Node | None) -> Problem:
    if root is None:
        return problem
    line, column = root.at(problem.path)
    return msgspec.structs.replace(problem, line=line, column=column)
