"""Logs of gateways: their lines, and how they are followed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import click
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter import tail
from plimsoll.agents.meter.gateway import LASTED_MAX, Fields, Gateway, Refused, parse
from plimsoll.cli.agent_meter import _gateway
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import Request
from plimsoll.cost.store import open_store
from plimsoll.errors import InputError

AT = 1_795_473_151_560


def read(told: object, **more: Any) -> Request | None:
    return parse(json.dumps(told).encode(), Fields(**more), {"chat": "org/llama"})


def test_a_line_of_envoy() -> None:
    found = read({
        "start_time": "2026-11-24T10:05:01.560Z", "duration": 1200, "response_code": 200, "x-request-id": "7f3a",
        "gen_ai.request.model": "chat", "gen_ai.response.model": "-", "gen_ai.usage.input_tokens": "120",
        "gen_ai.usage.output_tokens": 40, "gen_ai.usage.cache_read.input_tokens": "-", "x-tenant-id": "acme",
    })  # fmt: skip
    at = 1_795_514_701_560
    assert found == Request(
        id="7f3a", model="org/llama", tenant="acme", began=at, ended=at + 1200, prompt=120, output=40
    )


def test_a_line_of_litellm() -> None:
    found = read({
        "id": "chatcmpl-1", "model": "hosted_vllm/qwen", "startTime": AT / 1000, "endTime": (AT + 900) / 1000,
        "prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320, "end_user": "u7",
        "metadata": {"user_api_key_team_alias": "red",
                     "usage_object": {"prompt_tokens_details": {"cached_tokens": 256}}},
    })  # fmt: skip
    assert found == Request(id="chatcmpl-1", model="qwen", tenant="red", began=AT, ended=AT + 900, prompt=300,
                            cached=256, output=20)  # fmt: skip


@pytest.mark.parametrize("value", [AT / 1000, AT, AT * 1000, AT * 10**6, str(AT), "2026-11-23T22:32:31.560+00:00"])
def test_moments_in_any_unit(value: object) -> None:
    found = read({"model": "m", "output_tokens": 1, "time": value})
    assert found is not None
    assert (found.began, found.ended) == (AT, AT)


def test_the_end_and_a_duration_tell_the_beginning() -> None:
    found = read({"model": "m", "output_tokens": 1, "endTime": AT, "duration_ms": 500})
    assert found is not None
    assert (found.began, found.ended) == (AT - 500, AT)


def test_names_of_fields_are_yours() -> None:
    told = {"who": {"dept": "x"}, "llm": "m", "in": 5, "out": 6, "at": AT}
    found = read(told, tenant=("who.dept",), model=("llm",), prompt=("in",), output=("out",), began=("at",))
    assert found is not None
    assert (found.tenant, found.prompt, found.output) == ("x", 5, 6)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"tennant": ["x"]}, Fields)


def test_a_line_without_an_id_is_known_by_what_it_says() -> None:
    line = {"model": "m", "output_tokens": 1, "time": AT}
    one, same, other = read(line), read(line), read(line | {"output_tokens": 2})
    assert one and same and other
    assert one.id == same.id != other.id


@pytest.mark.parametrize(
    "line",
    [{"path": "/health", "time": AT}, {"model": "m", "time": AT}, {"output_tokens": 5, "time": AT}, {}],
)
def test_lines_of_something_else(line: dict[str, Any]) -> None:
    assert read(line) is None


WRONG: list[dict[str, Any]] = [
    {"output_tokens": -1}, {"output_tokens": 1.5}, {"output_tokens": 10**10}, {"output_tokens": "many"},
    {"output_tokens": True}, {"output_tokens": [1]}, {"output_tokens": 10**400}, {"time": "yesterday"},
    {"time": 10**400}, {"time": 5}, {"time": {}}, {"model": {"a": 1}}, {"duration": -1}, {"time": float("nan")},
    {"duration": LASTED_MAX + 1}, {"end_time": AT - 1}, {"end_time": AT + LASTED_MAX + 1}, {"time": None},
]  # fmt: skip
NO_OBJECT = [b"", b"{", b"[1]", b"\xff\xfe{}", b'"text"', b"[" * 100_000, b'{"a":' * 50_000]


@pytest.mark.parametrize(
    "line",
    [*NO_OBJECT, *(json.dumps({"model": "m", "output_tokens": 1, "time": AT} | more).encode() for more in WRONG)],
    ids=lambda line: line[:60].decode(errors="replace"),
)
def test_what_cannot_be_is_refused(line: bytes) -> None:
    with pytest.raises(Refused):
        parse(line, Fields(), {})


def test_names_of_others_are_bounded_and_printable() -> None:
    found = read({"model": "m", "output_tokens": 1, "time": AT, "x-tenant-id": "\x1b[31m\0" + "x" * 10_000, "id": 7})
    assert found is not None
    assert (len(found.tenant), found.tenant.isprintable(), found.id) == (252, True, "7")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=3), of),
)
NAMES = st.sampled_from(["model", "time", "output_tokens", "duration", "usage", "x-tenant-id", "id"])


@given(st.dictionaries(NAMES, ANY))
def test_whatever_a_line_holds_is_read_or_refused(told: dict[str, Any]) -> None:
    try:
        found = read(told)
    except Refused:
        return
    assert found is None or (0 <= found.cached <= found.prompt and found.began <= found.ended)


def line(place: int) -> bytes:
    return json.dumps({"id": f"r{place}", "model": "m", "time": AT + place, "output_tokens": place}).encode() + b"\n"


def ids(found: list[Request]) -> list[str]:
    return [each.id for each in found]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_lines_are_given_once_and_whole(log: Path) -> None:
    gateway = Gateway(log)
    assert gateway.read() == []  # it is not there yet
    log.write_bytes(line(0) + line(1)[:9])
    assert ids(gateway.read()) == ["r0"]
    with log.open("ab") as file:
        file.write(line(1)[9:] + b"not json\n" + b'{"model": "\xff"}\n' + b"2026-11-24T10:00:00Z stdout F " + line(2))
    assert ids(gateway.read()) == ["r1", "r2"]
    assert (gateway.read(), gateway.malformed) == ([], 2)


def test_a_rotated_log_is_read_to_its_end_first(log: Path) -> None:
    gateway = Gateway(log)
    log.write_bytes(line(0))
    assert ids(gateway.read()) == ["r0"]
    writer = log.open("ab", buffering=0)
    log.rename(log.with_suffix(".log.1"))
    log.write_bytes(line(3))
    writer.write(line(1))
    assert ids(gateway.read()) == ["r1"]
    writer.write(line(2))  # it has not been told yet to open the new one
    assert ids(gateway.read()) == ["r2"]
    assert ids(gateway.read()) == ["r3"]
    assert gateway.tail.lost == 0
    writer.close()


def test_rotated_while_nobody_read(log: Path) -> None:
    log.write_bytes(line(0))
    gateway = Gateway(log)
    gateway.read()
    state = json.loads(json.dumps(gateway.state()))
    gateway.tail.close()
    with log.open("ab") as file:
        file.write(line(1))
    log.rename(log.with_name("access-20261124.log"))
    log.write_bytes(line(2))
    again = Gateway(log, state=state)
    assert [*ids(again.read()), *ids(again.read()), *ids(again.read())] == ["r1", "r2"]
    gone = Gateway(log, state={**state, "inode": 1, "written": log.stat().st_mtime_ns})
    assert (ids(gone.read()), gone.tail.lost) == (["r2"], 1)


def test_a_log_that_was_cut_is_read_from_its_beginning(log: Path) -> None:
    gateway = Gateway(log)
    log.write_bytes(line(0) + line(1))
    gateway.read()
    os.truncate(log, 0)
    with log.open("ab") as file:
        file.write(line(7))
    assert ids(gateway.read()) == ["r7"]
    os.truncate(log, 0)
    with log.open("ab") as file:  # and has grown beyond where we were
        file.write(b"".join(line(place) for place in range(10, 20)))
    assert len(gateway.read()) == 10


def test_lines_too_long_are_passed_over(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LINE_MAX", 1000)
    monkeypatch.setattr(tail, "CHUNK", 4096)
    log.write_bytes(line(0) + b"x" * 1001 + b"\n" + line(1) + b"y" * 20_000)
    gateway = Gateway(log)
    assert ids(gateway.read()) == ["r0", "r1"]
    assert gateway.read() == []
    with log.open("ab") as file:
        file.write(b"y" * 9_000 + b"\n" + line(2))
    assert ids(gateway.read()) == ["r2"]
    assert gateway.tail.long == 2


def test_a_log_that_cannot_be_read_says_so(log: Path) -> None:
    log.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        Gateway(log).read()
    with pytest.raises(InputError, match="state"):
        Gateway(log, state={"offset": "x"})


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32))
def test_killed_at_any_line_each_request_counts_once(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """The log grows by pieces of lines and is rotated; requests and state are written together, or neither."""
    random = Random(seed)
    folder = tmp_path_factory.mktemp("gateway")
    log, ledger = folder / "access.log", Ledger(open_store(":memory:"))
    text = b"".join(line(place) for place in range(60))
    kept, gateway, rotated = Gateway(log).state(), Gateway(log), 0
    while text or random.random() < 0.9:
        piece, text = text[: (cut := random.randrange(400))], text[cut:]
        with log.open("ab") as file:
            file.write(piece)
        # What was rotated before the log was seen for the first time is not ours.
        if random.random() < 0.2 and kept["inode"] and log.read_bytes()[-1:] in (b"", b"\n"):
            rotated += 1
            os.utime(log, ns=(0, rotated * 10**9))  # clocks of file systems are coarse
            log.rename(folder / f"access.log.{rotated}")
        found = gateway.read()
        if random.random() < 0.3:
            gateway.tail.close()
            gateway = Gateway(log, state=json.loads(json.dumps(kept)))
        else:
            ledger.write(found)
            kept = gateway.state()
    log.touch()
    for _ in range(2 * rotated + 4):
        ledger.write(gateway.read())
    gateway.tail.close()
    assert gateway.malformed == 0
    assert ledger.store.rows("SELECT COUNT(*), SUM(output) FROM requests") == [(60, sum(range(60)))]
    ledger.store.close()


def test_options_of_the_command(log: Path) -> None:
    found = _gateway(log, ("tenant=x-org", "tenant=x-team", "output=out"), ("chat=org/llama=2",))
    assert found is not None
    log.write_bytes(b'{"model": "chat", "out": 5, "time": %d, "x-team": "red"}\n' % AT)
    (request,) = found.read()
    assert (request.model, request.tenant, request.output) == ("org/llama=2", "red", 5)
    assert _gateway(None, (), ()) is None
    for fields, models, says in (
        (("what=x",), (), "none of"),
        (("tenant",), (), "none of"),
        ((), ("a",), "THEIRS=OURS"),
    ):
        with pytest.raises(click.BadParameter, match=says):
            _gateway(log, fields, models)
    with pytest.raises(click.UsageError, match="--gateway-log"):
        _gateway(None, ("tenant=x",), ())
