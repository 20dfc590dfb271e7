"""Cross-checks of promises: units that exist, sums that fit, loans somebody can give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.gpus import mig
from plimsoll.gpus.model import Sku
from plimsoll.gpus.placement import Misfit, place
from plimsoll.spec import derive, settle
from plimsoll.spec.pools import Pool
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.queueing import Amount, Team
from plimsoll.spec.view import View, counted, listed


def units(view: View) -> Iterator[Problem]:
    """A promise is counted in what its pool advertises."""
    for index, team in enumerate(view.platform.teams):
        for field, promised in (("quota", team.quota), ("borrow", team.borrow), ("lend", team.lend)):
            for name, amount in promised.items():
                pool = view.pool(name)
                if pool and view.cut(pool):
                    yield from wrong_units(pool, amount, ("teams", index, field, name))


def wrong_units(pool: Pool, amount: Amount, path: Path) -> Iterator[Problem]:
    """Units in an amount that the pool does not advertise, or a bare number where it advertises several."""
    known = {offer.unit for offer in derive.offers(pool)}
    gpu = derive.sku(pool)
    if derive.open_layout(pool) and gpu:
        known = {profile.name for profile in gpu.mig.profiles} if gpu.mig else set()
    if not known:
        return
    if isinstance(amount, int):
        if len(known) > 1 and amount:
            example = f"{{{next(iter(sorted(known)))}: {amount}}}"
            yield Problem(
                path=path,
                found=str(amount),
                allowed=f"must say of what: pool {pool.name} has {_few(known)}",
                hint=f"for example {example}",
            )
        return
    for unit in amount:
        if mig.canonical(unit) not in known:
            yield Problem(
                path=(*path, unit),
                found=f"the unit {value(unit)}",
                allowed=f"but pool {pool.name} advertises {_few(known)}",
            )


def clear(view: View, team: Team, field: str, pool: Pool) -> bool:
    """Whether a team's quota, borrow or lend on a pool says how much of what."""
    amount: Amount = getattr(team, field).get(pool.name, 0)
    return view.promises(team, field, pool.name) and not any(wrong_units(pool, amount, ()))


def capacity(view: View) -> Iterator[Problem]:
    """All promises on a pool together fit in it when it has its most nodes.

    Said at the one that tips over, and at each that alone is more than there is.
    """
    aside, quotas = derive.set_aside(view.sure), derive.quota(view.platform)
    for pool in filter(view.sized, view.pools.values()):
        for offer in derive.offers(pool):
            takers = {f"service {name}": count for name, count in aside.get((pool.name, offer.unit), {}).items()}
            tipped = False
            for name, count in quotas.get((pool.name, offer.unit), {}).items():
                takers[name] = count
                if count > offer.highest:
                    yield _overdrawn(view, name, pool, offer, {name: count})
                elif count and not tipped and sum(takers.values()) > offer.highest:
                    yield _overdrawn(view, name, pool, offer, takers)
                tipped |= sum(takers.values()) > offer.highest
        if derive.open_layout(pool):
            yield from _open_capacity(view, pool)


def _overdrawn(view: View, name: str, pool: Pool, offer: derive.Offer, takers: dict[str, int]) -> Problem:
    index = next(at for at, team in enumerate(view.platform.teams) if team.name == name)
    promised = [f"{count} to {who}" for who, count in takers.items() if count]
    sum_ = f", and {listed(promised)} make {sum(takers.values())}" if len(promised) > 1 else ""
    most = f"{counted(pool.nodes.max, 'node')} × {offer.per_node}"
    return Problem(
        path=_path(view.platform.teams[index], index, "quota", pool.name, offer.unit),
        found=str(takers[name]),
        allowed=f"but pool {pool.name} has at most {offer.highest} {offer.resource} ({most}){sum_}",
    )


