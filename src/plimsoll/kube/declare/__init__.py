"""From a cluster as it is to the declaration that describes it: what `plimsoll init` writes.

words      values the file would take, names
sharing    how the GPUs of a node are cut and shared
machines   what each GPU node is
pools      nodes that are alike, and labels that tell them apart
books      what pools have left to promise
teams      ClusterQueues and who holds GPUs without one
queueing   Kueue's own settings
engine     how an engine is started
services   what serves models with vLLM
cluster    provider, operator, driver, metrics, security

What a cluster does not show keeps its default; what it does but a declaration cannot say is made to
fit. Each of both is said in one sentence, so that nobody takes a guess for a fact.
"""

from __future__ import annotations

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.declare import cluster, services, teams
from plimsoll.kube.declare.books import Books
from plimsoll.kube.declare.pools import find_pools
from plimsoll.kube.declare.queueing import find_queueing
from plimsoll.kube.declare.words import listed
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec.model import Metadata, Platform
from plimsoll.spec.spot import Spot

_LOOKED_FOR = (
    "looked at every node's labels (nvidia.com/gpu.product and gpu.present, NFD's pci-10de.present, "
    "node.kubernetes.io/instance-type) and for nvidia.com/gpu or nvidia.com/mig-* in its capacity"
)


class Declared(msgspec.Struct, frozen=True):
    """A declaration and what in it is not read off the cluster.

    guesses: sentences about what could not be known and has its default, or did not fit as it is.
    """

    platform: Platform
    guesses: tuple[str, ...]


def declare(snapshot: Snapshot, name: str = "") -> Declared:
    """The declaration of a cluster as it is; it passes every validation and cross-check of a hand-written one.

    name: what to call the platform; "": after the kubeconfig's context, else after where the cluster runs.

    Raises InputError where no pool of known GPUs can be declared.
    """
    guesses: dict[str, None] = {}

    def say(sentence: str) -> None:
        guesses[sentence] = None

    found = find_pools(snapshot, say)
    if not found.pools:
        raise _nothing(snapshot, list(guesses))
    books, roster = Books(found.pools), teams.Roster()
    teams.queue_teams(snapshot, found, books, roster, say)
    plans = services.find_services(snapshot, found, books, say)
    services.reserve(plans, books, grow=False)
    teams.promise(roster, books, say)
    services.settle_queued(plans, roster, say)
    services.reserve(plans, books, grow=True)
    serving = services.written(snapshot, plans, roster, say)
    teams.holders(snapshot, found, books, services.pods_served(snapshot, plans), roster, say)
    teams.somebody(snapshot, roster, say)
    here = cluster.find_cluster(snapshot, say)
    spot = {pool.name for pool in found.pools if pool.capacity == "spot"}
    risky = [service.name for service in serving if service.pool in spot]
    if risky:
        say(f"spot.never is empty, for there are services on spot capacity: {listed(risky)}")
    if not name:
        name = cluster.called(snapshot, here)
        say(f"the platform is called {name}: `plimsoll init --name` calls it otherwise")
    platform = Platform(
        metadata=Metadata(name=name),
        cluster=here,
        operator=cluster.find_operator(snapshot, here.provider, say),
        pools=found.pools,
        teams=roster.written(books),
        queueing=find_queueing(snapshot, say),
        spot=Spot(never=()) if risky else Spot(),
        services=serving,
        observability=cluster.find_observability(snapshot, say),
        security=cluster.find_security(snapshot, [s for draft in roster.drafts for s in draft.namespaces], say),
    )
    for sentence in _standing(platform):
        say(sentence)
    return Declared(platform, tuple(guesses))


def _standing(platform: Platform) -> list[str]:
    """What no cluster shows."""
    said = [
        "no cluster shows what a node costs: pools have no price",
        "nodes.min and nodes.max of each pool are the nodes it has now",
        "isolation of every team is shared, and no team has a budget: both are for you to decide",
        "image rules, identity, network and review of the security section are defaults, not read off the cluster",
    ]
    if platform.services:
        said.append("the latency objectives of services are defaults")
    return said


def _nothing(snapshot: Snapshot, reasons: list[str]) -> InputError:
    nodes = len(snapshot.list(kinds.NODE))
    if not nodes and not snapshot.whole(kinds.NODE):
        return InputError(f"the nodes of the cluster are not here: {snapshot.why_unread(kinds.NODE)}",
                          where=snapshot.source.place, hint="init needs at least Node objects")  # fmt: skip
    if reasons:
        return InputError(f"none of the GPU nodes can be declared: {'; '.join(reasons)}", where=snapshot.source.place)
    return InputError(f"no GPU node among {nodes} nodes: {_LOOKED_FOR}", where=snapshot.source.place)
