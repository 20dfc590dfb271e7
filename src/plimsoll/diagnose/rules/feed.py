"""Work that waits for something that feeds the GPU, cores, data, the network: D31 to D36."""

from __future__ import annotations

from plimsoll.check.model import Severity
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import Facts, Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import edit, inside

SAWTOOTH = Limit(0.50, "R", "unevenness of use from which a GPU is fed in bursts")
CPU_FULL = Limit(0.85, "R", "of its CPU limit, above which a pod is short of cores")
THROTTLED = Limit(0.10, "R", "of its scheduling periods stopped by the CPU limit, above which it is")
STALLED = Limit(0.20, "R", "of its time waiting for storage, above which that is slow")
LULL = Limit(0.50, "R", "PCIe traffic between bursts by that in them, below which data arrives in bursts")
FED = Limit(0.80, "N", "use from which a GPU is not short of work")
THREAD_LOW = Limit(0.10, "R", "use below which one thread is not what holds it up")
THREAD_HIGH = Limit(0.60, "R", "use above which it is not either")
ONE_CORE = (
    Limit(0.85, "R", "cores used from which one thread is taken to be at its limit"),
    Limit(1.25, "R", "cores used up to which it is one thread"),
)
NOT_THROTTLED = Limit(0.01, "R", "of its scheduling periods stopped, up to which the limit is not the reason")
LIGHT = Limit(0.30, "R", "DRAM activity below which the GPU itself is not the limit")
GREEDY = Limit(1.5, "J", "times the cores that a node has for each GPU (18 by 12 there)")
STARVED = Limit(0.25, "R", "of the cores that a node has for each GPU, below which few are asked for")
LINKED = Limit(90e9, "R", "NVLink bytes a second of one GPU, a fifth of what an H100 sends")
WIRED = Limit(2.5e9, "R", "network bytes a second of one pod, 20 Gbit/s")
NO_MATH = Limit(0.15, "R", "tensor activity below which a job on many GPUs waits for something")
UNEQUAL = Limit(1.5, "R", "the busiest rank by the least busy one")


def _computes(facts: Facts) -> bool:
    return not facts.serves


def _spread(facts: Facts) -> bool:
    return not facts.serves and len(facts.nodes) > 1


def _waits(of: Signals) -> int | None:
    """What the part of the time cost in which nothing ran."""
    return round(of.money.cost * (1 - of["busy.mean"])) if of.money else None


@rule("D31", "too-few-cores", Severity.WARNING, depths.HOST, "workload", do="ask for more cores",
      needs=("cores.asked", "cores.node", "cpu.of_limit|cpu.throttled", "busy.mean"),
      limits=(STARVED, CPU_FULL, THROTTLED, FED), explains="D33 D34 D36 D11 D12 D14 D21")  # fmt: skip
def too_few_cores(of: Signals) -> Found | None:
    """A pod asks for so few CPU cores that its GPUs wait for them.

    Cores that the node has for these GPUs lie idle beside it.
    """
    full = (of.get("cpu.of_limit") or 0) > CPU_FULL or (of.get("cpu.throttled") or 0) > THROTTLED
    if of["cores.asked"] >= STARVED * of["cores.node"] or not full or of["busy.mean"] >= FED:
        return None
    return Found(
        f"{of.subject.name} asks for {of['cores.asked']:.1f} cores with each GPU, uses them up, and its node has "
        f"{of['cores.node']:.0f}",
        edit(of, f"resources: requests and limits of cpu: {max(of['cores.node'] - 1, 1):.0f} for each GPU"),
        wasted=_waits(of),
    )


@rule("D32", "too-many-cores", Severity.INFO, depths.PLACEMENT, "workload", do="ask for fewer cores",
      needs=("cores.asked", "cores.node"), may=("cpu.cores",), limits=(GREEDY,))  # fmt: skip
def too_many_cores(of: Signals) -> Found | None:
    """A pod asks for so many CPU cores that GPUs beside it can be given to nobody.

    A node whose cores are gone has GPUs that wait for ever.
    """
    if of["cores.asked"] <= GREEDY * of["cores.node"]:
        return None
    used = of.get("cpu.cores")
    uses = f", and uses {used:.1f}" if used is not None else ""
    return Found(
        f"{of.subject.name} asks for {of['cores.asked']:.0f} cores with each GPU{uses}; its node has "
        f"{of['cores.node']:.0f} for each",
        edit(of, f"resources.requests.cpu: at most {of['cores.node']:.0f} for each GPU"),
        confidence="high" if used is not None and used < of["cores.node"] else "medium",
    )


@rule("D33", "data-loader", Severity.WARNING, depths.FEED, "workload", do="more loaders, data nearer by",
      needs=("busy.cv", "busy.mean", "cpu.of_limit|cpu.throttled|io.stalled"), may=("pcie.lull", "dram.mean"),
      limits=(SAWTOOTH, CPU_FULL, THROTTLED, STALLED, LULL, FED), explains="D11 D12 D14",
      applies=_computes)  # fmt: skip
