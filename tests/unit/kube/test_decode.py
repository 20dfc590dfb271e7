"""Bad text: each file gives one error that names file and place."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.kube import yamldocs
from plimsoll.kube.decode import Sharing, newest_time
from plimsoll.kube.objects import Obj
from plimsoll.kube.store import open_snapshot

NODE: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}
DEEP = 100_000


def refused(tmp_path: Path, content: bytes | str) -> InputError:
    path = tmp_path / "input"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        open_snapshot(path)
    assert caught.value.where.startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return caught.value


def of(items: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


NESTED = json.dumps(NODE)
for _ in range(6):
    NESTED = of([json.loads(NESTED)])
BAD: dict[str, tuple[bytes | str, str, str]] = {  # what: content, what the error says, where after the file's name
    "empty": (b"", "the file is empty", ""),
    "blanks": (b" \n\t\n", "the file is empty", ""),
    "a byte order mark": ("\ufeff", "the file is empty", ""),
    "UTF-16 little": (json.dumps(NODE).encode("utf-16"), "UTF-16 text", ""),
    "UTF-16 big": (b"\xfe\xff" + json.dumps(NODE).encode("utf-16-be"), "UTF-16 text", ""),
    "Latin-1": (b"a: 1\nb: caf\xe9\n", "not UTF-8 text: byte 0xe9", ":2"),
    "Latin-1 in JSON": (b'{\n"apiVersion": "v1",\n"kind": "caf\xe9"}', "not UTF-8 text: byte 0xe9", ":3"),
    "NUL": (b"a: 1\n\0", "NUL", ":2"),
    "NUL in JSON": (b'{"a": "\0"}', "NUL", ":1"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "NUL", ":3"),
    "ELF": (b"\x7fELF\x02\x01\x01" + b"\0" * 64, "NUL", ":1"),
    "bzip2": (b"BZh91AY&SY", "packed with bzip2", ""),
    "xz": (b"\xfd7zXZ\0\0\x04", "packed with xz", ""),
    "JSON cut": (b'{"apiVersion": "v1",\n"kind": ', "ends in the middle", ":2"),
    "JSON with a typing error": (b'{"apiVersion": "v1",\n"kind": oops}', "not JSON: invalid character", ":2"),
    "JSON with more behind": (json.dumps(NODE) + "\n" + json.dumps(NODE), "more than one JSON document", ":2"),
    "JSON that is only a text": (b'"Node"', "holds a text, not a Kubernetes object", ""),
    "a number": (b"42", "holds a number", ""),
    "prose": (b"hello, world", "holds a text", ""),
    "a table": (b"NAME STATUS\nh100-0   Ready\n", "holds a text", ""),
    "a description": (b"Name: a\nRoles: <none>\n  x: y: z\n", "not YAML", ":3"),
    "tabs": (b"a:\n\tb: 1\n", "not YAML", ":2"),
    "deep arrays": (b"[" * DEEP, "nested too deep|ends in the middle", ""),
    "deep maps": (b'{"a":' * DEEP, "nested too deep|ends in the middle", ""),
    "deep metadata": ('{"apiVersion":"v1","kind":"Node","metadata":{"name":"a","x":' + "[" * DEEP + "]" * DEEP + "}}",
                      "nested too deep", ""),
    "deep YAML": ("a: " + "[" * DEEP, "nesting depth|nested more than 200 deep", ":1"),
    "deep YAML maps": ("a: " + "{a: " * DEEP, "nested more than 200 deep", ":1"),
    "deep YAML dashes": ("a:\n" + "- " * DEEP, "nested more than 200 deep", ":2"),
    "no object": (b'{"a": 1}', "not a Kubernetes object: it has no apiVersion", ""),
    "kind is no text": (b'{"apiVersion": "v1", "kind": 5}', "its kind is a number", ""),
    "kind is empty": (b'{"apiVersion": "v1", "kind": ""}', "its kind is a text|has no kind", ""),
    "apiVersion is a map": (b'{"apiVersion": {}, "kind": "Node"}', "its apiVersion is a map", ""),
    "no metadata": (b'{"apiVersion": "v1", "kind": "Node"}', "Node: metadata is missing", ""),
    "metadata is a list": (b'{"apiVersion": "v1", "kind": "Node", "metadata": []}', "metadata is a list", ""),
    "no name": (b'{"apiVersion": "v1", "kind": "Node", "metadata": {}}', "metadata.name is missing", ""),
    "name is a number": (b'{"apiVersion": "v1", "kind": "Node", "metadata": {"name": 1}}', "name is a number", ""),
    "name with escapes": (json.dumps({**NODE, "metadata": {"name": "a\x1b[2J"}}), "control characters", ""),
    "namespace is a list": (json.dumps({**NODE, "metadata": {"name": "a", "namespace": []}}), "is a list", ""),
    "labels are a list": (json.dumps({**NODE, "metadata": {"name": "a", "labels": ["x"]}}), "not a map of texts", ""),
    "a label is a number": (json.dumps({**NODE, "metadata": {"name": "a", "labels": {"x": 1}}}), "map of texts", ""),
    "an item is a text": (of([NODE, "x"]), "holds a text, not a Kubernetes object", ": item 1"),
    "an item is null": (of([None]), "holds missing|holds nothing", ": item 0"),
    "an item is an array": (of([[NODE]]), "holds a list", ": item 0"),
    "an item without a name": (of([NODE, {**NODE, "metadata": {}}]), "metadata.name is missing", ": item 1"),
    "items is a map": (b'{"apiVersion":"v1","kind":"List","items":{"a":1}}', "nothing that Plimsoll judges", ""),
    "items is null": (b'{"apiVersion":"v1","kind":"NodeList","items":null}', "holds no object", ""),
    "no items": (of([]), "holds no object", ""),
    "an empty array": (b"[]", "holds no object", ""),
    "a foreign kind": (b"apiVersion: aicr.nvidia.com/v1\nkind: Snapshot\n", r"holds Snapshot \(aicr", ""),
    "brackets": ('{"apiVersion":"v1","kind":"List","items":[' + "{}," * 500_000 + "{}]}", "brackets and commas", ""),
    "numbers": ('{"apiVersion":"v1","kind":"List","items":[' + "1," * 1_000_000 + "1]}", "brackets and commas", ""),
    "lists in lists": (NESTED, "nested more than 5 deep", ": item 0" * 5),
    "a huge number": (json.dumps(NODE)[:-1] + ', "spec": {"n": 1e999}}', "out of range", ":1"),
    "lone surrogate": (json.dumps(NODE)[:-1] + ', "spec": {"n": "\\ud800 and more text"}}', "not JSON", ":1"),
    "a YAML object of Python": (b"a: !!python/object/apply:os.system [id]\n", "not YAML", ":1"),
    "bytes in YAML": (b"apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: !!binary 5\n", "not YAML", ":4"),
    "a YAML key that is a list": (b"? [a]\n: b\n", "not YAML", ":1"),
    "a YAML key that is null": (b"apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec: {null: 1}\n", "JSON", ":1"),
    "an alias of nothing": (b"a: *b\n", "alias stands for nothing", ":1"),
    "an alias of itself": (b"a: &a [*a]\n", "alias stands for nothing", ":1"),
    "the second document": ("apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\nkind: Pod\n", "no apiVersion", ":4"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_text_is_one_error_with_its_place(tmp_path: Path, name: str) -> None:
    content, says, place = BAD[name]
    began = time.monotonic()
    error = refused(tmp_path, content)
    assert re.search(says, error.what), error.what
    assert error.where.removeprefix(str(tmp_path / "input")) == place
    assert time.monotonic() - began < 5


LAUGHS = "\n".join(
    ["a0: &a0 [" + ", ".join(["lol"] * 10) + "]"]
    + [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 30)]
)


@pytest.mark.parametrize("text", [
    LAUGHS,
    "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec:\n" + LAUGHS.replace("a", "  a", 1).replace("\na", "\n  a"),
    "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 20_000 + "]\n",
    "a: &a {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\nb: [" + "*a, " * 20_000 + "]\n",
], ids=["laughs", "laughs in an object", "a long text", "a wide map"])  # fmt: skip
def test_alias_bombs(tmp_path: Path, text: str) -> None:
    began = time.monotonic()
    assert "times longer" in refused(tmp_path, text).what
    assert time.monotonic() - began < 5


def test_aliases_of_honest_size_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pods.yaml"
    common = "labels: &all {app: x}\n"
    path.write_text("".join(
        f"---\napiVersion: v1\nkind: Node\nmetadata:\n  name: n{n}\n  {common}  annotations: *all\n" for n in range(50)
    ))  # fmt: skip
    nodes = list(open_snapshot(path))
    assert len(nodes) == 50
    assert nodes[7]["metadata"]["annotations"] == {"app": "x"}


def test_too_much_yaml_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(yamldocs, "YAML_BYTES_MAX", 1000)
    assert "of YAML" in refused(tmp_path, "a: b\n" * 300).what


def test_words_of_yaml_are_what_kubernetes_takes_them_for() -> None:
    text = """
