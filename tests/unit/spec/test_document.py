"""Bad input: one clear error with its place, whatever the bytes are."""

from __future__ import annotations

import gzip
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.spec.document import ALIASES_MAX, BYTES_MAX, DEPTH_MAX, KEYS_MAX, plain, read
from plimsoll.spec.load import load
from plimsoll.spec.problems import SpecError

BOMB = "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" if before else f"{name}: &{name} [lol]\n"
    for before, name in zip(["", *"abcdefgh"], "abcdefghi", strict=True)
)

REFUSED = {
    "empty": (b"", 1, 1, "holds no declaration"),
    "only a comment": (b"# nothing\n", 1, 1, "holds no declaration"),
    "nothing": (b"~\n", 1, 1, "holds no declaration"),
    "huge": (b"a" * (BYTES_MAX + 1), 1, 1, "must be at most 1 MiB"),
    "NUL": (b"a: 1\nb: x\0y\n", 2, 5, "must be text, and holds the character U+0000"),
    "a terminal escape": (b"a: \x1b[31mred\n", 1, 4, "U+001B"),
    "binary": (bytes(range(256)), 1, 1, "U+0000"),
    "gzip": (gzip.compress(b"kind: Platform"), 1, 1, "this is a gzip file"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", 1, 1, "this is a zstd file"),
    "Latin-1": ("a: 1\nb: é\n".encode("latin-1"), 2, 4, "must be UTF-8, and the byte 0xe9 here is not"),
    "UTF-16": ("a: 1\n".encode("utf-16"), 1, 1, "must be UTF-8, and this is UTF-16; save it as UTF-8"),
    "UTF-16 big endian": (b"\xfe\xff\x00a", 1, 1, "this is UTF-16"),
    "UTF-32": ("a: 1\n".encode("utf-32"), 1, 1, "this is UTF-32"),
    "UTF-16 without a mark": ("a: 1\n".encode("utf-16-le"), 1, 2, "U+0000"),
    "a byte order mark inside": ("a: 1\nb: \ufeffx\n".encode(), 2, 4, "U+FEFF"),
    "an unfinished list": (b"a: [1,\nb: 2\n", 3, 1, "is not valid YAML"),
    "a tab": (b"a:\n\tb: 1\n", 2, 1, "is not valid YAML"),
    "an unfinished text": (b'a: "x\n', 2, 1, "is not valid YAML"),
    "two documents": (b"a: 1\n---\nb: 1\n", 2, 1, "a file holds one document"),
    "a tag": (b"a: !!python/object/apply:os.system [id]\n", 1, 4, "must have no tag"),
    "a local tag": (b"a: !secret x\n", 1, 4, 'found the tag "!secret"'),
    "a list as a key": (b"? [a]\n: 1\n", 1, 3, "must be a text"),
    "an alias as a key": (b"a: &x y\n*x : 1\n", 2, 1, "must be a text"),
    "an alias of nothing": (b"a: *x\n", 1, 4, "no anchor &x stands before this alias"),
    "an alias of itself": (b"a: &x\n  b: *x\n", 2, 6, "stands inside the value it means"),
    "an alias bomb": (BOMB.encode(), 6, 36, "must hold at most 100000 values"),
    "many aliases": (b"a: &x 1\nb: [" + b"*x, " * (ALIASES_MAX + 1) + b"]\n", 2, 5 + 4 * ALIASES_MAX, "aliases"),
    "deep blocks": (b"- " * 5000, 1, 2 * DEPTH_MAX + 1, f"must be nested at most {DEPTH_MAX} deep"),
    "deep maps": (b"".join(b" " * n + b"a:\n" for n in range(300)), DEPTH_MAX + 1, DEPTH_MAX + 1, "nested at most"),
    "deep flow": (b"[" * 100 + b"]" * 100, 1, DEPTH_MAX + 1, "nested at most"),
    "very deep flow": (b"[" * 200_000, 1, None, "p.yaml"),
    "many keys": (b"".join(b"k%d: 1\n" % n for n in range(KEYS_MAX + 1)), KEYS_MAX + 1, 8, "at most 1000 keys"),
    "many values": (b"- a\n" * 150_000, 100_000, 3, "must hold at most 100000 values"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "column", "says"), REFUSED.values(), ids=list(REFUSED))
def test_refused_with_its_place(content: bytes, line: int, column: int | None, says: str) -> None:
    began = time.process_time()
    with pytest.raises(SpecError) as caught:
        load(content, "p.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("p.yaml:")
    [problem] = caught.value.problems
    assert (problem.line, column and problem.column) == (line, column)
    assert time.process_time() - began < 10, "a hostile file must be refused quickly"


def test_every_duplicate_key_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        read("a: 1\nb: {c: 1, d: 2,\n    c: 3}\na: 2\n", "p.yaml")
    assert str(caught.value).splitlines() == [
        "p.yaml: 2 problems",
        'p.yaml:3:5: found the key "c" twice, must be there once; line 2 has it first',
        'p.yaml:4:1: found the key "a" twice, must be there once; line 1 has it first',
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    {
        "true": True, "false": False, "null": None, "~": None, "": None,
        "0": 0, "-7": -7, "1.5": 1.5, "1e3": 1000.0, "-0.25": -0.25,
        "yes": "yes", "no": "no", "on": "on", "off": "off", "True": "True", "NULL": "NULL",
        "0644": "0644", "0x1f": "0x1f", "0o17": "0o17", "1_000": "1_000", "22:30": "22:30", "2026-11-01": "2026-11-01",
        ".inf": ".inf", ".nan": ".nan", "1e999": "1e999", "9" * 19: "9" * 19, "1.": "1.", "+": "+", "=": "=",
    }.items(),
)  # fmt: skip
def test_yaml_1_2_scalars(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)
    assert read(f"a: {text}\nb: '{text}'\n", "p").value == {"a": value, "b": text}


def test_a_leading_utf8_mark_is_left_out_and_aliases_are_values() -> None:
    root = read(b"\xef\xbb\xbfa: &x {b: [1]}\nc: *x\n", "p")
    assert root.value == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert root.at(("a", "b", 0)) == (1, 12)
    assert root.at(("c",)) == (2, 1)
    assert root.at(("c", "zz", 3)) == (2, 1)


def test_keys_are_text() -> None:
    assert read("1: a\ntrue: b\nnull: c\n1.10: d\n", "p").value == {"1": "a", "true": "b", "null": "c", "1.10": "d"}


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_bytes_load_or_raise_spec_error(content: bytes | str) -> None:
    with pytest.raises(SpecError) as caught:
        load(content, "p.yaml")
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


TOKENS = ["a", "pools", "teams", ":", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", "&x ", "*x", "'", '"', "|\n",
          "? ", "# ", "---\n", "...\n", "!t ", "%", "1", "~", "<<", "\t", ">-\n"]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_any_tokens_load_or_raise_spec_error(content: str) -> None:
    with pytest.raises(SpecError):
        load(content, "p.yaml")
