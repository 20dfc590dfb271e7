"""Pillar observability: metrics, dashboards and who pays."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plimsoll.spec.section import Section
from plimsoll.spec.values import Currency, Duration, LabelKey, LabelValue, Url, default


class Prometheus(Section, frozen=True, kw_only=True):
    """Where metrics are kept.

    url: its address inside the cluster. operator: whether the Prometheus Operator reads ServiceMonitors and rules.
    labels: what it selects monitors and rules by, such as `release: monitoring`; default it takes all.
    """

    url: Url = "http://prometheus.monitoring:9090"
    operator: bool = True
    labels: Annotated[dict[LabelKey, LabelValue], Meta(max_length=8)] = msgspec.field(default_factory=dict)


class Retention(Section, frozen=True, kw_only=True):
    """How long records are kept.

    ledger: the record of every GPU-second; 400 days hold a year and the month it is compared with.
    """

    ledger: Duration = default(Duration.read("400d"))


class Costs(Section, frozen=True, kw_only=True):
    """How money is reported.

    currency: ISO 4217 code. idle: whether unused GPUs are a line of their own or spread over the teams.
    split: how the price of a shared GPU is divided: by what was measured, by what was asked for, or evenly.
    """

    currency: Currency = "USD"
    idle: Literal["shown", "spread"] = "shown"
    split: Literal["measured", "requested", "even"] = "measured"


class Observability(Section, frozen=True, kw_only=True):
    """Metrics, dashboards, cost."""

    prometheus: Prometheus = msgspec.field(default_factory=Prometheus)
    dashboards: Literal["grafana", "none"] = "grafana"
    retention: Retention = msgspec.field(default_factory=Retention)
    costs: Costs = Costs()
