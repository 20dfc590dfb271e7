"""Queries to a Prometheus: a real one, and a server that answers as limits, proxies and accidents would."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import ClusterError, InputError
from plimsoll.kube import prometheus
from plimsoll.kube.prometheus import POINTS_MAX, Prometheus, Series, TooMuch
from tests.recorded import shared
from tests.unit.kube.answering import Reply, answering
from tests.unit.kube.promserver import Exposed, serving

START = 1_764_547_200.0


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "PAUSES", (0.0, 0.0))


def success(kind: str, result: object, **more: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def failure(kind: str, said: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": said}).encode()


def grid(values: dict[str, str]) -> list[list[object]]:
    """What a server gives for a range whose value is its moment."""
    start, end, step = (round(float(values[name]) * 1000) for name in ("start", "end", "step"))
    return [[moment / 1000, str(moment)] for moment in range(start, end + 1, step)]


def joined(series: Iterator[Series]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for labels, points in series:
        found[json.dumps(labels, sort_keys=True)] += points
    return found


def test_a_value_per_series() -> None:
    rows = [{"metric": {"pod": "a"}, "value": [START, "1.5"]}, {"metric": {"pod": "b"}, "value": [START, "NaN"]}]
    with answering(lambda *_: (200, success("vector", rows))) as (url, asked), Prometheus(url) as server:
        first, second = server.instant("up", at=START)
        assert (first.labels, first.at, first.value) == ({"pod": "a"}, START, 1.5)
        assert second.value != second.value
        assert asked[0]["time"] == f"{START:.3f}"


def test_a_number_is_a_sample_without_labels() -> None:
    with answering(lambda *_: (200, success("scalar", [START, "3"]))) as (url, asked), Prometheus(url) as server:
        assert [(each.labels, each.value) for each in server.instant("3")] == [({}, 3.0)]
        assert "time" not in asked[0]


@given(
    count=st.integers(1, 60_000),
    step=st.sampled_from([0.001, 0.1, 15.0, 30.0, 61.5]),
    allowed=st.integers(1, POINTS_MAX * 2),
)
def test_a_range_in_pieces_is_the_range(count: int, step: float, allowed: int) -> None:
    """Whatever the server allows at once: no point is missing, none comes twice."""
    answers = 0

    def ask(first: int, last: int) -> Iterator[Series]:
        nonlocal answers
        answers += 1
        if last - first > allowed:
            raise TooMuch("too many")
        assert last - first <= POINTS_MAX
        yield Series({}, [(place * step, place) for place in range(first, last)])

    found = [point for piece in prometheus._pieces(ask, count, POINTS_MAX) for point in piece.points]
    assert [place for _, place in found] == list(range(count))
    assert answers <= count / min(allowed, POINTS_MAX) * 2 + 20


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (422, failure("execution", "query processing would load too many samples into memory in query execution")),
        (400, failure("bad_data", "exceeded maximum resolution of 11,000 points per timeseries")),
        (503, failure("timeout", "query timed out in expression evaluation")),
        (504, b"<html>gateway time-out</html>"),
    ],
)
def test_a_piece_that_is_too_much_is_halved(status: int, said: bytes) -> None:
    def reply(verb: str, values: dict[str, str]) -> Reply:
        points = grid(values)
        return (status, said) if len(points) > 700 else (200, success("matrix", [{"metric": {}, "values": points}]))

    with answering(reply) as (url, asked), Prometheus(url) as server:
        points = [point for each in server.ranged("x", START, START + 30 * 5000, 30) for point in each.points]
        assert [at for at, _ in points] == [START + 30 * place for place in range(5001)]
        assert all(at * 1000 == value for at, value in points)
        assert len(asked) < 20


def test_a_point_that_is_too_much_is_an_error() -> None:
    said = failure("execution", "query processing would load too many samples into memory in query execution")
    with answering(lambda *_: (422, said)) as (url, asked), Prometheus(url) as server:
        with pytest.raises(TooMuch, match="too many samples") as caught:
            list(server.ranged("x", START, START + 86_400, 30))
        assert "--query.max-samples" in caught.value.hint
        assert len(asked) < 20


def test_an_answer_too_large_for_us_is_asked_for_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "ANSWER_MAX", 10_000)

    def reply(verb: str, values: dict[str, str]) -> Reply:
        return 200, success("matrix", [{"metric": {}, "values": grid(values)}])

    with answering(reply) as (url, _), Prometheus(url) as server:
        points = [point for each in server.ranged("x", START, START + 30 * 999, 30) for point in each.points]
        assert len(points) == 1000
        with pytest.raises(TooMuch, match="larger than"):
            list(server._matrix("query_range", "x", {"start": f"{START}", "end": f"{START + 30 * 999}", "step": "30"}))


def test_a_busy_server_is_asked_again() -> None:
    left = [429, 502]

    def reply(verb: str, values: dict[str, str]) -> Reply:
        return (left.pop(), b"busy") if left else (200, success("vector", []))

    with answering(reply) as (url, asked), Prometheus(url) as server:
        assert server.instant("up") == []
        assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (200, b"<html>login</html>", ClusterError, "not what a Prometheus answers"),
        (200, b"", ClusterError, "not what a Prometheus answers"),
        (200, b'{"status":"success"}', ClusterError, "not what a Prometheus answers"),
        (200, b"[" * 100_000, ClusterError, "not what a Prometheus answers"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1]}]}}', ClusterError,
         "not what"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
         ClusterError, "not what"),
        (200, success("matrix", []), InputError, "gives a matrix"),
        (404, b"404 page not found", ClusterError, r"\(404\)"),
        (429, b"slow down", ClusterError, r"\(429\)"),
        (401, b"who", ClusterError, "let us in"),
        (403, failure("forbidden", "no"), ClusterError, "let us in"),
        (400, failure("bad_data", 'invalid parameter "query": unknown function'), InputError, "unknown function"),
        (422, failure("execution", "found duplicate series for the match group"), ClusterError, "duplicate series"),
        (500, failure("internal", "x" * 10_000), ClusterError, "x{500}$"),
    ],
)  # fmt: skip
def test_an_answer_of_something_else_is_one_clear_error(
    status: int, body: bytes, error: type[Exception], words: str
) -> None:
    with answering(lambda *_: (status, body)) as (url, _), Prometheus(url) as server, pytest.raises(error, match=words):
        server.instant("up", at=START)


def test_nobody_there() -> None:
    with answering(lambda *_: (200, b"")) as (url, _):
        pass
    with Prometheus(url) as server, pytest.raises(ClusterError, match="cannot reach"):
        server.instant("up")


def test_an_answer_that_never_ends() -> None:
    enough = threading.Event()

    def reply(verb: str, values: dict[str, str]) -> Reply:
        enough.wait(10)
        return 200, success("vector", [])

    with answering(reply) as (url, _), Prometheus(url, timeout=0.2) as server:
        with pytest.raises(TooMuch, match="in time"):
            server.instant("up")
        enough.set()


@pytest.mark.parametrize(
    "url", ["", "prometheus:9090", "ftp://host", "http://", "http://host:port", "file:///etc/passwd"]
)
def test_no_address(url: str) -> None:
    with pytest.raises(InputError, match="not the address"):
        Prometheus(url)


def test_a_password_is_sent_and_never_said() -> None:
    with answering(lambda *_: (401, b"")) as (url, asked):
        address = url.replace("http://", "http://someone:secret@")
        with Prometheus(address) as server, pytest.raises(ClusterError) as caught:
            server.instant("up")
        assert asked[0]["authorization"].startswith("Basic ")
        assert "secret" not in f"{caught.value} {caught.value.hint}"
        with Prometheus(url, token="abc") as server, pytest.raises(ClusterError):  # noqa: S106
            server.instant("up")
        assert asked[1]["authorization"] == "Bearer abc"


def test_a_long_query_is_posted_and_warnings_are_kept() -> None:
    with answering(lambda *_: (200, success("vector", [], warnings=["a store is away"]))) as (url, asked):
        server = Prometheus(f"{url}/prefix/")
        server.instant("up" * 3000)
        server.close()
        assert asked[0]["method"] == "POST"
        assert list(server.warnings) == ["a store is away"]


def scraped(first: float, every: float, count: int) -> Iterator[Exposed]:
    for place in range(count):
        yield "busy", {"pod": 'a"\\b'}, first + place * every, place / 8


def test_a_real_prometheus(tmp_path: Path) -> None:
    samples = list(scraped(START + 7, 15, 12_000))
    whole = [(at, value) for _, _, at, value in samples]
    with serving(tmp_path, samples, "--query.max-samples=5000") as url, Prometheus(url) as server:
        assert server.names("bus.*|other", START, START + 86_400) == {"busy"}
        assert server.names("other", START, START + 86_400) == set()
        last = whole[-1][0]
        # Raw samples are those that were scraped, each once, whatever the pieces.
        (found,) = joined(server.raw("busy", START, last)).values()
        assert found == whole
        (part,) = joined(server.raw("busy", whole[10][0], whole[20][0])).values()
        assert part == whole[11:21]
        # More points than one answer may have, and more samples than the server loads at once.
        (values,) = joined(server.ranged("busy", START + 7, last, 15)).values()
        assert values == whole
        assert server.instant("busy", at=START + 9)[0].labels == {"__name__": "busy", "pod": 'a"\\b'}
        with pytest.raises(TooMuch, match="too many samples"):
            server.instant("sum_over_time(busy[2d])", at=last)
        with pytest.raises(InputError, match="parse error"):
            server.instant("busy{")


def test_answers_that_real_servers_gave() -> None:
    path = shared("real/metrics/aicr_eks_h100_prometheus_api.json")
    for told in json.loads(path.read_text()):
        body = json.dumps(told).encode()
        with answering(lambda *_, body=body: (200, body)) as (url, _), Prometheus(url) as server:
            found = server.instant("DCGM_FI_DEV_GPU_UTIL")
        assert [(each.labels, each.value) for each in found] == [
            (row["metric"], float(row["value"][1])) for row in told["data"]["result"]
        ]
        assert found
