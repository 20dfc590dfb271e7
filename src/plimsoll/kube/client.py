"""A client of the Kubernetes API that reads and writes plain objects.

A kind is a constant of `kinds` or text such as "v1/Pod" and "apps/v1/Deployment". A namespaced object without a
namespace is in the one of the kubeconfig's context, as with kubectl; lists and watches without one span all.

Errors, all of them ClusterError: Conflict, NotFound, Refused (each with `status`, `reason`, `message`), Unreachable,
NotYet. An object that is not there is no error: get returns None, delete False. A kind that is not served is NotFound.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Literal

from plimsoll.errors import InputError
from plimsoll.kube import connect
from plimsoll.kube.answers import AnswerError, Conflict, NotFound, NotYet, Refused, Unreachable, decoded
from plimsoll.kube.connect import PAGE, PAGES_MAX
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, items, mapping, name, namespace, text
from plimsoll.kube.rest import Mapper, Resource
from plimsoll.kube.transport import Transport
from plimsoll.kube.watching import BOOKMARK, SYNCED, Listed, Watch

__all__ = ["AnswerError", "Client", "Conflict", "NotFound", "NotYet", "Refused", "Unreachable", "summary"]

Objs = list[Obj]  # within Client, `list` is the method
_MEDIA = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_UNSERVED = 0.5  # seconds between looks for a kind that is waited for and not served yet


class Client:
    """Thread-safe. Raises InputError for a kubeconfig that cannot be used; connects at the first request."""

    def __init__(self, kubeconfig: Path | None = None, context: str | None = None) -> None:
        config = connect.config(context, kubeconfig)
        self.place = config.context_name
        self._default = config.namespace
        self._transport = Transport(connect.client(config))
        self._mapper = Mapper(self._transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every watch, too."""
        self._transport.close()

    def raw(self, path: str) -> bytes:
        """The body behind a path that does not speak of objects, such as /readyz, /version or a pod's log."""
        answer = self._transport.send("GET", path, safe=True)
        if not answer.is_success:
            decoded(answer, path)
        return answer.content

    def path(self, kind: Kind | str, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """Of an object, a list of them or a subresource, for `post` and `raw`."""
        resource = self._mapper.resource(kind)
        return resource.path(namespace or (self._default if name else ""), name, subresource)

    def get(self, kind: Kind | str, name: str, namespace: str = "") -> Obj | None:
        path, what = self._one(kind, name, namespace)
        try:
            return self._transport.get(path, what=what)
        except NotFound as missing:
            if missing.name:
                return None
            raise

    def list(self, kind: Kind | str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Obj]:
        """All of them. `labels` and `fields` are selectors in the API's own syntax."""
        resource = self._mapper.resource(kind)
        return self._listed(resource, resource.path(namespace), _selectors(labels, fields))[0]

    def apply(
        self,
        obj: Obj,
        *,
        manager: str = "plimsoll-lab",
        force: bool = True,
        dry_run: bool = False,
        strict: bool = False,
        subresource: str = "",
    ) -> Obj:
        """Server-side apply: create it, or change the fields that `obj` names. `force` takes fields from others.

        `strict`: a field that its kind does not have is refused; else it is dropped in silence.
        """
        path, what = self._of(obj, subresource)
        params = {"fieldManager": manager, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        params |= {"fieldValidation": "Strict"} if strict else {}
        meta = {key: value for key, value in mapping(obj, "metadata").items() if key != "managedFields"}
        answer = self._transport.send(
            "PATCH", path, params, body=obj | {"metadata": meta}, media="application/apply-patch+yaml", safe=True
        )
        return decoded(answer, what)

    def create(self, obj: Obj) -> Obj:
        """Raises Conflict if it is there."""
        resource = self._mapper.resource(_kind(obj))
        answer = self._transport.send("POST", resource.path(self._in(resource, obj)), body=obj, safe=False)
        return decoded(answer, self._what(resource, name(obj) or "new", self._in(resource, obj)))

    def replace(self, obj: Obj) -> Obj:
        """Put `obj` in place of what is there. Raises Conflict if its resourceVersion is not the newest."""
        path, what = self._of(obj)
        return decoded(self._transport.send("PUT", path, body=obj, safe=False), what)

    def patch(
        self,
        kind: Kind | str,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        how: Literal["merge", "strategic", "json"] = "merge",
        subresource: str = "",
        manager: str = "",
    ) -> Obj:
        path, what = self._one(kind, name, namespace, subresource)
        params = {"fieldManager": manager} if manager else None
        return decoded(self._transport.send("PATCH", path, params, body=body, media=_MEDIA[how], safe=False), what)

    def delete(
        self,
        kind: Kind | str,
        name: str,
        namespace: str = "",
        *,
        grace: int | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> bool:
        """Ask for its end; finalizers may delay it. `grace` in seconds, 0 at once. False: it was not there."""
        path, what = self._one(kind, name, namespace)
        body: Obj = {"propagationPolicy": propagation} | ({} if grace is None else {"gracePeriodSeconds": grace})
        try:
            decoded(self._transport.send("DELETE", path, body=body, safe=True), what)
        except NotFound as missing:
            if missing.name:
                return False
            raise
        return True

    def post(self, path: str, body: Obj) -> Obj:
        """To a subresource such as serviceaccounts/NAME/token or pods/NAME/eviction; see `path`."""
        return decoded(self._transport.send("POST", path, body=body, safe=False), path)

    def watch(
        self,
        kind: Kind | str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        timeout: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[tuple[str, Obj]]:
        """ADDED for all there is, then ADDED, MODIFIED and DELETED as they come.

        Ends after `timeout` seconds, within 0.1 s of `stop` being set (by any thread), and with the client. A server
        that goes away and comes back is met again where it left off; what vanished meanwhile is told as DELETED, with
        metadata only. Raises Unreachable when it stays away for two minutes.
        """
        for change, obj in self._changes(kind, namespace, _selectors(labels, fields), timeout, stop):
            if change not in (SYNCED, BOOKMARK):
                yield change, obj

    def follow(
        self, kind: Kind | str, *, fields: str = "", since: str = "", stop: threading.Event | None = None
    ) -> Iterator[tuple[str, Obj]]:
        """A watch for who goes on where it ended: after the list, SYNCED, then what happened since a resourceVersion.

        SYNCED and BOOKMARK carry the resourceVersion to go on from. What is told of again may be an older state.
        """
        return self._changes(kind, "", _selectors("", fields), None, stop, since)

    def date(self) -> str:
        """What time the server says it is: the Date header of an answer, "" where it says none."""
        found: str = self._transport.send("GET", "version", safe=True).headers.get("Date", "")
        return found

    def wait(
        self,
        kind: Kind | str,
        name: str,
        namespace: str = "",
        until: Callable[[Obj | None], bool] = lambda obj: obj is not None,
        timeout: float = 60.0,
        *,
        stop: threading.Event | None = None,
    ) -> Obj:
        """The object once `until` holds for it; `until` gets None while it is not there.

        Waits also for the kind to be served. What is waited to be gone is returned empty. Raises NotYet, which says
        what was last seen.
        """
        deadline = monotonic() + timeout
        last: Obj | None = None
        while True:
            try:
                selector = {"fieldSelector": f"metadata.name={name}"}
                left = deadline - monotonic()
                for change, obj in self._changes(kind, namespace or self._default, selector, left, stop):
                    if change == BOOKMARK or (change == SYNCED and last is not None):
                        continue
                    last = None if change in ("DELETED", SYNCED) else obj
                    if until(last):
                        return last or {}
                seen = summary(last)
            except NotFound:
                seen = "the cluster does not serve its kind"
                if until(None):
                    return {}
            stopped = self._transport.closed or (stop is not None and stop.is_set())
            if stopped or monotonic() + _UNSERVED > deadline:
                break
            sleep(_UNSERVED)
        where = "/".join(part for part in (str(kind).rpartition("/")[2], namespace, name) if part)
        raise NotYet(f"waited {timeout:g} s in vain; last seen: {seen}", where=where, hint=_DESCRIBE)

    def _changes(
        self,
        kind: Kind | str,
        namespace: str,
        selectors: dict[str, str],
        timeout: float | None,
        stop: threading.Event | None,
        since: str = "",
    ) -> Iterator[tuple[str, Obj]]:
        deadline = None if timeout is None else monotonic() + timeout
        resource = self._mapper.resource(kind)
        path = resource.path(namespace)

        def ends() -> bool:
            late = deadline is not None and monotonic() >= deadline
            return late or self._transport.closed or (stop is not None and stop.is_set())

        listing = partial(self._listed, resource, path, selectors)
        return Watch(self._transport, path, selectors, listing, ends, since).events()

    def _listed(self, resource: Resource, path: str, selectors: dict[str, str]) -> Listed:
        """Every object of a list and its resourceVersion; over from the start once if it expires between two pages."""
        said = {"apiVersion": resource.api_version, "kind": resource.kind}  # items of a List do not say it
        for last in (False, True):
            found: Objs = []
            version = token = ""
            try:
                for _ in range(PAGES_MAX):
                    params = selectors | {"limit": str(PAGE)} | ({"continue": token} if token else {})
                    page = self._transport.get(path, params, what=resource.plural)
                    found += [said | each for each in items(page, "items")]
                    version = version or text(page, "metadata", "resourceVersion")
                    token = text(page, "metadata", "continue")
                    if not token:
                        return found, version
            except Refused as refusal:
                if refusal.status != _GONE or last:
                    raise
        raise Unreachable(f"the list has more than {PAGES_MAX} pages", where=resource.plural)

    def _one(self, kind: Kind | str, name: str, namespace: str, subresource: str = "") -> tuple[str, str]:
        """Path and words for one object."""
        if not name:  # its path would be that of the whole list, which a delete would empty
            raise InputError(f"a {kind} needs a name")
        resource = self._mapper.resource(kind)
        namespace = (namespace or self._default) if resource.namespaced else ""
        return resource.path(namespace, name, subresource), self._what(resource, name, namespace)

    def _of(self, obj: Obj, subresource: str = "") -> tuple[str, str]:
        return self._one(_kind(obj), name(obj), namespace(obj), subresource)

    def _in(self, resource: Resource, obj: Obj) -> str:
        return (namespace(obj) or self._default) if resource.namespaced else ""

    @staticmethod
    def _what(resource: Resource, name: str, namespace: str) -> str:
        return "/".join(part for part in (resource.kind, namespace, name) if part)


_GONE = 410
_DESCRIBE = "`kubectl describe` it, and look at its events"


def _kind(obj: Obj) -> str:
    return f"{text(obj, 'apiVersion')}/{text(obj, 'kind')}"


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return ({"labelSelector": labels} if labels else {}) | ({"fieldSelector": fields} if fields else {})


def summary(obj: Obj | None) -> str:
    """The state of an object in one line: its phase, replicas and conditions."""
    if obj is None:
        return "absent"
    phase = text(obj, "status", "phase") or text(obj, "status", "state")
    conditions = [
        f"{text(each, 'type')}={text(each, 'status')}"
        + (f" ({text(each, 'reason')}: {text(each, 'message')[:200]})" if text(each, "reason") else "")
        for each in items(obj, "status", "conditions")
    ]
    return ", ".join(filter(None, [phase, *conditions])) or "there, without a status"
