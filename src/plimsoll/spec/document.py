"""Reads one YAML document strictly and remembers the line of everything in it.

Stricter and smaller than YAML: YAML 1.2's true, false and numbers (`no`, `on`, `22:30`, `0644`
and dates stay text), no tags, no duplicate keys, keys are text, one document, and bounds on
size, depth, nodes and what aliases unfold to. It works on events, not by recursion, so that
nothing a file holds can exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

import yaml

from plimsoll.spec.problems import Path, Problem, SpecError, shown

BYTES_MAX = 1 << 20
DEPTH_MAX = 32
NODES_MAX = 100_000  # after aliases are unfolded; the largest real declarations have a tenth of it
ALIASES_MAX = 200
KEYS_MAX = 1000  # of one map; lists are what grows in a declaration

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?\Z")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"),
)  # fmt: skip
_FORMATS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip"))


class Node:
    """A value and where it stands: `line` and `column` from 1, of the key where it has one."""

    __slots__ = ("children", "column", "line", "size", "value")

    def __init__(self, value: Any, line: int, column: int, children: dict[str | int, Node], size: int) -> None:
        self.value, self.line, self.column, self.children, self.size = value, line, column, children, size

    def at(self, path: Path) -> tuple[int, int]:
        """Line and column of a path, or of the nearest thing above it that exists."""
        node = self
        for step in path:
            child = node.children.get(step)
            if child is None:
                break
            node = child
        return node.line, node.column


class _Open:
    """A map or list whose end has not been read."""

    __slots__ = ("anchor", "children", "key", "line_column", "size", "value")

    def __init__(self, value: Any, anchor: str | None, line_column: tuple[int, int]) -> None:
        self.value, self.anchor, self.line_column = value, anchor, line_column
        self.children: dict[str | int, Node] = {}
        self.key: tuple[str, int, int] | None = None
        self.size = 1


def read(content: bytes | str, where: str) -> Node:
    """The document's root. Raises SpecError: one problem where it is not YAML, else every duplicate key."""
    text = _text(content, where)
    reader = _Reader()
    try:
        root = reader.compose(yaml.parse(text, Loader=_Parser))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = " ".join(filter(None, (error.context, error.problem))) or "cannot be read"
        raise SpecError([Problem(allowed=f"is not valid YAML: {said}", line=line, column=column)], where) from None
    except yaml.YAMLError as error:
        said = shown(str(error).partition("\n")[0], 200)
        raise SpecError([Problem(allowed=f"is not valid YAML: {said}", line=1, column=1)], where) from None
    except _RefusedError as refused:
        raise SpecError([refused.problem], where) from None
    if reader.problems:
        raise SpecError(reader.problems, where)
    if root is None:
        hint = "start with `plimsoll init` or one of examples/"
        raise SpecError([Problem(allowed="holds no declaration", hint=hint, line=1, column=1)], where)
    return root


class _RefusedError(Exception):
    def __init__(self, event: Any, allowed: str, found: str = "") -> None:
        super().__init__(allowed)
        line, column = _place(event)
        self.problem = Problem(found=found, allowed=allowed, line=line, column=column)


