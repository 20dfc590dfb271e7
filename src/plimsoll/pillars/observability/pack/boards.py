"""Which dashboards a declaration has."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.boards_cards import CARDS, SHARED
from plimsoll.pillars.observability.pack.boards_cost import cost
from plimsoll.pillars.observability.pack.boards_fleet import FLEET
from plimsoll.pillars.observability.pack.boards_nodes import NODES, SPOT
from plimsoll.pillars.observability.pack.boards_pods import IDLE, PODS
from plimsoll.pillars.observability.pack.boards_queues import QUEUES
from plimsoll.pillars.observability.pack.boards_serving import SERVING
from plimsoll.pillars.observability.pack.grafana import Board
from plimsoll.spec import derive
from plimsoll.spec.model import Platform


def boards(platform: Platform) -> tuple[Board, ...]:
    """Those that have something to show: none of services without services, of shares without shares, of money without
    a meter."""
    cut = any(pool.partition.mig or pool.partition.time_slicing or pool.partition.mps for pool in platform.pools)
    return (
        FLEET,
        CARDS,
        *((SHARED,) if cut else ()),
        IDLE,
        QUEUES,
        PODS,
        *((SERVING,) if platform.services else ()),
        NODES,
        *((SPOT,) if derive.spot_pools(platform) else ()),
        *((cost(platform.observability.costs.currency),) if platform.observability.meter else ()),
    )
