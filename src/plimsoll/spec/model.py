"""Platform: the whole declaration, one section per pillar.

Every field has a production-grade default, except what nobody can guess: which GPUs there
are, and who uses them. The smallest valid file is one pool and one team.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from plimsoll.spec.observability import Observability
from plimsoll.spec.operator import Operator
from plimsoll.spec.pools import Pool
from plimsoll.spec.queueing import Queueing, Team
from plimsoll.spec.section import Section
from plimsoll.spec.security import Security
from plimsoll.spec.serving import Service
from plimsoll.spec.spot import Spot
from plimsoll.spec.values import Name, Version, Word
from plimsoll.spec.waivers import Waiver

Pillar = Literal["operator", "partition", "queueing", "spot", "serving", "observability", "security"]


class Metadata(Section, frozen=True, kw_only=True):
    """What the platform is called."""

    name: Name = "platform"


class Cluster(Section, frozen=True, kw_only=True):
    """The cluster the platform stands on.

    provider: who runs it. kubernetes: its version; default whatever it runs. region: where it stands.
    delivery: how rendered objects reach it.
    autoscaler: who makes nodes: Karpenter, which on EKS is told so by NodePools, or something else.
    manage: pillars that Plimsoll renders, plans and applies; what the others need is somebody else's to keep.
    """

    provider: Literal["eks", "gke", "aks", "openshift", "generic"] = "generic"
    kubernetes: Version | None = None
    region: Word = ""
    delivery: Literal["apply", "argocd", "flux", "helmfile"] = "apply"
    autoscaler: Literal["karpenter", "other"] = "karpenter"
    manage: tuple[Pillar, ...] = get_args(Pillar)


class Platform(Section, frozen=True, kw_only=True):
    """A GPU platform on Kubernetes.

    pools: nodes of one GPU kind each. teams: who uses them. services: models that are served.
    """

    api_version: Literal["plimsoll.dev/v1"] = "plimsoll.dev/v1"
    kind: Literal["Platform"] = "Platform"
    metadata: Metadata = Metadata()
    cluster: Cluster = Cluster()
    operator: Operator = msgspec.field(default_factory=Operator)
    pools: Annotated[tuple[Pool, ...], Meta(min_length=1, max_length=500)]
    teams: Annotated[tuple[Team, ...], Meta(min_length=1, max_length=5000)]
    queueing: Queueing = msgspec.field(default_factory=Queueing)
    spot: Spot = msgspec.field(default_factory=Spot)
    services: Annotated[tuple[Service, ...], Meta(max_length=5000)] = ()
    observability: Observability = msgspec.field(default_factory=Observability)
    security: Security = msgspec.field(default_factory=Security)
    waivers: Annotated[tuple[Waiver, ...], Meta(max_length=5000)] = ()
