"""The dcgm-exporter of a node as its pod shows it: what it is called, which names it writes, whether it answers."""

from __future__ import annotations

import re

import msgspec

from plimsoll.kube.nodes import is_ready
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, text
from plimsoll.kube.pods import finished, ready
from plimsoll.kube.served import environment
from plimsoll.lab.telemetry.annotations import GENERATION, stated
from plimsoll.lab.telemetry.fields import CURRENT, LEGACY, Generation, generation_of
from plimsoll.units import version

PORT = 9400
NAMES = ("nvidia-dcgm-exporter", "dcgm-exporter")  # the GPU Operator's, and the exporter's own chart's
_TAG = re.compile(r":v?\d+\.\d+\.\d+-(\d+\.\d+\.\d+)")  # DCGM's version, then the exporter's
_NEWEST = (4, 9)


class Exporter(msgspec.Struct, frozen=True):
    """What scrapes a node's GPUs.

    shares: it is set up to tell the pods that share a GPU apart. up: it answers. address: IP, without port.
    """

    namespace: str
    pod: str
    container: str
    service: str
    address: str
    generation: Generation
    version: tuple[int, ...]
    shares: bool
    up: bool


def is_exporter(pod: Obj) -> bool:
    """Whether a pod is a dcgm-exporter's."""
    have = labels(pod)
    return have.get("app") in NAMES or have.get("app.kubernetes.io/name") in NAMES


def exporter(node: Obj, pod: Obj | None) -> Exporter:
    """The exporter of a node from its pod; without one a stand-in of the newest version that knows of shares."""
    alive = is_ready(node) is not False
    if pod is None:
        stand_in = f"dcgm-exporter-{name(node)}"
        address = next(
            (text(each, "address") for each in items(node, "status", "addresses") if each.get("type") == "InternalIP"),
            "",
        )
        own = _generation(node, _NEWEST)
        return Exporter(
            "gpu-operator", stand_in, "exporter", "dcgm-exporter", address, own, _NEWEST, shares=True, up=alive
        )
    container = next((each for each in items(pod, "spec", "containers") if _runs(each)), {})
    tag = _TAG.search(text(container, "image"))
    known = version(tag[1]) if tag else _NEWEST
    have = labels(pod)
    title = text(have, "app") or text(have, "app.kubernetes.io/name")
    return Exporter(
        namespace(pod),
        name(pod),
        text(container, "name") or title,
        title,
        text(pod, "status", "podIP"),
        _generation(node, known),
        known,
        shares=str(environment(container).get("KUBERNETES_VIRTUAL_GPUS", "")).lower() == "true",
        up=alive and ready(pod) and not finished(pod) and not get(pod, "metadata", "deletionTimestamp"),
    )


def _runs(container: Obj) -> bool:
    return "dcgm-exporter" in text(container, "image") or "dcgm-exporter" in text(container, "name")


def _generation(node: Obj, known: tuple[int, ...]) -> Generation:
    said = stated(node, GENERATION)
    return LEGACY if said == "legacy" else CURRENT if said == "current" else generation_of(known)
