"""Requests of a gateway's access log: JSON, one object a line, under whatever names its fields have.

Defaults fit the access log that Envoy AI Gateway's documentation shows (names of OpenTelemetry's `gen_ai.*`), the
metadata keys of its `llmRequestCosts`, LiteLLM's StandardLoggingPayload, and OpenAI's `usage`. A container runtime's
prefix (`<time> stdout F `) is taken off. vLLM does not log tokens itself: what it can put into an answer
(`--enable-per-request-metrics`) are times, and only the client and the gateway see them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from plimsoll.agents.meter.tail import Tail
from plimsoll.agents.meter.vllm import short
from plimsoll.cost.sample import Request

BATCH = 20_000  # requests; a reading ends when it has as many
TOKENS_MAX = 10**9  # of one request: more is no count
LASTED_MAX = 24 * 3_600_000
_EARLIEST, _LATEST = 946_684_800_000, 4_102_444_800_000  # years 2000 to 2100
_RUNTIME = re.compile(rb"^\S+ (?:stdout|stderr) F ")
_NOTHING = ("", "-", None)  # Envoy writes - for what it does not know


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names under which a log has what is needed, the first that is there counts. A dot goes into an object, where no
    field has the name as a whole.

    began, ended: moments, RFC 3339 or a number of seconds, milliseconds, micro- or nanoseconds since 1970.
    duration: milliseconds. tenant: most often a request header that the gateway is told to log.
    """

    id: tuple[str, ...] = ("x-request-id", "request_id", "litellm_call_id", "id")
    model: tuple[str, ...] = ("gen_ai.response.model", "response_model", "gen_ai.request.model", "model")
    tenant: tuple[str, ...] = (
        "x-tenant-id", "x-team", "tenant", "team", "metadata.user_api_key_team_alias", "metadata.user_api_key_team_id",
        "end_user",
    )  # fmt: skip
    began: tuple[str, ...] = ("start_time", "startTime", "timestamp", "@timestamp", "time")
    ended: tuple[str, ...] = ("end_time", "endTime")
    duration: tuple[str, ...] = ("duration_ms", "duration")
    prompt: tuple[str, ...] = (
        "gen_ai.usage.input_tokens", "llm_input_token", "prompt_tokens", "input_tokens", "usage.prompt_tokens",
        "usage.input_tokens",
    )  # fmt: skip
    cached: tuple[str, ...] = (
        "gen_ai.usage.cache_read.input_tokens", "llm_cached_input_token", "cached_tokens",
        "usage.prompt_tokens_details.cached_tokens", "metadata.usage_object.prompt_tokens_details.cached_tokens",
    )  # fmt: skip
    output: tuple[str, ...] = (
        "gen_ai.usage.output_tokens", "llm_output_token", "completion_tokens", "output_tokens",
        "usage.completion_tokens", "usage.output_tokens",
    )  # fmt: skip


class Refused(ValueError):  # noqa: N818  a line, not our fault
    """A line that is no request as we know them."""


class Gateway:
    """A log, followed. models: the engines' name for a model, by the gateway's.

    malformed: lines that are no JSON object, or hold what cannot be. others: of something else than tokens.
    """

    def __init__(
        self,
        path: Path,
        *,
        fields: Fields | None = None,
        models: Mapping[str, str] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.tail = Tail(path, state)
        self.malformed = self.others = 0
        self._fields, self._models = fields or Fields(), models or {}

    def read(self) -> list[Request]:
        """The requests of the next lines; fewer than BATCH: the log is read to its end."""
        found: list[Request] = []
        while len(found) < BATCH and (lines := self.tail.read()):
            for line in lines:
                try:
                    request = parse(line, self._fields, self._models)
                except Refused:
                    self.malformed += 1
                    continue
                if request is None:
                    self.others += 1
                else:
                    found.append(request)
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where an earlier `state()` was. Raises InputError where it is something else."""
        self.tail.close()
        self.tail = Tail(self.path, state)

    def counters(self) -> dict[str, float]:
        """How the reading goes, by names of metrics."""
        return {"gateway_lines_malformed": self.malformed, "gateway_lines_others": self.others,
                "gateway_lines_too_long": self.tail.long, "gateway_logs_lost": self.tail.lost}  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Where we are in the log. Kept in one transaction with the requests, no line is lost or counted twice."""
        return self.tail.state()


def parse(line: bytes, fields: Fields, models: Mapping[str, str]) -> Request | None:
    """The request of a line; None where it tells of no tokens. Raises Refused where it cannot be understood."""
    try:
        told = msgspec.json.decode(_RUNTIME.sub(b"", line, count=1))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("no JSON") from None
    if not isinstance(told, dict):
        raise Refused("no object")
    counts = [_count(told, names) for names in (fields.prompt, fields.cached, fields.output)]
    model = _text(told, fields.model).removeprefix("hosted_vllm/")  # LiteLLM's word for a vLLM server
    if not model or (counts[0] is None and counts[2] is None):
        return None
    began, ended = _moments(told, fields)
    prompt, cached, output = (count or 0 for count in counts)
    return Request(
        id=_text(told, fields.id) or hashlib.blake2b(line, digest_size=16).hexdigest(), model=models.get(model, model),
        tenant=_text(told, fields.tenant), began=began, ended=ended, prompt=prompt, cached=min(cached, prompt),
        output=output,
    )  # fmt: skip


def _find(told: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        value = told.get(name)
        if value in _NOTHING and "." in name:
            value = told
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
        if value not in _NOTHING:
            return value
    return None


def _text(told: dict[str, Any], names: tuple[str, ...]) -> str:
    value = _find(told, names)
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise Refused("no name")
    return short(str(value)).strip()


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise Refused("no number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused("no number") from None


def _count(told: dict[str, Any], names: tuple[str, ...]) -> int | None:
    value = _find(told, names)
    if value is None:
        return None
    number = _number(value)
    if not 0 <= number <= TOKENS_MAX or number != int(number):
        raise Refused("no count")
    return int(number)


def _moments(told: dict[str, Any], fields: Fields) -> tuple[int, int]:
    """When a request began and ended, from any two of beginning, end and duration; from one moment, that."""
    began, ended = (_moment(_find(told, names)) for names in (fields.began, fields.ended))
    lasted = _find(told, fields.duration)
    if lasted is not None and (began is None or ended is None):
        span = _number(lasted)
        if not 0 <= span <= LASTED_MAX:
            raise Refused("no duration")
        if began is not None:
            ended = began + round(span)
        elif ended is not None:
            began = ended - round(span)
    began, ended = (ended if began is None else began), (began if ended is None else ended)
    if began is None or ended is None or not 0 <= ended - began <= LASTED_MAX:
        raise Refused("no moment")
    return began, ended


def _moment(value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        raise Refused("no moment") from None
    except (TypeError, ValueError):
        try:
            read = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise Refused("no moment") from None
        number = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not 0 < number < 1e20:
        raise Refused("no moment")
    # Today is 1.8e9 seconds: the size tells the unit.
    scale = next(scale for limit, scale in ((1e11, 1e3), (1e14, 1), (1e17, 1e-3), (1e20, 1e-6)) if number < limit)
    moment = round(number * scale)
    if not _EARLIEST <= moment < _LATEST:
        raise Refused("no moment")
    return moment
