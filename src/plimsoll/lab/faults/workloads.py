"""Faults of workloads: what pods ask for, and what becomes of it. GPU064 to GPU068, GPU087, GPU098, GPU115."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.kube.objects import Obj, number, text
from plimsoll.lab.faults import work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.work import DUE, GPU, NAME

_SHARED = f"{GPU}.shared"
_ADOPTED = {"nvidia.com/gpu.present": "true"}
_SLICE = "nvidia.com/mig-1g.10gb"
_TOO_MANY = (
    f"Allocate failed due to rpc error: code = Unknown desc = request for '{_SHARED}: 2' too large: "
    "maximum request size for shared resources is 1, which is unexpected"
)
_NUMA = "Resources cannot be allocated with Topology locality"


def _pending(id_: str, title: str, pods: Callable[[], Obj]) -> Fault:
    """A Deployment whose pods find no node."""
    return Fault(
        id=id_,
        title=title,
        where="pod",
        inject=lambda hands: work.deploy(hands, work.space(hands), pods()),
        shown=lambda hands: work.waiting(hands, work.here(hands)),
        later=DUE,
    )


def _refused(id_: str, title: str, limits: dict[str, str], reason: str, message: str) -> Fault:
    """A Job whose pods are sent to a node, and refused there by its kubelet, one after the other."""

    def inject(hands: Hands) -> None:
        notes = {"lab.plimsoll.dev/refused": reason, "lab.plimsoll.dev/refused-message": message}
        work.job(hands, work.space(hands), work.template(limits, notes=notes), retries=2)

    def shown(hands: Hands) -> bool:
        found = work.pods_of(hands, work.here(hands))
        return any(text(each, "status", "reason") == reason for each in found)

    return Fault(id=id_, title=title, where="pod", inject=inject, shown=shown)


def _running(id_: str, title: str, pods: Callable[[], Obj]) -> Fault:
    """A Deployment that runs, and should not run like this."""
    return Fault(
        id=id_,
        title=title,
        where="pod",
        inject=lambda hands: work.deploy(hands, work.space(hands), pods()),
        shown=lambda hands: work.running(hands, work.here(hands)),
    )


def _asleep(hands: Hands) -> None:
    """A Deployment that is scaled to 0 for the night, and chooses its GPU by a name that sharing has changed."""
    pods = work.template({GPU: "1"}, nodeSelector={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED"})
    work.deploy(hands, work.space(hands), pods, replicas=0)


def _known(hands: Hands) -> bool:
    return number(hands.get(work.DEPLOYMENT, NAME, work.here(hands)), "status", "observedGeneration") == 1


FAULTS: tuple[Fault, ...] = (
    _pending(
        "GPU064",
        "pods choose a GPU model that no node has",
        lambda: work.template({GPU: "1"}, nodeSelector={"nvidia.com/gpu.product": "NVIDIA-H200"}),
    ),
    _pending("GPU064+size", "pods ask for more GPUs than any node has", lambda: work.template({GPU: "16"})),
    _pending(
        "GPU064+cpu",
        "pods ask for more processors beside their GPU than any node has",
        lambda: work.template({GPU: "1"}, requests={"cpu": "900"}),
    ),
    _pending(
        "GPU065",
        "pods ask for a MIG device of another GPU",
        lambda: work.template({"nvidia.com/mig-1g.5gb": "1"}),
    ),
    _pending(
        "GPU067",
        "pods do not tolerate the taint of GPU nodes",
        lambda: work.template({GPU: "1"}, tolerations=[]),
    ),
    _refused(
        "GPU066",
        "pods ask for two shares of a GPU, and their kubelet refuses them",
        {_SHARED: "2"},
        "UnexpectedAdmissionError",
        _TOO_MANY,
    ),
    _refused(
        "GPU115",
        "pods are refused because their GPUs would span sockets",
        {GPU: "2"},
        "TopologyAffinityError",
        _NUMA,
    ),
    _running(
        "GPU068",
        "pods reach every GPU of their node by an environment variable",
        lambda: work.template({}, env={"NVIDIA_VISIBLE_DEVICES": "all"}, nodeSelector=_ADOPTED),
    ),
    _running(
        "GPU087",
        "one process is given two MIG devices to use as two GPUs",
        lambda: work.template({_SLICE: "2"}),
    ),
    Fault(
        id="GPU098",
        title="pods choose a GPU by a name that sharing has changed",
        where="pod",
        inject=_asleep,
        shown=_known,
    ),
)  # fmt: skip
