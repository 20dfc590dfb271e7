"""Cross-checks of services: where they run, whether a replica fits, whether their team may have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.spec import derive
from plimsoll.spec.pools import Pool
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.rules_quota import clear
from plimsoll.spec.serving import Service
from plimsoll.spec.view import View, counted, listed, meant, twice

Placed = tuple[Path, Service, Pool]


def _services(view: View) -> Iterator[Placed]:
    """Services whose pool exists and can be read."""
    for index, service in enumerate(view.platform.services):
        pool = view.pool(service.pool)
        if pool is not None and view.knows("services", index, "pool"):
            yield ("services", index), service, pool


def names(view: View) -> Iterator[Problem]:
    """Name, team, pool and namespace."""
    yield from twice(view.names("services", [each.name for each in view.platform.services]), "services")
    for index, service in enumerate(view.platform.services):
        path: Path = ("services", index)
        yield from view.no_such("teams", service.team, (*path, "team"))
        yield from view.no_such("pools", service.pool, (*path, "pool"))
        team = view.team(service.team)
        known = team is not None and view.team_knows(team, "namespaces") and view.knows(*path, "team")
        if team and known and service.namespace and service.namespace not in team.spaces:
            yield Problem(
                path=(*path, "namespace"),
                found=value(service.namespace),
                allowed=f"must be a namespace of team {team.name}",
                hint=meant(service.namespace, team.spaces),
            )


def replicas(view: View) -> Iterator[Problem]:
    for index, service in enumerate(view.platform.services):
        path: Path = ("services", index)
        least, most = service.replicas.min, service.replicas.max
        if not view.knows(*path, "replicas", "max"):
            continue
        if least > most:
            yield Problem(
                path=(*path, "replicas", "min"), found=str(least), allowed=f"must be at most max, which is {most}"
            )
        for at, window in enumerate(service.schedule):
            if window.replicas > most:
                yield Problem(
                    path=(*path, "schedule", at, "replicas"),
                    found=str(window.replicas),
                    allowed=f"must be at most replicas.max, which is {most}",
                )


def scaling(view: View) -> Iterator[Problem]:
    """What it scales on is there."""
    for index, service in enumerate(view.platform.services):
        path: Path = ("services", index)
        if not all(view.knows(*path, field) for field in ("scaleOn", "schedule", "slo")):
            continue
        if service.scale_on == "schedule" and not service.schedule:
            yield Problem(path=(*path, "scaleOn"), found='"schedule"', allowed="but there is no schedule")
        if service.scale_on != "schedule" and service.schedule:
            yield Problem(
                path=(*path, "schedule"),
                allowed=f"is not used while scaleOn is {service.scale_on}",
                hint="leave it out or write scaleOn: schedule",
            )
        bounds = [part for part in (service.slo.ttft, service.slo.itl, service.slo.e2e) if part is not None]
        if service.scale_on == "slo" and not any(part.p50 or part.p90 or part.p95 or part.p99 for part in bounds):
            yield Problem(path=(*path, "slo"), allowed="must bound at least one latency, for scaleOn is slo")


def spot(view: View) -> Iterator[Problem]:
    """A service is not on capacity that may vanish, unless the declaration says it may be."""
    if not view.knows("spot", "never") or not derive.serving_stays_off_spot(view.platform):
        return
    for path, _, pool in _services(view):
        if pool.capacity == "spot":
            yield Problem(
                path=(*path, "pool"),
                found=value(pool.name),
                allowed="must not be a spot pool: spot.never keeps serving off spot capacity",
                hint="choose another pool, or write never: [] if callers can bear interruptions",
            )


def devices(view: View) -> Iterator[Problem]:
    """A replica's devices are of one kind, and there on the nodes it spans."""
    for path, service, pool in _services(view):
        known = {offer.unit: offer for offer in derive.offers(pool)}
        unit = derive.unit_of(pool, service)
        if derive.open_layout(pool) and not unit and view.knows(*path, "unit"):
            yield Problem(
                path=path, allowed=f"must have a unit: the layout of pool {pool.name} is chosen by what is asked"
            )
        if not known or not view.cut(pool) or not view.knows(*path, "unit"):
            continue
        if not unit:
            yield Problem(path=path, allowed=f"must have a unit: pool {pool.name} advertises {listed(known)}")
        elif unit not in known:
            yield Problem(
                path=(*path, "unit"),
                found=value(service.unit),
                allowed=f"but pool {pool.name} advertises {listed(known)}",
            )
        else:
            yield from _fits(view, path, service, pool, known[unit])