class _Reader:
    """Builds nodes from events."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is still being read
        self.aliases = 0
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.nodes = 0

    def compose(self, events: Iterator[Any]) -> Node | None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _RefusedError(event, "a file holds one document; this is a second one")
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._open(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                done = self.stack.pop()
                self._add(event, Node(done.value, *done.line_column, done.children, done.size), done.anchor)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
        return self.root if self.root is not None and self.root.value is not None else None

    def _open(self, event: Any) -> None:
        _refuse_tag(event)
        if len(self.stack) >= DEPTH_MAX:
            raise _RefusedError(event, f"must be nested at most {DEPTH_MAX} deep")
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            raise _RefusedError(event, "must be a text", "a map or list as the key of a map")
        if event.anchor:
            self.anchors[event.anchor] = None
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, event.anchor, _place(event)))

    def _scalar(self, event: Any) -> None:
        _refuse_tag(event)
        line, column = _place(event)
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            parent.key = (event.value, line, column)
            if event.anchor:
                self.anchors[event.anchor] = Node(event.value, line, column, {}, 1)
            return
        value = plain(event.value) if event.implicit[0] else event.value
        self._add(event, Node(value, line, column, {}, 1), event.anchor)

    def _alias(self, event: Any) -> None:
        self.aliases += 1
        if self.aliases > ALIASES_MAX:
            raise _RefusedError(event, f"a file may hold at most {ALIASES_MAX} aliases")
        if event.anchor not in self.anchors:
            raise _RefusedError(event, f"no anchor &{shown(event.anchor)} stands before this alias")
        node = self.anchors[event.anchor]
        if node is None:
            raise _RefusedError(event, f"the alias *{shown(event.anchor)} stands inside the value it means")
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            raise _RefusedError(event, "must be a text", "an alias as the key of a map")
        self._add(event, Node(node.value, *_place(event), node.children, node.size), None)

    def _add(self, event: Any, node: Node, anchor: str | None) -> None:
        """Put a finished value where it belongs."""
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.size += node.size
        if parent.size > NODES_MAX:
            raise _RefusedError(event, f"must hold at most {NODES_MAX} values, those behind aliases counted")
        if isinstance(parent.value, list):
            parent.children[len(parent.value)] = node
            parent.value.append(node.value)
            return
        (key, line, column), parent.key = parent.key or ("", 0, 0), None
        if len(parent.children) >= KEYS_MAX:
            raise _RefusedError(event, f"a map may have at most {KEYS_MAX} keys")
        if key in parent.children:
            first = parent.children[key]
            self.problems.append(
                Problem(found=f'the key "{shown(key)}" twice', allowed="must be there once",
                        hint=f"line {first.line} has it first", line=line, column=column)
            )  # fmt: skip
            return
        parent.children[key] = Node(node.value, line, column, node.children, node.size)
        parent.value[key] = node.value


def _text(content: bytes | str, where: str) -> str:
    """The text of a file. A UTF-8 byte order mark at its start is left out, as YAML allows."""

    def refuse(before: str, allowed: str, hint: str = "") -> SpecError:
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return SpecError([Problem(allowed=allowed, hint=hint, line=line, column=column)], where)

    if len(content) > BYTES_MAX:
        raise refuse("", f"must be at most {BYTES_MAX >> 20} MiB")
    if isinstance(content, bytes):
        for magic, name in _FORMATS:
            if content.startswith(magic):
                raise refuse("", f"must be YAML text, and this is a {name} file")
        for mark, name in _ENCODINGS:
            if content.startswith(mark):
                raise refuse("", f"must be UTF-8, and this is {name}", "save it as UTF-8")
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8")
            _refuse_unprintable(before, refuse)
            raise refuse(before, f"must be UTF-8, and the byte 0x{content[error.start]:02x} here is not") from None
    else:
        text = content
    text = text.removeprefix("\ufeff")
    _refuse_unprintable(text, refuse)
    return text


def _refuse_unprintable(text: str, refuse: Callable[[str, str], SpecError]) -> None:
    bad = _UNPRINTABLE.search(text)
    if bad:
        raise refuse(text[: bad.start()], f"must be text, and holds the character U+{ord(bad[0]):04X}")


def plain(text: str) -> Any:
    """What an unquoted scalar means: YAML 1.2's core schema without octal, hexadecimal, .inf and .nan.

    Text is returned as the very object.
    """
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.match(text)
    if not number:
        return text
    if not number[1] and not number[2]:
        return int(text)
    real = float(text)
    return real if isfinite(real) else text


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise _RefusedError(event, "must have no tag; types follow from the field", f'the tag "{shown(event.tag)}"')


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
