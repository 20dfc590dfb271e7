"""Wrong fields: every problem at once, each a sentence that says what may stand there."""

from __future__ import annotations

import copy
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import Exit, InputError
from plimsoll.spec.document import read
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.problems import PROBLEMS_MAX, SHOWN_MAX, SpecError

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples"
SMALLEST = {
    "pools": [{"name": "p", "gpu": "L4", "gpusPerNode": 1, "nodes": {"max": 2}}],
    "teams": [{"name": "a"}],
}


def test_every_mistake_is_said_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        load((HERE / "mistakes.yaml").read_bytes(), "platform.yaml")
    assert f"{caught.value}\n" == (HERE / "mistakes.txt").read_text()
    assert caught.value.exit_code is Exit.USAGE
    assert isinstance(caught.value, InputError)


def test_the_smallest_platform() -> None:
    platform = from_mapping(SMALLEST)
    assert platform.pools[0].nodes.min == 0
    assert platform.pools[0].selector == {"plimsoll.dev/pool": "p"}
    assert platform.teams[0].spaces == ("a",)
    assert platform.queueing.wait_for_pods_ready.seconds == 600


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "x", [], [None], {}, {"x": 1}], ids=repr)
def test_wrong_types_everywhere(value: object) -> None:
    """Any value of the fullest example may be anything: it loads, or says so at that place or about it."""
    data = read((EXAMPLES / "05-everything" / "platform.yaml").read_bytes(), "p").value
    for path in _paths(data):
        changed = _with(data, path, value)
        try:
            from_mapping(changed)
        except SpecError as error:
            assert error.problems
            assert all(len(str(problem)) < 700 for problem in error.problems)


def _paths(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, each in entries for path in _paths(each, (*above, key)))]


def _with(data: Any, path: tuple[str | int, ...], value: object) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(data)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


_WORDS = st.sampled_from(
    ["p", "a", "x", "L4", "H100-SXM5-80GB", "auto", "1g.10gb", "gpu", "shared", "spot", "15m", "1"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 100) | st.floats(allow_nan=False, allow_infinity=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=6,
)
_SECTIONS = ["pools", "teams", "services", "spot", "queueing", "operator", "waivers", "security", "cluster", "metadata"]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(_SECTIONS), _JSON, max_size=4))
def test_any_mapping_loads_or_raises_spec_error(change: dict[str, Any]) -> None:
    try:
        from_mapping({**SMALLEST, **change})
    except SpecError as error:
        assert error.problems


@pytest.mark.parametrize("data", [None, 5, "x", [], True])
def test_what_is_no_map(data: Any) -> None:
    with pytest.raises(SpecError, match="must be a map with pools, teams"):
        from_mapping(data)


def test_what_is_no_plain_data() -> None:
    loop: dict[str, Any] = {}
    loop["pools"] = loop
    for data in ({"pools": object()}, loop, {"kind": "\ud800"}):
        with pytest.raises(SpecError, match="must be plain data"):
            from_mapping(data)


@pytest.mark.parametrize("escape", ['"\\0"', '"\\e[31m"', '"a\\x7f"', '"\\uD800"', '" \\t "', '""'])
def test_no_control_characters_through_escapes(escape: str) -> None:
    waiver = f"{{check: GPU075, target: '*', owner: {escape}, reason: r, until: 2027-01-31}}"
    pool = "{name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}}"
    with pytest.raises(SpecError) as caught:
        load(f"pools: [{pool}]\nteams: [{{name: a}}]\nwaivers: [{waiver}]\n", "p")
    assert caught.value.problems[0].line == 3
    assert str(caught.value).isprintable()


def test_dates_of_yaml_1_1_are_dates_too() -> None:
    waiver = {"check": "GPU075", "target": "*", "owner": "dana", "reason": "r", "until": date(2027, 1, 31)}
    assert from_mapping({**SMALLEST, "waivers": [waiver]}).waivers[0].until == date(2027, 1, 31)


def test_whole_numbers_have_no_point() -> None:
    text = """
pools:
- name: p
  gpu: L4
  gpusPerNode: 8.0
  nodes: {max: 1}
teams: [{name: a, quota: {p: 1.0}}]
"""
    with pytest.raises(SpecError) as caught:
        load(text, "p")
    said = "must be a whole number, written without a decimal point"
    assert str(caught.value).splitlines()[1:] == [f"p:5: pools[0].gpusPerNode: {said}", f"p:7: teams[0].quota: {said}"]
    with pytest.raises(SpecError) as caught:
        load(text.replace("8.0", "8"), "p")
    assert str(caught.value).startswith("p:7: teams[0].quota: must be a whole number")


def test_a_merge_key_is_no_field() -> None:
    with pytest.raises(SpecError, match="there is no such field; merge keys are not part"):
        load("pools:\n  - &p {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}}\n  - {<<: *p, name: q}\n", "p")


def test_lines_are_those_of_the_file_though_earlier_entries_are_left_out() -> None:
    text = """
pools:
  - {name: broken, gpu: 1, gpusPerNode: 1, nodes: {max: 1}}
  - {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}}
  - {name: q, gpu: nope, gpusPerNode: 1, nodes: {max: 1}}
teams: [{name: a}]
"""
    with pytest.raises(SpecError) as caught:
        load(text, "p")
    assert [(each.line, each.path) for each in caught.value.problems] == [
        (3, ("pools", 0, "gpu")),
        (5, ("pools", 2, "gpu")),
    ]


def test_a_file_full_of_mistakes_is_said_in_part() -> None:
    text = "pools:\n" + "  - {name: p, bad: 1}\n" * 600 + "teams: [{name: a}]\n"
    with pytest.raises(SpecError) as caught:
        load(text, "p")
    assert SHOWN_MAX < len(caught.value.problems) <= PROBLEMS_MAX
    lines = str(caught.value).splitlines()
    assert len(lines) == SHOWN_MAX + 2
    assert lines[-1].endswith(" more")


def test_a_hostile_file_is_refused_quickly() -> None:
    wrong = "".join(f"    '!{n}': 1\n" for n in range(900))
    text = "pools: []\nteams:\n" + "".join(f"- name: t{n}\n  quota:\n{wrong}" for n in range(60))
    began = time.process_time()
    with pytest.raises(SpecError):
        load(text, "p")
    assert time.process_time() - began < 10, "the schema validator's copies of what is wrong must not add up"


def test_found_text_is_cut_and_made_printable() -> None:
    with pytest.raises(SpecError) as caught:
        from_mapping({**SMALLEST, "kind": "x\x1b[31m" + "y" * 500})
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_many_pools_and_teams_are_checked_in_reasonable_time() -> None:
    """A large declaration: 300 pools and 2,000 teams that lend and borrow."""
    pools = [{"name": f"p{n}", "gpu": "L4", "gpusPerNode": 8, "nodes": {"max": 1000}} for n in range(300)]
    teams = [
        {"name": f"t{n}", "quota": {f"p{n % 300}": 8, f"p{n % 299}": 8}, "borrow": {f"p{n % 300}": 8}}
        for n in range(2000)
    ]
    assert len(from_mapping({"pools": pools, "teams": teams}).teams) == 2000


@pytest.mark.parametrize("written", ["GPU075", "gpu075", "Gpu075"])
def test_the_check_of_a_waiver_is_written_in_any_case(written: str) -> None:
    waiver = {"check": written, "target": "*", "owner": "dana", "reason": "r", "until": "2027-01-31"}
    loaded = from_mapping({**SMALLEST, "waivers": [waiver]})
    assert loaded.waivers[0].check == "GPU075"
    assert load(to_yaml(loaded), "p") == loaded
