"""What follows from one declared service, before any object is made of it."""

from __future__ import annotations

import hashlib
import math
import re

import msgspec

from plimsoll.pillars.serving.render_engine import PORT, Model, model_of, options
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.serving import Argument, Service

APP = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
PRE_STOP = 15  # seconds until endpoints everywhere forget a pod that ends
DRAIN = 45  # seconds for the answers under way; more where the objective allows answers to take longer
DRAIN_MAX = 600
_DAY = 86_400
LETTING_GO = 30  # seconds the workers take to let go of the GPUs (13 measured with one)
LOADING, LOADING_LARGE = 1200, 1800  # seconds a start may take; published cold starts reach eleven minutes
_NAMES_GROUP = 48  # a StatefulSet per group, named after the set: its pods' revision label must stay under 63
_PROFILE_MEMORY = re.compile(r"g\.([0-9]+)gb")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One service, worked out.

    name: of its objects. namespace, pool: where it runs. nodes: pods of one replica. devices: of `resource` in one
    pod. args: of the engine, in order. drain: seconds it may take to finish answers. cpu, memory: of one pod.
    shm: GiB of shared memory. weights: GiB one pod may hold of the model, at most.
    """

    service: Service
    name: str
    namespace: str
    pool: Pool
    resource: str
    nodes: int
    devices: int
    model: Model
    args: dict[str, Argument]
    drain: int
    cpu: str
    memory: str
    shm: int
    weights: int

    @property
    def labels(self) -> dict[str, str]:
        return {APP: self.service.name}

    @property
    def account(self) -> str:
        """Name of its ServiceAccount and NetworkPolicy: no namespace has one such for another reason."""
        return f"{self.service.name}-server"

    @property
    def grouped(self) -> bool:
        return self.nodes > 1

    @property
    def scaled(self) -> bool:
        return self.service.replicas.min < self.service.replicas.max

    @property
    def sleeps(self) -> bool:
        """Only a clock can wake it: at 0 replicas nobody exports the metrics of a server."""
        return self.service.replicas.min == 0 and self.service.scale_on == "schedule"

    @property
    def least(self) -> int:
        return 0 if self.sleeps else max(1, self.service.replicas.min)

    @property
    def port(self) -> int:
        given = self.args.get("port", PORT)
        return given if type(given) is int and 0 < given < 65536 else PORT

    @property
    def served_name(self) -> str:
        """What the engine calls the model in answers and metrics."""
        return str(self.args["served-model-name"])

    @property
    def loading(self) -> int:
        return LOADING_LARGE if self.devices * self.nodes > 1 else LOADING


def of(platform: Platform) -> tuple[list[Facts], list[str]]:
    """Every service that can run, and a sentence about each that cannot yet."""
    pools, found, notes = derive.pools_by_name(platform), [], []
    for service in platform.services:
        pool = pools[service.pool]
        unit = derive.unit_of(pool, service)
        if unit:
            found.append(_facts(platform, service, pool, unit))
        else:
            notes.append(
                f"Service {service.name} is not rendered: pool {pool.name} leaves its layout open and the service "
                "names no unit, so nobody knows what a replica holds; give it a unit such as 3g.40gb"
            )
    return found, notes


def _facts(platform: Platform, service: Service, pool: Pool, unit: str) -> Facts:
    nodes = service.engine.nodes
    devices = service.gpus_per_replica // nodes
    model = model_of(service)
    drain = _drain(service)
    args = options(service, pool, model, drain)
    given = args.get("shutdown-timeout")
    if type(given) is int and 0 <= given <= _DAY:
        drain = given
    held = devices * _device_memory(pool, unit)
    shm = 8 if service.gpus_per_replica > 1 else 2
    return Facts(
        service=service,
        name=_short(service.name, _NAMES_GROUP) if nodes > 1 else service.name,
        namespace=derive.namespace_of(platform, service),
        pool=pool,
        resource=derive.resource_of(pool, unit),
        nodes=nodes,
        devices=devices,
        model=model,
        args=args,
        drain=drain,
        # vLLM: 2 + N cores for N GPUs, two threads a core
        cpu=_per_pod(service.cpu, nodes) if service.cpu else str(2 * (2 + devices)),
        # half of what its devices hold (weights pass through the page cache), 8 for the processes, shared memory
        memory=_per_pod(service.memory, nodes) if service.memory else f"{_fours(held / 2 + 8 + shm)}Gi",
        shm=shm,
        weights=_fours(held),
    )


def _per_pod(declared: str, nodes: int) -> str:
    """What is declared of a replica, for each of its pods."""
    parts = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", declared)
    if nodes == 1 or parts is None:
        return str(declared)
    return f"{math.ceil(float(parts[1]) / nodes)}{parts[2]}"


def _device_memory(pool: Pool, unit: str) -> float:
    """GiB of one device: of a GPU, a MIG instance, or a share of either."""
    sku = derive.sku(pool)
    profile = _PROFILE_MEMORY.search(unit)
    size = int(profile[1]) if profile else sku.memory_mib / 1024 if sku else 80
    shares = pool.partition.time_slicing or pool.partition.mps
    return size / (shares.replicas if shares else 1)


def _fours(size: float) -> int:
    """Rounded up to a multiple of 4."""
    return 4 * math.ceil(size / 4)


def _drain(service: Service) -> int:
    """Seconds for the answers under way: as long as the objective lets the slowest take, within bounds."""
    bound = service.slo.e2e
    longest = max((each or 0 for each in (bound.p50, bound.p90, bound.p95, bound.p99)), default=0) if bound else 0
    return min(DRAIN_MAX, max(DRAIN, math.ceil(longest / 1000)))


def service_name(name: str) -> str:
    """The name of a Service: it begins with a letter, a declared name may begin with a digit."""
    return name if name[0].isalpha() else _short(f"s-{name}", 63)


def _short(name: str, most: int) -> str:
    """A name of at most `most` characters that begins with a letter; a cut one ends in a hash of the whole."""
    name = name if name[0].isalpha() else f"s-{name}"
    if len(name) <= most:
        return name
    return f"{name[: most - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
