"""A live cluster frozen in memory, with GET requests only.

An audit wants the objects as the API server wrote them. What the account may not read becomes
`Unread`, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from time import sleep

import httpx2
import msgspec

from plimsoll.errors import ClusterError
from plimsoll.kube import connect, kinds
from plimsoll.kube.connect import BUSY, LOGIN, PAGE, PAGES_MAX, PAUSES, PLUGIN_ERRORS
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, items, text
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread

Progress = Callable[[str, int, int], None]


class _RefusedError(Exception):
    """A kind cannot be read; the message is the reason, as one clause. `status` is HTTP's, 0 where it is not that."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class _NotServedError(Exception):
    """The path does not exist."""


def capture(context: str | None = None, kubeconfig: Path | None = None, progress: Progress | None = None) -> Snapshot:
    """Read every kind Plimsoll knows from a cluster.

    `context`: default the kubeconfig's current one. `kubeconfig`: default $KUBECONFIG, then
    ~/.kube/config, then the service account of the pod we run in. `progress` is told the kind that
    is read next, how many kinds are done and how many there are. Every object is redacted as it arrives.
    Raises InputError for an unusable kubeconfig and ClusterError where nothing can be read at all.
    """
    config = connect.config(context, kubeconfig)
    taken_at = datetime.now(UTC)
    objects: list[Obj] = []
    coverage: dict[Kind, Coverage] = {}
    unread: list[Unread] = []
    with connect.client(config) as client:
        api = _Api(client)
        api.connect()
        for done, kind in enumerate(kinds.ALL):
            if progress:
                progress(kind.plural, done, len(kinds.ALL))
            try:
                objects += api.read(kind)
                coverage[kind] = Coverage.WHOLE
            except _RefusedError as refusal:
                coverage[kind] = Coverage.UNREAD
                unread.append(Unread(kind, str(refusal)))
    if progress:
        progress("done", len(kinds.ALL), len(kinds.ALL))
    source = Source("live", config.context_name, "recorded")
    return Snapshot(objects, source=source, taken_at=taken_at, coverage=coverage, unread=unread)


class _Api:
    """What an API server serves, and lists of it."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._versions: dict[str, list[str]] | None = None  # by group, the server's order; None if it would not say
        self._resources: dict[str, dict[str, list[str]] | None] = {}  # by path, verbs by plural; None if not served

    @property
    def _place(self) -> str:
        """Host and port; never what else a URL can hold."""
        url = self._client.base_url
        return f"{url.host}:{url.port}" if url.port else url.host

    def connect(self) -> None:
        """Ask which API groups there are. Raises ClusterError if the server cannot be reached or does not know us."""
        try:
            groups = self._get("apis", first=True)
        except httpx2.TransportError as error:
            raise ClusterError(
                f"cannot reach the cluster: {connect.why(error)}", where=self._place, hint=LOGIN
            ) from None
        except _NotServedError:
            raise ClusterError("this is no Kubernetes API server", where=self._place, hint=LOGIN) from None
        except _RefusedError as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise ClusterError(f"cannot read from the cluster: {refusal}", where=self._place, hint=LOGIN) from None
            return  # without discovery every version is asked for in turn
        self._versions = {"": ["v1"]} | {
            text(group, "name"): [text(each, "version") for each in items(group, "versions")]
            for group in items(groups, "groups")
        }

    def read(self, kind: Kind) -> list[Obj]:
        """Every object of a kind; none if the cluster does not serve it. Raises _RefusedError."""
        try:
            for version in self._asked(kind):
                try:
                    return self._all(kind, version)
                except _NotServedError:
                    continue
        except httpx2.TransportError as error:
            raise _RefusedError(f"the connection failed: {connect.why(error)}") from None
        return []

    def _asked(self, kind: Kind) -> Iterator[str]:
        """The versions to ask for, best first. Raises _RefusedError if it is there only in ones we do not know."""
        if self._versions is None:
            yield from kind.versions
            return
        there = self._versions.get(kind.group, [])
        known = [version for version in kind.versions if version in there]
        served = [version for version in known if self._serves(kind, version)]
        yield from served
        others = [version for version in there if version not in known]
        if not served and any(self._serves(kind, version) for version in others):
            raise _RefusedError(f"served as {', '.join(others)} only, which this version of plimsoll does not know")

    def _serves(self, kind: Kind, version: str) -> bool:
        path = connect.path(kind.group, version)
        if path not in self._resources:
            try:
                listed = self._get(path)
            except _NotServedError:
                self._resources[path] = None
            except _RefusedError as refusal:
                if refusal.status != HTTPStatus.FORBIDDEN:
                    raise
                return True  # it may still be listed
            else:
                found = items(listed, "resources")
                self._resources[path] = {text(each, "name"): _list(each.get("verbs")) for each in found}
        verbs = self._resources[path]
        return verbs is not None and "list" in verbs.get(kind.plural, [])

    def _all(self, kind: Kind, version: str) -> list[Obj]:
        """Every page of a list, over from the start once if it expires between two pages."""
        path = f"{connect.path(kind.group, version)}/{kind.plural}"
        api_version = f"{kind.group}/{version}" if kind.group else version
        for _ in range(2):
            try:
                return [
                    redacted({"apiVersion": api_version, "kind": kind.kind} | each)
                    for page in self._pages(path)
                    for each in items(page, "items")
                ]
            except _RefusedError as refusal:
                if refusal.status == HTTPStatus.FORBIDDEN:
                    raise _RefusedError(f"forbidden: the account may not list {kind.plural}") from None
                if refusal.status != HTTPStatus.GONE:
                    raise
        raise _RefusedError("the list expired twice while it was read")

    def _pages(self, path: str) -> Iterator[Obj]:
        token = ""
        for _ in range(PAGES_MAX):
            page = self._get(path, {"limit": str(PAGE)} | ({"continue": token} if token else {}))
            yield page
            token = text(page, "metadata", "continue")
            if not token:
                return
        raise _RefusedError(f"the list has more than {PAGES_MAX} pages")

    def _get(self, path: str, params: dict[str, str] | None = None, *, first: bool = False) -> Obj:
        """One answer, tried again while the server is busy.

        Raises _NotServedError, _RefusedError, TransportError once the tries are used up (`first`: at once), and
        ClusterError where the server does not know us.
        """
        for pause in (*PAUSES, None):
            try:
                answer = self._client.get(path, params=params)
            except httpx2.TransportError:
                if first or pause is None:
                    raise
                sleep(pause)
                continue
            except PLUGIN_ERRORS as error:  # the credential plugin, run on demand
                raise ClusterError(f"no credentials: {connect.plugin(error)}", where=self._place, hint=LOGIN) from None
            if answer.status_code not in BUSY or pause is None:
                return _answer(answer)
            sleep(connect.wait(answer, pause))
        raise AssertionError  # the last round returns or raises


def _answer(answer: httpx2.Response) -> Obj:
    status = answer.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        raise ClusterError("the cluster does not accept these credentials (401)", where=answer.url.host, hint=LOGIN)
    if status == HTTPStatus.NOT_FOUND:
        raise _NotServedError
    if status != HTTPStatus.OK:
        raise _RefusedError(
            "forbidden" if status == HTTPStatus.FORBIDDEN else f"the API server answered {status}", status
        )
    try:
        found = msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise _RefusedError("the answer is not JSON of an API server")
    return found


def _list(value: object) -> list[str]:
    return value if isinstance(value, list) else []
