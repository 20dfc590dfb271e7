"""A live cluster frozen in memory, with GET requests only.

lightkube reads the kubeconfig and authenticates; its typed models are left aside, because an
audit wants the objects as the API server wrote them. This module alone knows lightkube and the
HTTP client it brings (httpx2). What the account may not read becomes `Unread`, never an error.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from time import sleep

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from plimsoll.errors import ClusterError, InputError
from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, items, text
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread

Progress = Callable[[str, int, int], None]

PAGE = 500  # objects; what client-go's pager asks for
_PAGES_MAX = 20_000  # a server that always has one page more would never let us end
_PAUSES = (0.25, 1.0, 4.0)  # seconds before each further try; longer outages are the cluster's finding, not ours
_PAUSE_MAX = 10.0  # seconds; a Retry-After above this is not waited for
_BUSY = (429, 500, 502, 503, 504)
_TIMEOUT = httpx2.Timeout(10.0, read=60.0)  # seconds; a page of 500 large objects takes a slow server many
_LOGIN = "`kubectl get nodes` must work with the same kubeconfig and context first"


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
    config = _config(context, kubeconfig)
    taken_at = datetime.now(UTC)
    objects: list[Obj] = []
    coverage: dict[Kind, Coverage] = {}
    unread: list[Unread] = []
    with _client(config) as client:
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
            raise ClusterError(f"cannot reach the cluster: {_why(error)}", where=self._place, hint=_LOGIN) from None
        except _NotServedError:
            raise ClusterError("this is no Kubernetes API server", where=self._place, hint=_LOGIN) from None
        except _RefusedError as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise ClusterError(f"cannot read from the cluster: {refusal}", where=self._place, hint=_LOGIN) from None
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
            raise _RefusedError(f"the connection failed: {_why(error)}") from None
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
        path = _path(kind.group, version)
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
        path = f"{_path(kind.group, version)}/{kind.plural}"
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
        for _ in range(_PAGES_MAX):
            page = self._get(path, {"limit": str(PAGE)} | ({"continue": token} if token else {}))
            yield page
            token = text(page, "metadata", "continue")
            if not token:
                return
        raise _RefusedError(f"the list has more than {_PAGES_MAX} pages")

    def _get(self, path: str, params: dict[str, str] | None = None, *, first: bool = False) -> Obj:
        """One answer, tried again while the server is busy.

        Raises _NotServedError, _RefusedError, TransportError once the tries are used up (`first`: at once), and
        ClusterError where the server does not know us.
        """
        for pause in (*_PAUSES, None):
            try:
                answer = self._client.get(path, params=params)
            except httpx2.TransportError:
                if first or pause is None:
                    raise
                sleep(pause)
                continue
            except (ConfigError, OSError, ValueError, LookupError) as error:  # the credential plugin, run on demand
                raise ClusterError(f"no credentials: {_plugin(error)}", where=self._place, hint=_LOGIN) from None
            if answer.status_code not in _BUSY or pause is None:
                return _answer(answer)
            sleep(_wait(answer, pause))
        raise AssertionError  # the last round returns or raises


def _answer(answer: httpx2.Response) -> Obj:
    status = answer.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        raise ClusterError("the cluster does not accept these credentials (401)", where=answer.url.host, hint=_LOGIN)
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


def _wait(answer: httpx2.Response, pause: float) -> float:
    """Seconds the server asks us to wait, within reason."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), _PAUSE_MAX) if asked.isascii() and asked.isdigit() else pause


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _why(error: BaseException) -> str:
    """What a failed connection says, in words that hold no address with a password (a proxy's may)."""
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    said = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "its certificate is not signed by the authority the kubeconfig names"
    return type(error).__name__ if "@" in said else said


def _plugin(error: BaseException) -> str:
    """Which credential command failed; not what it printed, which may hold a token."""
    if isinstance(error, ConfigError):
        return str(error).partition(":")[0]
    if isinstance(error, OSError):
        return f"{error.filename or 'the credential command'}: {error.strerror or type(error).__name__}"
    return "the credential command printed no token"


def _client(config: SingleConfig) -> httpx2.Client:
    if config.user is None:
        config = config._replace(user=User())
    try:
        return Client(config, ConnectionParams(timeout=_TIMEOUT))
    except (ConfigError, ssl.SSLError, OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        file = getattr(error, "filename", None) or config.fname or config.context_name
        what = error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
        raise InputError(
            f"context {config.context_name} cannot be used: {str(error) if isinstance(error, ConfigError) else what}",
            where=str(file),
            hint=_LOGIN,
        ) from None


def _config(context: str | None, kubeconfig: Path | None) -> SingleConfig:
    """The context to use. Raises InputError that names the file."""
    if kubeconfig is not None:
        return _from_files([kubeconfig], context)
    named = [Path(each) for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    default = Path(DEFAULT_KUBECONFIG).expanduser()
    if named or default.is_file():
        return _from_files(named or [default], context)
    try:
        config = KubeConfig.from_service_account().get()
    except (ConfigError, KeyError, OSError):
        config = None
    if config is None or context is not None:
        raise ClusterError(
            "no kubeconfig, and not inside a cluster",
            where=str(default),
            hint="give --kubeconfig FILE or set $KUBECONFIG; or judge a file: `plimsoll check SNAPSHOT`",
        )
    return config._replace(context_name="in-cluster")


def _from_files(paths: list[Path], context: str | None) -> SingleConfig:
    """The context in the first file that has it. (kubectl merges files; a context and its user sit in one.)"""
    missing = ""
    for path in paths:
        config = _parsed(path)
        if (context or config.current_context) not in config.contexts:
            missing = f"no context {context}" if context else "names no current context that it holds"
            continue
        try:
            chosen = config.get(context)
        except (ConfigError, KeyError):
            raise InputError(
                f"context {context or config.current_context} names a cluster or user that is not there",
                where=str(path),
            ) from None
        if chosen is not None:
            return chosen
    raise InputError(
        missing, where=os.pathsep.join(map(str, paths)), hint="`kubectl config get-contexts` lists what there is"
    )


def _parsed(path: Path) -> KubeConfig:
    try:
        return KubeConfig.from_file(path)
    except ConfigError:
        raise InputError("no such kubeconfig", where=str(path), hint="give --kubeconfig FILE") from None
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where=str(path)) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        # What the parser quotes may be a credential.
        raise InputError("not a kubeconfig", where=str(path), hint="`kubectl config view` must show it") from None
