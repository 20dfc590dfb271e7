"""What a Prometheus, or what speaks its API (Thanos, Mimir, VictoriaMetrics), answers to queries, within its limits.

Moments are seconds since 1970, as it counts them. Labels are as it sends them, `__name__` among them. A value that
is not a number (`NaN`) comes as it is: what it means, its reader knows.

Errors: InputError for an address or a query that cannot be used; ClusterError where no answer comes, or none that a
Prometheus would give. An answer that would be too large is asked for in smaller pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from time import monotonic, sleep
from types import TracebackType
from typing import Any, NamedTuple

import httpx2
import msgspec

from plimsoll.errors import ClusterError, InputError
from plimsoll.kube import connect

POINTS_MAX = 11_000  # of one series in one answer: fixed in Prometheus
ANSWER_MAX = 64 << 20  # bytes; a larger answer is asked for in pieces: 3 million points, 300 MB once they are numbers
PAUSES = (0.5, 2.0, 5.0)  # seconds between attempts where a server is busy or away
_GET_MAX = 2000  # characters of a query that fit into a line of any proxy
_WORDS_MAX = 500
_TOO_MUCH = re.compile(r"too many|exceed|limit|timed? ?out|deadline|memory|too large|canceled", re.IGNORECASE)
_AWAY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY)
_SLOW = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class Sample(NamedTuple):
    """A value of a series at a moment."""

    labels: dict[str, str]
    at: float
    value: float


class Series(NamedTuple):
    """Points of a series, in the order of time: (moment, value)."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class TooMuch(ClusterError):  # noqa: N818  what callers catch, to ask for less
    """The answer would be larger, or take longer, than the server or we allow."""


class _Row(msgspec.Struct):
    metric: dict[str, str] = {}
    value: msgspec.Raw = msgspec.Raw(b"")
    values: msgspec.Raw = msgspec.Raw(b"[]")  # decoded series by series: numbers take ten times the room


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""
    error_type: str = ""
    warnings: list[str] = []


_ROWS = msgspec.json.Decoder(list[_Row])
_POINT = msgspec.json.Decoder(tuple[float, str])
_POINTS = msgspec.json.Decoder(list[tuple[float, str]])
_ANSWER = msgspec.json.Decoder(_Answer)
_DATA = msgspec.json.Decoder(_Data)
_NAMES = msgspec.json.Decoder(list[str])
_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)


