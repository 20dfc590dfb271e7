"""A declaration as the lab can run it: the versions that it builds, and where it keeps metrics. No more changes."""

from __future__ import annotations

import re

import msgspec

from plimsoll.lab.build.programs import recipes
from plimsoll.lab.run.addons import gpu_operator, prometheus
from plimsoll.spec.model import Platform

_ADDRESS = f"http://127.96.{prometheus.HOST}:{prometheus.PORT}"


def adapt(platform: Platform) -> tuple[Platform, list[str]]:
    """The declaration for the lab, and what is other in it, a line each."""
    built = {recipe.name: recipe.module.version for recipe in recipes()}
    cluster, operator, queueing = platform.cluster, platform.operator, platform.queueing
    metrics = platform.observability.prometheus
    said: list[str] = []

    def other(field: str, declared: str, here: str) -> str:
        """What the lab has, told where it is not what is declared; a release may be written with or without its v."""
        if declared.removeprefix("v") == here.removeprefix("v"):
            return declared
        said.append(f"{field}: {here} instead of {declared}")
        return here

    minor = re.sub(r"^v(\d+\.\d+).*", r"\1", built["kube-apiserver"])
    if cluster.kubernetes and re.match(rf"v?{re.escape(minor)}(\.|$)", cluster.kubernetes) is None:
        cluster = msgspec.structs.replace(cluster, kubernetes=other("cluster.kubernetes", cluster.kubernetes, minor))
    operator = msgspec.structs.replace(
        operator,
        version=other("operator.version", operator.version, built["gpu-operator"]),
        namespace=other("operator.namespace", operator.namespace, gpu_operator.NAMESPACE),
    )
    queueing = msgspec.structs.replace(queueing, version=other("queueing.version", queueing.version, built["kueue"]))
    metrics = msgspec.structs.replace(metrics, url=other("observability.prometheus.url", metrics.url, _ADDRESS))
    observability = msgspec.structs.replace(platform.observability, prometheus=metrics)
    adapted = msgspec.structs.replace(
        platform, cluster=cluster, operator=operator, queueing=queueing, observability=observability
    )
    return adapted, said
