"""Pillar observability: metrics, dashboards and who pays."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from plimsoll.spec.section import Section
from plimsoll.spec.values import Currency, Duration, LabelKey, LabelValue, Name, Quantity, Url, default

Image = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$",
        max_length=500,
        title="an image, such as registry.example.com/plimsoll:1.0@sha256:…",
    ),
]
SecretKey = Annotated[
    str,
    Meta(
        pattern=r"^[-._a-zA-Z0-9]+$",
        max_length=253,
        title="the key of a Secret: letters, digits, -, _ and ., such as url",
    ),
]
StorageClass = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$",
        max_length=253,
        title="the name of a StorageClass, such as gp3",
    ),
]


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


class LedgerSecret(Section, frozen=True, kw_only=True):
    """A Secret beside the meter that holds the address of a PostgreSQL: postgresql://user:password@host/database.

    secret_name: its name. key: under which the address stands.
    """

    secret_name: Name
    key: SecretKey = "address"


class MeterLedger(Section, frozen=True, kw_only=True):
    """Where the meter writes.

    storage: size of the volume with the ledger's file. storage_class: what makes it; default the cluster's own.
    postgresql: a database instead of a file, which several meters and everybody who asks can use at once.
    """

    storage: Quantity = default(Quantity("20Gi"))
    storage_class: StorageClass = ""
    postgresql: LedgerSecret | None = None


class Meter(Section, frozen=True, kw_only=True):
    """The meter in the cluster: it records every GPU-second. Nothing here: it is not rendered.

    mode: `cluster` reads dcgm-exporter from one pod; `node` has a pod on every GPU node, too, that asks the driver and
        the kubelet there, and needs a database that all of them share.
    image: where it comes from, best with its digest; nobody publishes one, images/Containerfile makes it.
    ledger: where it writes.
    """

    mode: Literal["cluster", "node"] = "cluster"
    image: Image
    ledger: MeterLedger = msgspec.field(default_factory=MeterLedger)


class Observability(Section, frozen=True, kw_only=True):
    """Metrics, dashboards, cost.

    meter: whether the meter runs in the cluster, and how.
    """

    prometheus: Prometheus = msgspec.field(default_factory=Prometheus)
    dashboards: Literal["grafana", "none"] = "grafana"
    retention: Retention = msgspec.field(default_factory=Retention)
    costs: Costs = Costs()
    meter: Meter | None = None
