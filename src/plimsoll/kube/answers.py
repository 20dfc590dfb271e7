"""What an API server answers when it does not do as asked, as errors that name the object, the rule and a next step."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import httpx2
import msgspec

from plimsoll.errors import ClusterError
from plimsoll.kube.connect import LOGIN
from plimsoll.kube.objects import Obj, items, text

UNTYPED = "failed to create typed patch object"  # a field that the schema does not have: said with 500, and for good
_WORDS_MAX = 2000  # characters of the server's own message; a refusal of a large object can quote all of it


class Cause(NamedTuple):
    """One of several reasons for a refusal: reason such as FieldManagerConflict, the server's words, a field."""

    reason: str
    message: str
    field: str


class AnswerError(ClusterError):
    """The server answered, and not with what was asked for.

    `status` is HTTP's, `reason` the machine-readable one of the answer ("Invalid", "Forbidden", …; "" if it gave
    none), `message` the server's own words.
    """

    causes: tuple[Cause, ...] = ()

    def __init__(self, status: int, reason: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status
        self.reason = reason
        self.message = message


# The names are the nouns that callers catch, as in `except Conflict`.
class Conflict(AnswerError):  # noqa: N818
    """It is there already, was changed meanwhile, or another manager owns a field."""


class NotFound(AnswerError):  # noqa: N818
    """The object, its namespace or its kind is not there.

    `name` is what the server says is missing; "" where it does not serve the kind at all.
    """

    name = ""


class Refused(AnswerError):  # noqa: N818
    """A rule says no: validation, a webhook, a policy, a quota or RBAC; or the server is broken."""


class Unreachable(ClusterError):  # noqa: N818
    """No answer of an API server came."""


class NotYet(ClusterError):  # noqa: N818
    """What was waited for did not come in time."""


def decoded(answer: httpx2.Response, what: str) -> Obj:
    """The object in an answer. `what` names what was asked for. Raises AnswerError and Unreachable."""
    if not answer.is_success:
        raise error(answer.status_code, _status(answer.content), what)
    found = _json(answer.content)
    if found is None:
        raise Unreachable(
            "the answer is not JSON of an API server", where=what, hint="is there a proxy in front of the API server?"
        )
    return found


def error(code: int, status: Obj, what: str) -> AnswerError:
    """The error for an HTTP status and the Status object that came with it (empty if none did)."""
    found = _error(code, status, what)
    found.causes = tuple(
        Cause(text(each, "reason"), text(each, "message"), text(each, "field"))
        for each in items(status, "details", "causes")
    )
    return found


def _error(code: int, status: Obj, what: str) -> AnswerError:
    reason = text(status, "reason")
    said = text(status, "message")[:_WORDS_MAX] or f"the API server answered {code}"
    if code == HTTPStatus.UNAUTHORIZED:
        return Refused(code, reason, "the cluster does not accept these credentials (401)", where=what, hint=LOGIN)
    if code == HTTPStatus.NOT_FOUND:
        hint = "is its namespace there, and the CustomResourceDefinition of its kind?"
        said = said if status else "the cluster does not serve this"
        missing = NotFound(code, reason, said, where=what, hint=hint)
        missing.name = text(status, "details", "name")
        return missing
    if code == HTTPStatus.CONFLICT:
        return Conflict(code, reason, said, where=what, hint=_conflict(reason))
    return Refused(code, reason, said, where=what, hint=_next(code, said))


def _conflict(reason: str) -> str:
    if reason == "AlreadyExists":
        return "delete it first, or apply it instead"
    return "read it again, and change what is there now"


def _next(code: int, said: str) -> str:
    if "admission webhook" in said or "ValidatingAdmissionPolicy" in said:
        return "the rule that refuses it is named above: change the object to satisfy it"
    if "failed calling webhook" in said or "conversion webhook" in said:
        return "the process behind this webhook does not answer: is it running, and has it written its certificate?"
    if "exceeded quota" in said:
        return "free what the quota counts, or raise it: `kubectl get resourcequota -A`"
    if " cannot " in said and code == HTTPStatus.FORBIDDEN:
        return "the account needs a role that allows this: `kubectl auth can-i --list`"
    if code in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST) or UNTYPED in said:
        return "correct the field that is named above"
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        return "try again later"
    return ""


def _status(content: bytes) -> Obj:
    """The Status object of a refusal; empty if the body is something else, such as a proxy's page."""
    found = _json(content)
    return found if found is not None and found.get("kind") == "Status" else {}


def _json(content: bytes) -> Obj | None:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None
