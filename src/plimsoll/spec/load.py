"""From the text of platform.yaml to a Platform, or every problem at once with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from plimsoll.spec import document, values
from plimsoll.spec.crosscheck import crosscheck
from plimsoll.spec.document import Node
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import Path, Problem, SpecError
from plimsoll.spec.validate import problems

_LISTS = ("pools", "teams", "services", "waivers")


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
    rest, unread, kept = _readable(data, [problem.path for problem in found])
    try:
        platform = msgspec.convert(rest, Platform, dec_hook=values.decode)
    except msgspec.ValidationError as error:
        if not found:
            found = [_back(_gap(str(error)), kept)]
    else:
        found += [_back(problem, kept) for problem in crosscheck(platform, unread)]
    if found:
        raise SpecError([_placed(problem, root) for problem in found], where)
    return platform


def _readable(data: Any, wrong: Sequence[Path]) -> tuple[Any, frozenset[str], dict[str, list[int]]]:
    """The data without the list entries and sections that have a problem of their own; cross-checks judge the rest.

    Then what was left out: a section by its name (`spot`), an entry by its list and its name
    (`pools/h100`), or `pools/*` where it has none that can be read. Last the indices of the
    entries that stayed, by list.
    """
    if not wrong or not isinstance(data, dict):
        return data, frozenset(), {}
    unread: set[str] = set()
    gone: dict[str, set[int]] = {}
    for path in wrong:
        section = str(path[0]) if path else ""
        if section in _LISTS and len(path) > 1 and isinstance(path[1], int):
            gone.setdefault(section, set()).add(path[1])
        else:
            unread.add(section)
    rest = {key: value for key, value in data.items() if key not in unread}
    kept: dict[str, list[int]] = {}
    for section in gone.keys() - unread:
        entries = data[section]
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
        unread |= {f"{section}/{names[at] if isinstance(names[at], str) else '*'}" for at in gone[section]}
        kept[section] = [at for at in range(len(entries)) if at not in gone[section]]
        rest[section] = [entries[at] for at in kept[section]]
    return rest, frozenset(unread), kept


def _gap(message: str) -> Problem:
    """What msgspec refuses and the schema does not: `8.0` is an integer to JSON Schema."""
    said, _, place = message.partition(" - at `$")
    place = place.partition("[...]")[0]  # msgspec does not tell keys of maps
    path = tuple(int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", place))
    wanted = re.match(r"Expected `(.+)`, got `(.+)`", said)
    if wanted and "int" in wanted[1].split(" | ") and wanted[2] == "float":
        return Problem(path=path, allowed="must be a whole number, written without a decimal point")
    return Problem(path=path, allowed=f"cannot be read: {said}")


def _back(problem: Problem, kept: dict[str, list[int]]) -> Problem:
    """A problem of the reduced data with the path it has in the whole."""
    match problem.path:
        case (str(section), int(index), *rest) if section in kept:
            return msgspec.structs.replace(problem, path=(section, kept[section][index], *rest))
    return problem


def _placed(problem: Problem, root: Node | None) -> Problem:
    if root is None:
        return problem
    line, column = root.at(problem.path)
    return msgspec.structs.replace(problem, line=line, column=column)