class Prometheus:
    """A server. Not for several threads at once.

    url: where it answers, with the path before `/api/v1` if there is one, and `user:password@` if it asks for that.
    token: a bearer token. timeout: seconds one answer may take; Prometheus itself gives up after 120.
    warnings: what it said beside its answers, such as that a store behind it did not answer.
    """

    def __init__(self, url: str, *, timeout: float = 120.0, token: str = "") -> None:
        try:
            base = httpx2.URL(url.rstrip("/"))
        except (httpx2.InvalidURL, ValueError):
            base = httpx2.URL()
        if base.scheme not in ("http", "https") or not base.host:
            raise InputError("not the address of a Prometheus", hint="Give it as http://HOST:PORT")
        self.place = f"{base.host}:{base.port}" if base.port else base.host  # never a password
        self.warnings: dict[str, None] = {}
        self._base, self._timeout = str(base), timeout
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx2.Client(timeout=httpx2.Timeout(timeout, connect=10.0), headers=headers)

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def instant(self, query: str, at: float | None = None) -> list[Sample]:
        """The value of every series of an expression at a moment; now, by the server's clock, without one.

        A number (a scalar) is one sample without labels. Raises TooMuch; what can be asked in pieces, its caller knows.
        """
        kind, result = self._ask("query", query, {} if at is None else {"time": _text(at)})
        try:
            if kind == "scalar":
                at, value = _POINT.decode(result)
                return [Sample({}, at, float(value))]
            if kind != "vector":
                raise InputError(f"the query gives a {kind or 'nothing'}, not a value per series", where=query[:200])
            rows = [(row.metric, _POINT.decode(row.value)) for row in _ROWS.decode(result) if row.value]
            return [Sample(labels, at, float(value)) for labels, (at, value) in rows]
        except _BAD as error:
            raise self._no_prometheus() from error

    def raw(self, selector: str, began: float, ended: float) -> Iterator[Series]:
        """The samples of a selector as they were scraped, after `began` and not after `ended`, one Series per piece."""

        start, count = round(began * 1000), round(ended * 1000) - round(began * 1000)

        def ask(first: int, last: int) -> Iterator[Series]:
            # Prometheus 2 gives a sample at either end of a range, 3 only one at its last moment.
            after, until = (start + first) / 1000, (start + last) / 1000
            for labels, points in self._matrix("query", f"{selector}[{last - first}ms]", {"time": _text(until)}):
                if inside := [point for point in points if after < point[0] <= until]:
                    yield Series(labels, inside)

        yield from _pieces(ask, count, count)

    def ranged(self, query: str, began: float, ended: float, step: float) -> Iterator[Series]:
        """The values of an expression at began, began + step, … up to and with ended.

        Cut into requests that Prometheus takes: a series comes once per piece, pieces come in the order of time.
        """
        if step < 0.001 or ended < began:
            raise InputError("a range needs an end after its beginning, and a step of a millisecond or more")

        def ask(first: int, last: int) -> Iterator[Series]:
            window = {"start": _text(began + first * step), "end": _text(began + (last - 1) * step)}
            return self._matrix("query_range", query, window | {"step": _text(step)})

        yield from _pieces(ask, int((ended - began) / step + 1e-9) + 1, POINTS_MAX)

    def names(self, pattern: str, began: float, ended: float, matchers: str = "") -> set[str]:
        """Names of metrics that match a regular expression and had samples in a time. matchers: of labels, PromQL's."""
        match = f'{{__name__=~"{pattern}"{"," + matchers if matchers else ""}}}'
        values = {"match[]": match, "start": _text(began), "end": _text(ended)}
        data = self._send("label/__name__/values", values, match)
        try:
            return set(_NAMES.decode(data or b"[]"))
        except _BAD as error:
            raise self._no_prometheus() from error

    def _matrix(self, verb: str, query: str, values: dict[str, str]) -> Iterator[Series]:
        """Series by series: raises TooMuch before the first."""
        kind, result = self._ask(verb, query, values)
        if kind != "matrix":
            raise InputError(f"the query gives a {kind or 'nothing'}, not series of values", where=query[:200])
        try:
            for row in _ROWS.decode(result):
                yield Series(row.metric, [(at, float(value)) for at, value in _POINTS.decode(row.values)])
        except _BAD as error:
            raise self._no_prometheus() from error

    def _ask(self, verb: str, query: str, values: dict[str, str]) -> tuple[str, msgspec.Raw]:
        raw = self._send(verb, {"query": query} | values, query)
        try:
            data = _DATA.decode(raw)
        except _BAD as error:
            raise self._no_prometheus() from error
        return data.result_type, data.result

    def _send(self, verb: str, values: dict[str, str], query: str) -> msgspec.Raw:
        """The data of an answer. Asks again where the server is away or busy."""
        for pause in (*PAUSES, None):
            try:
                status, content = self._once(verb, values)
            except httpx2.TimeoutException as error:
                if isinstance(error, httpx2.ReadTimeout):
                    raise TooMuch("the answer did not come in time", where=self.place, hint=_LESS) from error
                if pause is None:
                    raise self._unreachable(error) from None
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                if pause is None:
                    raise self._unreachable(error) from None
            else:
                if status not in _AWAY or pause is None:
                    return self._data(status, content, query)
            sleep(pause or 0)
        raise AssertionError  # the last round returns or raises

    def _once(self, verb: str, values: dict[str, str]) -> tuple[int, bytes]:
        long = len(values.get("query", "")) > _GET_MAX
        how: dict[str, Any] = {"data": values} if long else {"params": values}
        deadline = monotonic() + self._timeout
        with self._client.stream("POST" if long else "GET", f"{self._base}/api/v1/{verb}", **how) as answer:
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if monotonic() > deadline:  # a read's own limit starts anew with every byte
                    raise TooMuch("the answer did not come in time", where=self.place, hint=_LESS)
                if len(content) > ANSWER_MAX:
                    size = f"the answer is larger than {ANSWER_MAX >> 20} MiB"
                    raise TooMuch(size, where=self.place, hint=_LESS)
            return answer.status_code, bytes(content)

    def _data(self, status: int, content: bytes, query: str) -> msgspec.Raw:
        try:
            found = _ANSWER.decode(content)
        except _BAD:
            found = None
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ClusterError(
                f"it does not let us in ({status})", where=self.place, hint="Give it a token it accepts."
            )
        if status in _SLOW:
            said = printable(found.error) if found else f"it answers {status}"
            raise TooMuch(said, where=self.place, hint=_LESS)
        if found is None:
            raise self._no_prometheus(status)
        if found.status != "success":
            said = printable(found.error) or f"it answers {status}"
            if _TOO_MUCH.search(found.error):
                raise TooMuch(said, where=self.place, hint=_LESS)
            if found.error_type == "bad_data":
                raise InputError(said, where=query[:200], hint="It refuses this query.")
            raise ClusterError(said, where=self.place)
        self.warnings |= dict.fromkeys(printable(each) for each in found.warnings)
        return found.data

    def _unreachable(self, error: Exception) -> ClusterError:
        return ClusterError(f"cannot reach it: {connect.why(error)}", where=self.place,
                            hint="Is this the address of a Prometheus, and is it up?")  # fmt: skip

    def _no_prometheus(self, status: int = 200) -> ClusterError:
        said = "" if status == HTTPStatus.OK else f" ({status})"
        return ClusterError(f"the answer is not what a Prometheus answers{said}", where=self.place,
                            hint="Give the part of its address before /api/v1.")  # fmt: skip


_LESS = "Ask for less at once, or raise --query.timeout and --query.max-samples of the server."


def _pieces(ask: Callable[[int, int], Iterator[Series]], count: int, span: int) -> Iterator[Series]:
    """Series of `ask` over 0 … count in pieces of at most `span`. What is too much is halved from there on."""
    first = 0
    while first < count:
        last = min(count, first + span)
        try:
            found = ask(first, last)
            begun = next(found, None)
        except TooMuch:
            if last - first <= 1:
                raise
            span = (last - first + 1) // 2
            continue
        if begun is not None:
            yield begun
            yield from found
        first = last


def printable(text: str) -> str:
    """What somebody else wrote, as it may go to a terminal."""
    return "".join(each if each.isprintable() else " " for each in text[:_WORDS_MAX])


def _text(value: float) -> str:
    """Seconds, to the millisecond."""
    return f"{value:.3f}"