def data_loader(of: Signals) -> Found | None:
    """A job waits for its data between bursts of work.

    Use goes up and down, and while it is down the CPU or the storage is what works. The GPU is paid for all the while.
    """
    cpu = (of.get("cpu.of_limit") or 0) > CPU_FULL or (of.get("cpu.throttled") or 0) > THROTTLED
    storage = (of.get("io.stalled") or 0) > STALLED
    if of["busy.cv"] <= SAWTOOTH or of["busy.mean"] >= FED or not (cpu or storage):
        return None
    lull = of.get("pcie.lull")
    why = "its CPU" if cpu and not storage else "storage" if storage and not cpu else "its CPU and storage"
    do = []
    if cpu:
        do.append("more data loader workers (num_workers) and cores for them, pin_memory=True")
    if storage:
        do.append("data on a local disk or in a cache, in fewer and larger files")
    return Found(
        f"{of.subject.name} is busy {of['busy.mean']:.0%} of the time, in bursts, and waits for {why} between them",
        edit(of, "\n".join(do)),
        wasted=_waits(of),
        confidence="high" if lull is not None and lull < LULL else "medium" if lull is None else "low",
    )


@rule("D34", "one-thread", Severity.WARNING, depths.FEED, "workload", do="CUDA graphs, or more processes",
      needs=("busy.mean", "cpu.cores", "cpu.throttled", "dram.mean"), may=("sm.mean", "cpu.of_limit"),
      limits=(THREAD_LOW, THREAD_HIGH, *ONE_CORE, NOT_THROTTLED, LIGHT), explains="D11 D12 D14 D21")  # fmt: skip
def one_thread(of: Signals) -> Found | None:
    """One CPU thread starts the work of a GPU, and cannot start it fast enough.

    Exactly one core is full, nothing limits it, and the GPU waits between kernels.
    """
    if not THREAD_LOW <= of["busy.mean"] <= THREAD_HIGH or of["dram.mean"] >= LIGHT:
        return None
    if not ONE_CORE[0] <= of["cpu.cores"] <= ONE_CORE[1] or of["cpu.throttled"] > NOT_THROTTLED:
        return None
    return Found(
        f"{of.subject.name} is busy {of['busy.mean']:.0%} of the time with one core full ({of['cpu.cores']:.2f})",
        f"{inside(of, 'py-spy top --pid 1')}   # where that thread spends its time\n"
        "CUDA graphs or torch.compile start many kernels at once; more processes on the GPU (MPS) share it",
        wasted=_waits(of),
        confidence="medium",
    )


@rule("D35", "network-bound", Severity.WARNING, depths.FEED, "workload", do="place it in one rack or block",
      needs=("tensor.mean", "nvlink.rate|network.rate", "job.nodes"), may=("busy.mean", "ranks.spread"),
      limits=(LINKED, WIRED, NO_MATH), explains="D11 D12", applies=_spread)  # fmt: skip
def network_bound(of: Signals) -> Found | None:
    """A job on several nodes moves data between its GPUs and computes little.

    Gradients or activations travel farther than they should.
    """
    linked, wired = of.get("nvlink.rate") or 0, of.get("network.rate") or 0
    if of["job.nodes"] < 2 or of["tensor.mean"] >= NO_MATH or not (linked > LINKED or wired > WIRED):
        return None
    rate = f"{linked / 1e9:,.0f} GB/s over NVLink" if linked > LINKED else f"{wired / 1e9:,.1f} GB/s over the network"
    return Found(
        f"{of.subject.name} moves {rate} for each of its members on {of['job.nodes']:.0f} nodes, with its tensor cores "
        f"at {of['tensor.mean']:.0%}",
        edit(of, "annotation kueue.x-k8s.io/podset-required-topology or -preferred-topology: one block or rack\n"
                 "NCCL_DEBUG=INFO shows whether it uses RDMA or sockets; gradient accumulation moves less"),
        wasted=round(of.money.cost * (1 - of["tensor.mean"] / NO_MATH)) if of.money else None,
        confidence="medium" if "nvlink.rate" in of.values else "low",
    )  # fmt: skip


@rule("D36", "unequal-ranks", Severity.WARNING, depths.FEED, "workload", do="equal work, equal links",
      needs=("ranks.spread", "ranks.lowest", "job.nodes"), may=("tensor.mean", "clock.ratio"),
      limits=(UNEQUAL,), explains="D11 D12", applies=lambda facts: facts.batch and not facts.serves)  # fmt: skip
def unequal_ranks(of: Signals) -> Found | None:
    """Pods of one job are unequally busy.

    A step ends when the last one has ended: the others wait for it, or for its data.
    """
    if of["ranks.spread"] <= UNEQUAL:
        return None
    best = of["ranks.lowest"] * of["ranks.spread"]
    return Found(
        f"The busiest pod of {of.subject.name} is busy {best:.0%} of the time, the least busy one "
        f"{of['ranks.lowest']:.0%}",
        edit(of, "the same work for each rank: shards of equal size, or the topology of its nodes "
                 "(kueue.x-k8s.io/podset-required-topology)"),
        wasted=round(of.money.cost * (best - of["ranks.lowest"]) / 2) if of.money else None,
        confidence="medium" if of["job.nodes"] > 1 else "low",
    )  # fmt: skip
