"""Work that was lost: what pods cost that were pushed out before they were done."""

from __future__ import annotations

from plimsoll.cost.bill import Query, divided
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.split import MICRO

REASONS = (
    # Reasons of a pod's condition DisruptionTarget, then of status.reason, as Kubernetes writes them.
    "PreemptionByScheduler", "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC",
    "TerminationByKubelet", "Evicted", "Preempting", "Preempted", "NodeLost", "NodeShutdown", "Terminated", "Shutdown",
)  # fmt: skip


def lost(ledger: Ledger, tariff: Tariff, query: Query, *, checkpoint: int = 0) -> dict[str, int]:
    """By team, micro-units that pods cost which ended in the window by one of REASONS. Only teams that lost anything.

    checkpoint: milliseconds between two checkpoints, where that is known: what a pod did before its last one was
    saved, so it loses at most the last so many. 0: all it cost within the window. Neither is more than could be lost,
    and a pod that saved when it was told to go loses less.
    """
    store = ledger.store
    with store.reading():
        divided(ledger, tariff, query, ledger.horizon())
        span = "(h.ended - h.began)"
        kept = "h.cost"
        if checkpoint:
            checkpoint = int(checkpoint)  # a Duration prints itself with its unit
            kept = f"CASE WHEN {span} > {checkpoint} THEN div(h.cost, {span}) * {checkpoint} ELSE h.cost END"
        reasons = ", ".join(f"'{reason}'" for reason in REASONS)
        rows = store.rows(
            f"""SELECT p.team, SUM({kept}) FROM b_paid h JOIN pods p ON p.id = h.pod
                JOIN (SELECT DISTINCT id FROM marks WHERE kind = 'pod' AND mark = 'ended' AND why IN ({reasons})
                      AND moment > {query.began} AND moment <= {query.ended}) m ON m.id = h.pod
                GROUP BY p.team ORDER BY p.team"""
        )
    found = {team: (int(cost) + MICRO // 2) // MICRO for team, cost in rows}
    return {team: cost for team, cost in found.items() if cost}