def _fits(view: View, path: Path, service: Service, pool: Pool, offer: derive.Offer) -> Iterator[Problem]:
    wanted, span = service.gpus_per_replica, service.engine.nodes
    path = (*path, "gpusPerReplica")
    if not view.knows(*path) or not view.knows(*path[:-1], "engine", "nodes"):
        return
    if span > pool.nodes.max:
        yield Problem(
            path=(*path[:-1], "engine", "nodes"),
            found=str(span),
            allowed=f"but pool {pool.name} has at most {counted(pool.nodes.max, 'node')}",
        )
    elif wanted > offer.per_node * span and view.sized(pool):
        hint = "" if offer.unit != "gpu" else "a replica may span several: engine.nodes"
        yield Problem(
            path=path,
            found=str(wanted),
            allowed=f"but {counted(span, 'node')} of pool {pool.name} {'has' if span == 1 else 'have'} "
            f"{offer.per_node * span} {offer.resource}",
            hint=hint,
        )
    elif wanted % span:
        yield Problem(path=path, found=str(wanted), allowed=f"must be a multiple of engine.nodes, which is {span}")
    elif wanted > 1 and (pool.partition.time_slicing or pool.partition.mps):
        yield Problem(
            path=path,
            found=str(wanted),
            allowed=f"must be 1 on pool {pool.name}: two shares may be of the same GPU and give nothing more",
        )
    elif wanted > 1 and pool.partition.mig:
        yield Problem(
            path=path, found=str(wanted), allowed=f"must be 1 on pool {pool.name}: one process uses one MIG instance"
        )


def parallelism(view: View) -> Iterator[Problem]:
    """The engine's ranks are the replica's devices: vLLM starts one worker per tensor and pipeline rank."""
    for index, service in enumerate(view.platform.services):
        sizes = [service.engine.args.get(f"{kind}-parallel-size") for kind in ("tensor", "pipeline")]
        known = all(view.knows("services", index, *path) for path in (("engine", "args"), ("gpusPerReplica",)))
        if all(size is None for size in sizes) or not known:
            continue
        ranks = 1
        for size in sizes:
            ranks *= size if isinstance(size, int) else 1
        if ranks != service.gpus_per_replica:
            yield Problem(
                path=("services", index, "gpusPerReplica"),
                found=str(service.gpus_per_replica),
                allowed=f"but the engine's arguments ask for {ranks} (tensor × pipeline parallel size)",
            )


def promises(view: View) -> Iterator[Problem]:
    """A queued service counts against its team's quota: enough for its least, and with loans for its most."""
    sure: dict[tuple[str, str, str], int] = defaultdict(int)
    for path, service, pool in _services(view):
        team, unit = view.team(service.team), derive.unit_of(pool, service)
        known = {offer.unit for offer in derive.offers(pool)}
        if team is None or not service.queued or not unit or (known and unit not in known):
            continue
        if not view.holds(int(path[1])) or not view.cut(pool) or not clear(view, team, "quota", pool):
            continue
        quota = derive.amounts(pool, team.quota.get(pool.name, 0)).get(unit, 0)
        borrow = derive.amounts(pool, team.borrow.get(pool.name, 0)).get(unit, 0)
        least, most = (service.gpus_per_replica * count for count in (service.replicas.min, service.replicas.max))
        sure[team.name, pool.name, unit] += least
        loans = clear(view, team, "borrow", pool)
        if not quota + borrow and loans:
            yield Problem(
                path=(*path, "pool"),
                found=value(pool.name),
                allowed=f"but team {team.name} has no quota there",
                hint="give it some, or set the GPUs aside from the queues with queued: false",
            )
        elif sure[team.name, pool.name, unit] > quota:
            yield Problem(
                path=(*path, "replicas", "min"),
                found=str(service.replicas.min),
                allowed=f"but with it the services of team {team.name} on {pool.name} always hold "
                f"{sure[team.name, pool.name, unit]}, and its quota is {quota}",
            )
        elif most > quota + borrow and loans:
            yield Problem(
                path=(*path, "replicas", "max"),
                found=str(service.replicas.max),
                allowed=f"but {most} GPUs are more than team {team.name} may use on {pool.name}: "
                f"quota {quota}, borrow {borrow}",
            )


def aside(view: View) -> Iterator[Problem]:
    """What services outside the queues hold at most is there."""
    for key, holders in derive.set_aside(view.sure).items():
        pool = view.pool(key[0])
        offer = next((each for each in derive.offers(pool) if each.unit == key[1]), None) if pool else None
        total = sum(holders.values())
        if pool and offer and total > offer.highest and view.sized(pool):
            last = max(at for at, service in enumerate(view.platform.services) if service.name in holders)
            yield Problem(
                path=("services", last, "replicas", "max"),
                allowed=f"is more than pool {key[0]} has: {total} of {offer.highest} {offer.resource}",
            )


RULES = (names, replicas, scaling, spot, devices, parallelism, promises, aside)
