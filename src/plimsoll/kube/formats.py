"""What each form of input promises: which kinds it holds whole, in part, or not at all.

The rule and what it costs: docs/decisions/0002-what-a-file-can-promise.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube import kinds, yamldocs
from plimsoll.kube.archive import Member
from plimsoll.kube.decode import (
    HINT,
    JSON_ERRORS,
    NotOursError,
    Sharing,
    admit,
    bad_json,
    plain_text,
    refuse_dense,
)
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, get, labels, namespace, text
from plimsoll.kube.snapshot import Coverage

# Every cluster has objects of these. The last two nobody asks for by name: who has them asked for all there is.
_EVERYWHERE = frozenset({(kind.group, kind.kind) for kind in (
    kinds.NAMESPACE, kinds.NODE, kinds.POD, kinds.SERVICE, kinds.SERVICE_ACCOUNT, kinds.CONFIG_MAP, kinds.ROLE,
    kinds.ROLE_BINDING, kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING, kinds.API_SERVICE, kinds.PRIORITY_CLASS,
    kinds.ENDPOINT_SLICE,
)} | {
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
})  # fmt: skip
# What `kubectl cluster-info dump` writes per namespace, by file name. Source: kubectl pkg/cmd/clusterinfo.
_DUMPED = {
    "events": kinds.EVENT, "services": kinds.SERVICE, "daemonsets": kinds.DAEMON_SET,
    "deployments": kinds.DEPLOYMENT, "replicasets": kinds.REPLICA_SET, "pods": kinds.POD,
}  # fmt: skip
_HOMES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})  # every cluster has these namespaces
_BY_THE_API_SERVER = {"topology.kubernetes.io/region", "topology.kubernetes.io/zone"}  # on every bound pod
_LISTS_DEPTH_MAX = 5


class Found(NamedTuple):
    """What a reader got out of its input."""

    form: str
    objects: list[Obj]
    coverage: dict[Kind, Coverage]


class _Document(NamedTuple):
    """The objects of one document, and whether they are one List, as one command of kubectl makes it."""

    objects: list[Obj]
    one_list: bool


class _Head(msgspec.Struct):
    """As much of a document as tells what it is; items stay text."""

    apiVersion: Any = None  # noqa: N815  Kubernetes' name
    kind: Any = None
    items: msgspec.Raw = msgspec.Raw()


def documents(content: bytes, where: str, sharing: Sharing) -> Iterator[_Document]:
    """The documents of a text: JSON where it begins like it, else YAML. Raises InputError."""
    content = plain_text(content, where)
    start = content.lstrip()[:1]
    if not start:
        raise InputError("the file is empty", where=where, hint=HINT)
    if start in (b"{", b"["):
        yield _from_json(content, where, sharing)
        return
    for number, (line, value) in enumerate(yamldocs.documents(content.decode(), where)):
        if value is not None:
            yield _unfolded(_as_json(value, f"{where}:{line}", sharing), where if not number else f"{where}:{line}")


def _as_json(value: Any, where: str, sharing: Sharing) -> Any:
    """A YAML value as JSON would give it: keys are texts, equal parts are shared, no value holds itself."""
    try:
        return sharing.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"not YAML that JSON can say too: {error}", where=where) from error


def _from_json(content: bytes, where: str, sharing: Sharing) -> _Document:
    """One JSON document; the items of a List are decoded one by one, so that equal parts are held once."""
    refuse_dense(content, where)
    try:
        if content.lstrip()[:1] == b"[":  # an array of objects, as jq makes them
            raws = msgspec.json.decode(content, type=list[msgspec.Raw])
            return _unfolded([sharing.decode(raw) for raw in raws], where)
        head = msgspec.json.decode(content, type=_Head)
        if type(head.kind) is not str or not head.kind.endswith("List") or not bytes(head.items).startswith(b"["):
            return _unfolded(sharing.decode(content), where)
        raws = msgspec.json.decode(head.items, type=list[msgspec.Raw])
        values = [sharing.decode(raw) for raw in raws]
    except JSON_ERRORS as error:
        raise bad_json(error, content, where) from error
    return _unfolded({"apiVersion": head.apiVersion, "kind": head.kind, "items": values}, where)


def _unfolded(value: Any, where: str) -> _Document:
    """The objects in a value: an object, a List, a typed list such as PodList, or an array of these."""
    if type(value) is list:
        value = {"items": value}
    if not _is_list(value):
        return _Document([admit(value, where)], False)
    objects: list[Obj] = []
    nested = _unfold(value, where, objects, 1)
    return _Document(objects, "kind" in value and not nested)


def _is_list(value: Any) -> bool:
    if type(value) is not dict or "items" not in value or not isinstance(value["items"], list | None):
        return False
    return "kind" not in value or text(value, "kind").endswith("List")


def _unfold(value: Obj, where: str, objects: list[Obj], depth: int) -> bool:
    """Append the objects of a list, and of lists in it; True where there are such."""
    if depth > _LISTS_DEPTH_MAX:
        raise InputError(f"Lists nested more than {_LISTS_DEPTH_MAX} deep", where=where)
    nested = False
    # An item of a typed list (PodList) says neither kind nor version; its list does.
    kind = text(value, "kind").removesuffix("List")
    given = {"apiVersion": value.get("apiVersion"), "kind": kind} if kind else {}
    for number, item in enumerate(value["items"] or ()):
        place = f"{where}: item {number}"
        if _is_list(item) and "kind" in item:
            nested = True
            _unfold(item, place, objects, depth + 1)
        else:
            objects.append(admit({**given, **item} if given and type(item) is dict else item, place))
    return nested


def file(content: bytes, where: str) -> Found:
    """One file of text."""
    found = list(documents(content, where, Sharing()))
    objects = [obj for document in found for obj in document.objects]
    if len(found) == 1 and found[0].one_list:
        return Found("list", objects, _list_coverage(objects))
    return Found("manifest", objects, {})


def _list_coverage(objects: list[Obj]) -> dict[Kind, Coverage]:
    """All kinds of a whole export, the kinds of a cut through all namespaces; of anything else none."""
    seen = {(text(obj, "apiVersion").rpartition("/")[0], text(obj, "kind")) for obj in objects}
    if seen >= _EVERYWHERE:
        # Secrets are what people leave out or are refused. Not to see one proves nothing.
        return {kind: Coverage.WHOLE for kind in kinds.ALL if kind != kinds.SECRET or (kind.group, kind.kind) in seen}
    spread = [obj for obj in objects if namespace(obj)]
    if len({namespace(obj) for obj in spread}) > 1 and not _chosen(spread, nodes=("", "Node") in seen):
        return {kinds.BY_GROUP_KIND[pair]: Coverage.WHOLE for pair in seen if pair in kinds.BY_GROUP_KIND}
    return {}


def _chosen(objects: list[Obj], *, nodes: bool) -> bool:
    """Whether namespaced objects look picked by a selector: all have one label, or all pods one node or none runs.

    `nodes`: nodes were listed too, which no field selector on pods lets through.
    """
    shared = set(labels(objects[0]))
    for obj in objects:
        shared &= labels(obj).keys()
    shared -= _BY_THE_API_SERVER
    pods = [obj for obj in objects if obj["kind"] == "Pod" and obj["apiVersion"] == "v1"]
    if not pods or nodes:
        return bool(shared)
    places = {text(pod, "spec", "nodeName") for pod in pods}
    return bool(shared) or len(places) == 1 or not any(get(pod, "status", "phase") == "Running" for pod in pods)


def folder(members: Iterable[Member], where: str) -> Found:
    """A cluster-info dump, a must-gather or any other tree of files with objects; other files are passed over."""
    sharing = Sharing()
    objects: list[Obj] = []
    nodes: list[str] = []
    dumped: dict[str, set[str]] = defaultdict(set)
    gathered = False
    for member in members:
        if b"apiVersion" not in member.content:  # a report, a metric, a setting, or empty
            continue
        try:
            found = list(documents(member.content, f"{where}/{member.name}", sharing))
        except NotOursError:
            continue
        objects += (obj for document in found for obj in document.objects)
        *folders, name = member.name.removeprefix("./").split("/")
        stem = name.rpartition(".")[0]
        gathered = gathered or bool({"cluster-scoped-resources", "namespaces"} & {*folders}) or stem in _GATHERED
        if len(found) == 1 and found[0].one_list:
            if stem == "nodes":
                nodes.append("/".join(folders))
            elif folders and stem in _DUMPED:
                dumped["/".join(folders)].add(stem)
    if not objects:
        raise InputError("holds no JSON or YAML file with Kubernetes objects", where=where, hint=HINT)
    coverage = _dump_coverage(nodes, dumped)
    form = "cluster-info dump" if coverage else "must-gather" if gathered else "manifest"
    return Found(form, objects, coverage)


# Files of NVIDIA's must-gather. Source: gpu-operator hack/must-gather.sh.
_GATHERED = ("cluster_policy", "gpu_operator_pod", "gpu_operand_pods", "gpu_operand_ds")


def _dump_coverage(nodes: list[str], dumped: dict[str, set[str]]) -> dict[Kind, Coverage]:
    """What a cluster-info dump holds whole: nodes always, the rest where it has every namespace.

    The dump is ROOT/nodes.json and ROOT/NAMESPACE/{events,pods,…}.json. One taken without --all-namespaces
    has only some namespaces, and one that broke off has a folder without its last files.
    """
    for root in nodes:
        prefix = f"{root}/" if root else ""
        own = {name: stems for name, stems in dumped.items() if name.startswith(prefix) and name != root}
        homes = {name.removeprefix(prefix) for name in own}
        if not any({"events", "pods"} <= stems for stems in own.values()):
            continue
        coverage = {kinds.NODE: Coverage.WHOLE}
        if homes >= _HOMES and all(stems >= {*_DUMPED} for stems in own.values()):
            coverage |= dict.fromkeys(_DUMPED.values(), Coverage.WHOLE)
        return coverage
    return {}
