"""Cross-checks of pools: is this GPU one, can it be cut so, which nodes are whose."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.gpus import catalogue
from plimsoll.gpus.placement import Misfit, place
from plimsoll.spec.derive import sku
from plimsoll.spec.pools import Mig, Pool
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.view import View, listed, twice

HOSTNAME = "kubernetes.io/hostname"
OLD_MPS_CLIENTS_MAX = 16  # of a GPU older than Volta's successor (compute capability below 7.5): device plugin


def names(view: View) -> Iterator[Problem]:
    yield from twice(view.names("pools", [pool.name for pool in view.platform.pools]), "pools")


def gpus(view: View) -> Iterator[Problem]:
    """The GPU is in the catalogue, and the one the instance type has."""
    for index, pool in enumerate(view.platform.pools):
        path: Path = ("pools", index)
        if not view.knows(*path, "gpu"):
            continue
        if sku(pool) is None:
            near = catalogue.close(pool.gpu)
            hint = f"did you mean {' or '.join(near[:3])}?" if near else ""
            yield Problem(
                path=(*path, "gpu"), found=value(pool.gpu), allowed="must be a GPU of the catalogue", hint=hint
            )
            continue
        machine = catalogue.from_instance_type(pool.instance_type)
        if machine is None:
            continue
        its_gpu, count = machine
        if its_gpu.name != pool.gpu:
            yield Problem(
                path=(*path, "gpu"), found=value(pool.gpu), allowed=f"but a {pool.instance_type} has {its_gpu.name}"
            )
        elif count != pool.gpus_per_node and view.knows(*path, "gpusPerNode"):
            yield Problem(
                path=(*path, "gpusPerNode"),
                found=str(pool.gpus_per_node),
                allowed=f"but a {pool.instance_type} has {count}",
            )


def nodes(view: View) -> Iterator[Problem]:
    for index, pool in enumerate(view.platform.pools):
        if pool.nodes.min > pool.nodes.max and view.knows("pools", index, "nodes"):
            yield Problem(
                path=("pools", index, "nodes", "min"),
                found=str(pool.nodes.min),
                allowed=f"must be at most max, which is {pool.nodes.max}",
            )


def selectors(view: View) -> Iterator[Problem]:
    """No node can belong to two pools: where one selector holds all of another, its nodes are the other's too."""
    pools = [each for each in enumerate(view.platform.pools) if _selects(view, *each)]
    for position, (index, pool) in enumerate(pools):
        for _, other in pools[:position]:
            mine, its = pool.selector.items(), other.selector.items()
            if pool.name != other.name and (mine <= its or its <= mine):
                yield Problem(
                    path=("pools", index, "nodeSelector"),
                    allowed=f"must not also select nodes of pool {other.name}",
                    hint="give both selectors the same label with different values",
                )


def _selects(view: View, index: int, pool: Pool) -> bool:
    """Whether it is known which nodes a pool selects: by its selector, or by its name."""
    return view.knows("pools", index, "nodeSelector") and (
        bool(pool.node_selector) or view.knows("pools", index, "name")
    )


def topology(view: View) -> Iterator[Problem]:
    for index, pool in enumerate(view.platform.pools):
        levels = pool.topology.levels if pool.topology else ()
        path: Path = ("pools", index, "topology", "levels")
        if not view.knows(*path):
            continue
        if len(set(levels)) < len(levels):
            yield Problem(path=path, allowed="must name each level once")
        elif HOSTNAME in levels[:-1]:
            yield Problem(path=path, allowed=f"must have {HOSTNAME} last, the narrowest level there is")


def costs(view: View) -> Iterator[Problem]:
    """A price is a price per hour, or what makes one up."""
    for index, pool in enumerate(view.platform.pools):
        path: Path = ("pools", index, "price")
        price = pool.price
        if price is None or not (view.knows(*path, "perNodeHour") and view.knows(*path, "owned")):
            continue
        if price.per_node_hour is None and price.owned is None:
            yield Problem(path=path, allowed="must have perNodeHour, or owned where the nodes are your own")
        elif price.per_node_hour is not None and price.owned is not None:
            yield Problem(path=(*path, "owned"), allowed="must be left out where there is perNodeHour")


def partitions(view: View) -> Iterator[Problem]:
    """MIG only where the GPU has it and in layouts that fit; ways of sharing that exclude each other."""
    for index, pool in enumerate(view.platform.pools):
        path: Path = ("pools", index, "partition")
        cut, gpu = pool.partition, sku(pool)
        if cut.mps and (cut.mig or cut.time_slicing):
            other = "mig" if cut.mig else "timeSlicing"
            yield Problem(
                path=(*path, "mps"), allowed=f"must not be combined with {other}: the device plugin refuses it"
            )
        if cut.mps and gpu and gpu.capability < (7, 5) and cut.mps.replicas > OLD_MPS_CLIENTS_MAX:
            yield Problem(
                path=(*path, "mps", "replicas"),
                found=str(cut.mps.replicas),
                allowed=f"must be at most {OLD_MPS_CLIENTS_MAX} on {pool.gpu}",
            )
        if cut.mig and gpu and gpu.mig is None:
            yield Problem(
                path=(*path, "mig"),
                allowed=f"must be left out: {pool.gpu} has no MIG",
                hint="share it with timeSlicing or mps",
            )
        elif cut.mig and gpu:
            yield from _layout(pool, cut.mig, path)


def _layout(pool: Pool, cut: Mig, path: Path) -> Iterator[Problem]:
    path = (*path, "mig", "layout")
    gpu = sku(pool)
    if isinstance(cut.layout, str) or gpu is None:
        return
    if not any(cut.layout.values()):
        yield Problem(path=path, allowed="must hold at least one instance, or be auto")
        return
    answer = place(gpu, cut.layout)
    if isinstance(answer, Misfit):
        fits = listed(f"{count}×{name}" for name, count in answer.fits.items())
        hint = f"{fits} would fit" if answer.fits else ""
        yield Problem(path=path, allowed=f"does not fit on one {pool.gpu}: {answer.reason}", hint=hint)
    elif cut.strategy == "single" and sum(1 for count in cut.layout.values() if count) > 1:
        yield Problem(
            path=(*path[:-1], "strategy"),
            found='"single"',
            allowed="must be mixed, for the layout has several profiles",
        )


RULES = (names, gpus, nodes, selectors, topology, costs, partitions)
