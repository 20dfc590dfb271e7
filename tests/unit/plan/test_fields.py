"""Differences of two values: complete, minimal and told apart."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.plan.fields import Field, by_key, differences, join, label, list_key

words = st.text(alphabet='ab/.[]"# é', max_size=4)
leaves = st.none() | st.booleans() | st.integers(-2, 2) | words
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words, inner, max_size=3)
        | st.lists(st.fixed_dictionaries({"name": words, "value": inner}), max_size=3)
        | st.lists(
            st.fixed_dictionaries({"containerPort": st.integers(1, 3)}, optional={"protocol": words}), max_size=3
        )
    ),
    max_leaves=12,
)
maps = st.dictionaries(words, values, max_size=4)


def plain(value: Any) -> Any:
    """A value with what means nothing taken out: null fields; the order of entries that have a key."""
    if type(value) is dict:
        return {key: plain(each) for key, each in value.items() if each is not None}
    if type(value) is list:
        key = list_key(value)
        return (
            {label(name, key): plain(each) for name, each in by_key(value, key).items()}
            if key
            else [*map(plain, value)]
        )
    return type(value), value


def rebuilt(before: Any, after: Any, fields: dict[str, Field], path: str = "") -> Any:
    """`before` with its fields replaced; of `after` only the names of keys are used."""
    if path in fields and not (type(before) is list and type(after) is list and list_key(before + after)):
        return fields[path].after
    if type(before) is dict and type(after) is dict:
        return {key: rebuilt(before.get(key), after.get(key), fields, join(path, key)) for key in {**before, **after}}
    if type(before) is list and type(after) is list and (key := list_key(before + after)):
        old, new = by_key(before, key), by_key(after, key)
        made = [rebuilt(old.get(n), new.get(n), fields, f"{path}[{label(n, key)}]") for n in {**old, **new}]
        return [each for each in made if each is not None]
    if type(before) is list and type(after) is list and len(before) == len(after):
        return [rebuilt(a, b, fields, f"{path}[{n}]") for n, (a, b) in enumerate(zip(before, after, strict=True))]
    return before


@given(maps, maps)
def test_the_fields_put_into_one_value_give_the_other(before: Any, after: Any) -> None:
    fields = {each.path: each for each in differences(before, after)}
    assert plain(rebuilt(before, after, fields)) == plain(after)


@given(maps, maps)
def test_no_two_fields_have_one_path(before: Any, after: Any) -> None:
    paths = [each.path for each in differences(before, after)]
    assert len(paths) == len(set(paths)), paths


@given(values)
def test_equal_values_do_not_differ(value: Any) -> None:
    assert list(differences(value, copy.deepcopy(value))) == []


@given(maps, maps)
def test_every_field_is_a_difference(before: Any, after: Any) -> None:
    assert all(each.before is not each.after for each in differences(before, after))


def test_paths_are_as_people_write_them() -> None:
    before = {"spec": {"containers": [{"name": "vllm", "image": "a"}], "ports": [{"containerPort": 80}]},
              "metadata": {"labels": {"a.b/c": "1"}}}  # fmt: skip
    after = {"spec": {"containers": [{"name": "vllm", "image": "b"}], "ports": [{"containerPort": 80, "name": "x"}]},
             "metadata": {"labels": {}}}  # fmt: skip
    assert [(each.path, each.before, each.after) for each in differences(before, after)] == [
        ("spec.containers[vllm].image", "a", "b"),
        ("spec.ports[80].name", None, "x"),
        ("metadata.labels[a.b/c]", "1", None),
    ]


def test_two_entries_of_one_name_are_told_apart() -> None:
    mounts = [{"name": "cache", "subPath": "a"}, {"name": "cache", "subPath": "b"}]
    changed = [mounts[0], {"name": "cache", "subPath": "c"}]
    assert list(differences({"mounts": mounts}, {"mounts": changed})) == [Field("mounts[cache#2].subPath", "b", "c")]


def test_another_order_is_one_field_with_the_names() -> None:
    before = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    after = {"env": before["env"][::-1]}
    assert list(differences(before, after)) == [Field("env", ["A", "B"], ["B", "A"])]


def test_null_is_what_is_not_there() -> None:
    assert list(differences({"a": None}, {})) == []
    assert list(differences({"a": None}, {"a": {}})) == [Field("a", None, {})]


def test_entries_with_odd_keys_are_compared_whole() -> None:
    odd = [{"name": "a"}, {"name": 1}]
    assert list(differences({"l": odd}, {"l": odd[:1]})) == [Field("l", odd, odd[:1])]
    assert list_key([{"containerPort": 80, "protocol": {}}]) is None
