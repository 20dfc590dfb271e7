"""What the declaration says, as series that alerts and dashboards join with what is measured."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from plimsoll.pillars.observability.pack.model import Record
from plimsoll.pillars.observability.pack.serving import LATENCIES, QUANTILES
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.serving import Percentiles, Service
from plimsoll.spec.values import Duration


class Objective(msgspec.Struct, frozen=True):
    """A bound on a latency of a service. latency: ttft, itl or e2e. percentile: such as p90."""

    latency: str
    percentile: str
    bound: Duration


def objectives(service: Service) -> tuple[Objective, ...]:
    """What callers of a service may expect, in a fixed order."""
    found = []
    for latency in LATENCIES:
        bounds: Percentiles | None = getattr(service.slo, latency)
        for percentile in QUANTILES:
            bound = getattr(bounds, percentile, None)
            if bound is not None:
                found.append(Objective(latency, percentile, bound))
    return tuple(found)


def records(platform: Platform) -> Iterator[Record]:
    """Pools, teams and services as series."""
    for pool in platform.pools:
        yield Record(record="plimsoll:node_pool:info", expr=_nodes(pool), labels={"pool": pool.name})
    for space, team in derive.team_of_namespace(platform).items():
        yield _fact("namespace_team:info", 1, namespace=space, team=team)
    for service in platform.services:
        space = derive.namespace_of(platform, service)
        own = {"namespace": space, "service": service.name, "team": service.team}
        yield _fact("service_least:replicas", service.replicas.min, **own, pool=service.pool)
        yield _fact("service_most:replicas", service.replicas.max, **own, pool=service.pool)
        for each in objectives(service):
            seconds = each.bound / 1000
            yield _fact(f"service_{each.latency}_objective:seconds", seconds, **own, quantile=each.percentile)


def _fact(name: str, value: float, **labels: str) -> Record:
    return Record(record=f"plimsoll:{name}", expr=f"vector({value:g})", labels=labels)


def _nodes(pool: Pool) -> str:
    """The nodes of a pool by their labels, if kube-state-metrics is told to show these; else by what our monitor of the
    exporter writes into its series."""
    shown = ", ".join(f'label_{sanitised(key)}="{value}"' for key, value in pool.selector.items())
    measured = " or ".join(f'DCGM_FI_DEV_FB_{name}{{pool="{pool.name}"}}' for name in ("USED", "USED_BYTES"))
    return f"group by (node) (kube_node_labels{{{shown}}}) or group by (node) ({measured})"


def sanitised(key: str) -> str:
    """The key of a Kubernetes label as kube-state-metrics and Prometheus' discovery write it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)
