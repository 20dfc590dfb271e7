"""Cross-checks of the sections that stand alone: spot, operator, observability, security."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.spec import derive
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.spot import SERVING
from plimsoll.spec.view import View, meant


def spot(view: View) -> Iterator[Problem]:
    """Spot pools are spot pools, what they fall back to is not, and neither is named twice."""
    rules = view.platform.spot
    spotted = derive.spot_pools(view.platform)
    for field, named in (("pools", rules.pools), ("fallback", rules.fallback)):
        for at, name in enumerate(named):
            path: Path = ("spot", field, at)
            pool = view.pool(name)
            if not view.knows(*path) or (pool and not view.pool_knows(pool, "capacity")):
                continue
            yield from view.no_such("pools", name, path)
            if name in named[:at]:
                yield Problem(path=path, found=value(name), allowed="must be there once")
            elif pool and field == "pools" and pool.capacity != "spot":
                yield Problem(
                    path=path, found=value(name), allowed=f"must be a spot pool, and its capacity is {pool.capacity}"
                )
            elif field == "fallback" and name in spotted and view.knows("spot", "pools"):
                yield Problem(
                    path=path,
                    found=value(name),
                    allowed="must not be one of the pools it is the fallback of: that is a loop",
                )
            elif pool and field == "fallback" and pool.capacity == "spot":
                yield Problem(path=path, found=value(name), allowed="must not be a spot pool: it may vanish too")


def never(view: View) -> Iterator[Problem]:
    """What stays off spot is something there is, and has no quota on it."""
    known = (SERVING, *view.teams, *view.platform.queueing.priorities)
    every = view.named("teams") and view.knows("queueing", "priorities")
    for at, name in enumerate(view.platform.spot.never if every else ()):
        if name not in known and view.knows("spot", "never", at):
            yield Problem(
                path=("spot", "never", at),
                found=value(name),
                allowed="must be serving, the name of a team or a priority",
                hint=meant(name, known),
            )
    for index, team in enumerate(view.platform.teams):
        if team.name not in view.platform.spot.never or not view.knows("teams", index, "name"):
            continue
        for pool in team.quota:
            if pool in view.pools and view.pools[pool].capacity == "spot":
                yield Problem(
                    path=("teams", index, "quota", pool),
                    allowed=f"must be left out: spot.never keeps team {team.name} off spot",
                )


def freezes(view: View) -> Iterator[Problem]:
    for at, freeze in enumerate(view.platform.operator.upgrades.freeze):
        if freeze.from_ > freeze.until:
            yield Problem(
                path=("operator", "upgrades", "freeze", at, "from"),
                found=str(freeze.from_),
                allowed=f"must not be after until, which is {freeze.until}",
            )


def currencies(view: View) -> Iterator[Problem]:
    """All prices are in the currency costs are reported in: nothing here converts money."""
    if not view.knows("observability", "costs", "currency"):
        return
    wanted = view.platform.observability.costs.currency
    for index, pool in enumerate(view.platform.pools):
        known = view.knows("pools", index, "price", "currency")
        if pool.price and known and pool.price.currency != wanted:
            yield Problem(
                path=("pools", index, "price", "currency"),
                found=value(pool.price.currency),
                allowed=f"must be {wanted}, the currency of observability.costs",
            )


def meters(view: View) -> Iterator[Problem]:
    """Meters on many nodes write into one ledger, and a file has one writer."""
    meter = view.platform.observability.meter
    path: Path = ("observability", "meter")
    if meter and meter.mode == "node" and not meter.ledger.postgresql and view.knows(*path):
        yield Problem(
            path=(*path, "ledger", "postgresql"),
            allowed="is missing: meters on many nodes write into one database, and a file has one writer",
        )


def signatures(view: View) -> Iterator[Problem]:
    """A way of signing comes with what verifies it."""
    found = view.platform.security.images.signatures
    path: Path = ("security", "images", "signatures")
    if found.mode == "keyless" and not found.issuer and view.knows(*path, "issuer"):
        yield Problem(
            path=(*path, "issuer"), allowed="is missing: keyless signatures are judged by who issued the identity"
        )
    if found.mode == "key" and not found.key and view.knows(*path, "key"):
        yield Problem(path=(*path, "key"), allowed="is missing: it verifies the signatures")


RULES = (spot, never, freezes, currencies, meters, signatures)
