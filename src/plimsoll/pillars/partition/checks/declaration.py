"""GPU084-085: do nodes have the layout that platform.yaml declares, and what would change if not?"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import drain, many
from plimsoll.kube import kinds
from plimsoll.kube.objects import name
from plimsoll.pillars.partition.change import PATHS, WANTED, holders, some
from plimsoll.pillars.partition.declared import drifts


@check(
    "GPU084", Severity.WARNING, Layer.RISK, reads=(kinds.NODE,), needs_platform=True,
    remedy="Set the node's nvidia.com/mig.config to the declared layout again.",
    source="platform.yaml pools[].partition.mig against GFD labels nvidia.com/mig-*.count",
)  # fmt: skip
def layout_is_as_declared(case: Case) -> Iterator[Finding]:
    """Every node has, and asks for, the MIG layout that platform.yaml declares for its pool.

    A label changed by hand or instances made with nvidia-smi leave a node that works but offers
    other sizes than quota, services and cost are computed with. A change that is under way or has
    failed is judged by the layout the node's label asks for.
    """
    for drift in drifts(case):
        yield case.finding(
            drift.node,
            f"{name(drift.node)} of pool {drift.pool} "
            + (f"is asked for {drift.asks}" if drift.asks else f"has {drift.has}")
            + f", and platform.yaml declares {drift.wants}",
            *PATHS,
            seen={"declared": drift.wants, "found": drift.has, **({"asked for": drift.asks} if drift.asks else {})},
            remedy=f"kubectl get node {name(drift.node)} --show-labels | tr , '\\n' | grep mig\n"
            f"kubectl label node {name(drift.node)} {WANTED}={drift.config} --overwrite   # once no pod holds its GPUs",
        )


@check(
    "GPU085", Severity.WARNING, Layer.RISK, reads=(kinds.NODE,), whole=(kinds.POD,), needs_platform=True,
    remedy="Drain the node before its layout is changed.",
    source="mig-parted pkg/mig/reconfigure (user pods are not evicted, the change fails or ends them)",
)  # fmt: skip
def nothing_runs_where_layout_will_change(case: Case) -> Iterator[Finding]:
    """No pod holds GPUs on a node whose MIG layout is about to change.

    The MIG manager does not evict the pods of users. While one of them holds a GPU the change
    fails, or the reset ends the pod without warning. Which pods those are is known beforehand.
    """
    for drift in drifts(case):
        found = [] if drift.asks else holders(case, drift.node)  # a change under way is GPU075 to GPU079's
        if found:
            yield case.finding(
                drift.node,
                f"{many(len(found), 'pod')} with GPUs on {name(drift.node)}, whose MIG layout is to become "
                f"{drift.wants}",
                *PATHS,
                seen={"pods": some(found, 10)},
                remedy=f"kubectl cordon {name(drift.node)}\n"
                f"kubectl get pods -A --field-selector spec.nodeName={name(drift.node)}\n"
                f"{drain(name(drift.node), some(found))}\n"
                f"when its layout is changed: kubectl uncordon {name(drift.node)}",
            )
