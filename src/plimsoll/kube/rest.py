"""Where an API server keeps objects of a kind: built in for kinds we know, asked for (discovery) for others."""

from __future__ import annotations

import threading
from typing import NamedTuple
from urllib.parse import quote

from plimsoll.errors import InputError
from plimsoll.kube import connect, kinds
from plimsoll.kube.answers import NotFound
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import items, text
from plimsoll.kube.transport import Transport


class Resource(NamedTuple):
    """One kind in one version, as the server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of one object, or of a list without `name`."""
        group, _, version = self.api_version.rpartition("/")
        parts = [connect.path(group, version)]
        if self.namespaced and namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        return "/".join([*parts, subresource] if subresource else parts)


def _segment(name: str) -> str:
    """A name as part of a path. What would climb to another path is no name of an object."""
    if name in (".", ".."):
        raise InputError(f"{name!r} is no name of an object")
    return quote(name, safe="")


class Mapper:
    """Finds resources. What is found is kept; what is not is asked for anew, as CRDs come at run time. Thread-safe."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._served: dict[str, dict[str, Resource]] = {}  # by apiVersion and kind
        self._chosen: dict[Kind, Resource] = {}

    def resource(self, kind: Kind | str) -> Resource:
        """For a Kind, in the newest version served; or for text such as "apps/v1/Deployment". Raises NotFound."""
        if isinstance(kind, str):
            api_version, _, name = kind.rpartition("/")
            known = kinds.BY_GROUP_KIND.get((api_version.rpartition("/")[0], name))
            if known and api_version.rpartition("/")[2] in known.versions:
                return _of(known, api_version)
            found = self._lookup(api_version, name)
        else:
            found = self._choose(kind)
        if found is None:
            raise NotFound(404, "", f"the cluster does not serve the kind {kind}", hint=_CRDS)
        return found

    def _choose(self, kind: Kind) -> Resource | None:
        versions = [f"{kind.group}/{version}" if kind.group else version for version in kind.versions]
        if len(versions) == 1:
            return _of(kind, versions[0])
        if kind not in self._chosen:
            for api_version in versions:
                if found := self._lookup(api_version, kind.kind):
                    self._chosen[kind] = found
                    break
        return self._chosen.get(kind)

    def _lookup(self, api_version: str, kind: str) -> Resource | None:
        with self._lock:
            found = self._served.get(api_version, {}).get(kind)
        if found or not api_version:
            return found
        group, _, version = api_version.rpartition("/")
        try:
            listed = self._transport.get(connect.path(group, version), what=f"discovery of {api_version}")
        except NotFound:
            return None
        resources = {
            text(each, "kind"): Resource(
                api_version, text(each, "kind"), text(each, "name"), each.get("namespaced") is True
            )
            for each in items(listed, "resources")
            if "/" not in text(each, "name")  # no subresources
        }
        with self._lock:
            self._served[api_version] = resources
        return resources.get(kind)


_CRDS = "`kubectl api-resources` lists what it serves; is the CustomResourceDefinition installed?"


def _of(kind: Kind, api_version: str) -> Resource:
    return Resource(api_version, kind.kind, kind.plural, kind.namespaced)