def _open_capacity(view: View, pool: Pool) -> Iterator[Problem]:
    """With `layout: auto` there is a layout, the same for every GPU, that gives all promised instances."""
    gpu = derive.sku(pool)
    if gpu is None or gpu.mig is None:
        return
    slices = {profile.name: profile.memory_slices for profile in gpu.mig.profiles}
    have = gpu.mig.memory * settle.copies(pool)
    need, each = 0, settle.aside(view.sure, pool)
    for index, team in enumerate(view.platform.teams):
        wanted = derive.amounts(pool, team.quota.get(pool.name, 0))
        need += sum(slices.get(unit, 0) * count for unit, count in wanted.items())
        if wanted and need > have:
            yield Problem(
                path=("teams", index, "quota", pool.name),
                allowed=f"is more than {pool.name} can ever be cut into: with what stands before it "
                f"{need} memory slices, and the pool has {have}",
            )
            return
        for unit, count in wanted.items():
            each[unit] = each.get(unit, 0) + count
        if wanted and (why := _unfit(gpu, pool, {unit: count for unit, count in each.items() if unit in slices})):
            yield Problem(
                path=("teams", index, "quota", pool.name),
                allowed=f"is more than any one layout gives pool {pool.name}: {why}",
            )
            return


def _unfit(gpu: Sku, pool: Pool, promised: dict[str, int]) -> str:
    """Why no layout of a pool's GPUs gives so many instances by profile; "" if one does."""
    least = {unit: -(-count // settle.copies(pool)) for unit, count in promised.items() if count}
    if len(least) > 1 and pool.partition.mig and pool.partition.mig.strategy == "single":
        return f"{listed(least)} are promised, and strategy single has one profile"
    answer = place(gpu, least)
    if not isinstance(answer, Misfit):
        return ""
    of_each = listed(f"{count}×{unit}" for unit, count in least.items())
    return f"with what stands before it each GPU must hold {of_each}, and {answer.reason}"


def loans(view: View) -> Iterator[Problem]:
    """Nobody lends more than their quota, or may borrow more than all others together lend."""
    quotas, lent = derive.quota(view.platform), _lent(view)
    for index, team in enumerate(view.platform.teams):
        for name, unit, count in _by_unit(view, team.lend):
            have = quotas.get((name, unit), {}).get(team.name, 0)
            if count > have and view.promises(team, "quota", name):
                yield Problem(
                    path=_path(team, index, "lend", name, unit),
                    found=str(count),
                    allowed=f"must be at most the team's own quota there, which is {have}",
                )
        for name, unit, count in _by_unit(view, team.borrow):
            lenders = lent[name, unit]
            most = sum(lenders.values()) - lenders.get(team.name, 0)
            if count > most and _lending_known(view, name, team):
                yield Problem(
                    path=_path(team, index, "borrow", name, unit),
                    found=str(count),
                    allowed=f"must be at most {most}, which is what all other teams lend of it",
                )


def _lending_known(view: View, pool: str, borrower: Team) -> bool:
    """Whether all other teams tell what they lend of a pool."""
    others = (team for team in view.teams.values() if team.name != borrower.name)
    return all(view.promises(team, field, pool) for team in others for field in ("quota", "lend"))


def _lent(view: View) -> dict[tuple[str, str], dict[str, int]]:
    """(pool, unit) to team to what others may borrow of its quota: what it says, else all of it."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for team in view.platform.teams:
        limits = {(name, unit): count for name, unit, count in _by_unit(view, team.lend)}
        for name, unit, count in _by_unit(view, team.quota):
            found[name, unit][team.name] = limits.get((name, unit), count)
    return found


def _by_unit(view: View, amounts: dict[str, Amount]) -> Iterator[tuple[str, str, int]]:
    """Pool, unit and devices of every amount whose pool and unit are clear."""
    for name, amount in amounts.items():
        pool = view.pool(name)
        for unit, count in derive.amounts(pool, amount).items() if pool else ():
            yield name, unit, count


def _path(team: Team, index: int, field: str, pool: str, unit: str) -> Path:
    """Where a team's amount of a unit stands: at the unit, or at the bare number."""
    amount = getattr(team, field)[pool]
    written = next((key for key in amount if mig.canonical(key) == unit), None) if isinstance(amount, dict) else None
    return ("teams", index, field, pool, written) if written else ("teams", index, field, pool)


def _few(known: set[str]) -> str:
    return listed(sorted(known))


RULES = (units, capacity, loans)
