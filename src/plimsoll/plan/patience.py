"""Asking again where that is safe: a server that restarts, is busy, or calls a webhook that is not up yet."""

from __future__ import annotations

import random
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic, sleep
from typing import TypeVar

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import UNTYPED, AnswerError, Conflict, NotFound, Refused, Unreachable

T = TypeVar("T")

PATIENCE = 120.0  # seconds; a control plane of three restarts in less
_FIRST, _MOST = 0.2, 5.0  # seconds between two tries
_PASSING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GONE, *range(500, 600)})


def patiently(work: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """What `work` returns; it is done again while it fails in a way that passes, and doing it twice does no harm."""
    end = monotonic() + patience
    pause = _FIRST
    while True:
        try:
            return work()
        except ClusterError as error:
            if not passes(error) or monotonic() + pause > end:
                raise
        sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that many workers do not come back at once
        pause = min(2 * pause, _MOST)


def passes(error: ClusterError) -> bool:
    """Whether the same request may well succeed later."""
    if isinstance(error, Unreachable):
        return True
    if isinstance(error, Conflict):  # somebody wrote at the same moment; a conflict of managers stays
        return not error.causes and error.reason == "Conflict"
    if isinstance(error, NotFound):  # a kind that is defined and not served yet
        return not error.name and error.status == HTTPStatus.NOT_FOUND and not error.reason
    if isinstance(error, Refused):
        webhook = "failed calling webhook" in error.message
        return webhook or (error.status in _PASSING and UNTYPED not in error.message)
    return isinstance(error, AnswerError) and error.status in _PASSING