no: no
on: on
yes: yes
time: 2026-01-02T03:04:05Z
day: 2026-01-02
sixty: 22:22
octal: 0777
hash: 0123456
build: 1_000
merge: {<<: {a: 1}}
equals: =
true: true
8080: http
number: 12
negative: -1.5
exponent: 1e3
nothing: ~
empty:
"""
    ((_, value),) = yamldocs.documents(text, "x")
    assert msgspec.json.decode(msgspec.json.encode({str(k): v for k, v in value.items()})) == {
        "no": "no", "on": "on", "yes": "yes", "time": "2026-01-02T03:04:05Z", "day": "2026-01-02", "sixty": "22:22",
        "octal": "0777", "hash": "0123456", "build": "1_000", "merge": {"<<": {"a": 1}}, "equals": "=", "True": True,
        "8080": "http", "number": 12, "negative": -1.5, "exponent": 1000.0, "nothing": None, "empty": None,
    }  # fmt: skip


def test_a_key_given_twice_counts_once(tmp_path: Path) -> None:
    """The last one wins, as in kubectl."""
    twice = {"x.json": '{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"},"metadata":{"name":"b"}}',
             "x.yaml": "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nmetadata: {name: b}\n"}  # fmt: skip
    for name, text in twice.items():
        path = tmp_path / name
        path.write_text(text)
        assert [obj["metadata"]["name"] for obj in open_snapshot(path)] == ["b"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(NODE).encode())
    assert open_snapshot(path).counts() == {"Node": 1}


known_keys = st.sampled_from(["kind", "apiVersion", "items", "metadata", "name"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4)
    | st.dictionaries(known_keys | st.text(), below, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(json_values)
def test_sharing_changes_no_value(value: Any) -> None:
    text = msgspec.json.encode(value)
    assert Sharing().decode(text) == msgspec.json.decode(text)


def _reads_or_refuses(path: Path) -> None:
    try:
        open_snapshot(path)
    except InputError as error:
        assert error.where.startswith(str(path))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "input"


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(scratch: Path, content: bytes) -> None:
    scratch.write_bytes(content)
    _reads_or_refuses(scratch)


@settings(deadline=None, max_examples=300)
@given(json_values, st.sampled_from(["{}", of("@"), of(["@"]), json.dumps({**NODE, "spec": "@"}),
                                     json.dumps({**NODE, "metadata": "@"})]))  # fmt: skip
def test_any_json_is_read_or_refused(scratch: Path, value: Any, around: str) -> None:
    text = around.replace('"@"', json.dumps(value)) if "@" in around else json.dumps(value)
    scratch.write_text(text, encoding="utf-8", errors="surrogatepass")
    _reads_or_refuses(scratch)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from("abk:-[]{}&*!|>%#'\"\n \t?,~<=0189.@`\\"), max_size=120))
def test_any_yaml_is_read_or_refused(scratch: Path, text: str) -> None:
    scratch.write_text("apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec:\n  " + text)
    _reads_or_refuses(scratch)


@pytest.mark.parametrize(("text", "newest"), [
    ('{"creationTimestamp":"2026-01-02T03:04:05Z","notAfter":"2036-01-01T00:00:00Z"}', "2026-01-02 03:04:05+00:00"),
    ('{"lastHeartbeatTime":"2026-01-02T03:04:05Z","renewTime":"2026-01-02T03:04:06.123456Z"}',
     "2026-01-02 03:04:06.123456+00:00"),
    ('{"startTime":"2026-19-02T03:04:05Z","startedAt":"2025-01-02T03:04:05Z"}', "2025-01-02 03:04:05+00:00"),
    ('{"deletionTimestamp":"2026-01-02T03:04:05Z","message":"2026-01-02T03:04:05Z"}', "None"),
])  # fmt: skip
def test_the_newest_time_is_one_at_which_something_happened(text: str, newest: str) -> None:
    assert str(newest_time(text.encode())) == newest
