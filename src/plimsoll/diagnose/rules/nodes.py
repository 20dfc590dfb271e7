"""GPUs that nobody can be given, and queues that do not give: D51 to D55."""

from __future__ import annotations

from math import ceil

from plimsoll.check.model import Severity
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import HOUR, Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import edit, name_of

FRAGMENTED = Limit(61, "J", "minutes on more nodes than it needs, after which a job is fragmented")
CORES_LEFT = Limit(2, "R", "free CPU cores, below which a free GPU can be given to nobody")
MEMORY_LEFT = Limit(8 * 1000 * 1000 / 1024 * 1000 / 1024, "R", "free MiB of host memory (8 GB), below which it cannot")
WAITS = Limit(10, "R", "minutes that work waits beside free quota")


@rule("D51", "fragmented", Severity.WARNING, depths.PLACEMENT, "workload", do="place it on fewer nodes",
      needs=("job.gpus", "job.nodes", "node.gpus", "job.minutes"), limits=(FRAGMENTED,), explains="D35 D36",
      applies=lambda facts: facts.batch and not facts.cut and not facts.shared)  # fmt: skip
def fragmented(of: Signals) -> Found | None:
    """A job is spread over more nodes than its GPUs need.

    What NVLink would carry goes over the network, and each of those nodes has fewer GPUs left for large jobs.
    """
    if of["node.gpus"] < 1 or of["job.minutes"] <= FRAGMENTED:
        return None
    enough = ceil(of["job.gpus"] / of["node.gpus"])
    if of["job.nodes"] <= enough:
        return None
    return Found(
        f"{of.subject.name} holds {of['job.gpus']:.0f} GPUs on {of['job.nodes']:.0f} nodes, and {enough} would be "
        "enough",
        edit(of, "annotation kueue.x-k8s.io/podset-required-topology: kubernetes.io/hostname on its pods (one node),\n"
                 "or fewer pods with more GPUs each"),
    )  # fmt: skip


@rule("D52", "stranded", Severity.WARNING, depths.PLACEMENT, "node", do="bound cores and memory per GPU",
      needs=("free.gpus", "free.cores", "free.memory"), limits=(CORES_LEFT, MEMORY_LEFT))  # fmt: skip
def stranded(of: Signals) -> Found | None:
    """GPUs are free on a node that has no CPU or memory left for them.

    Pods there asked for more than goes with their GPUs. Nobody is refused by name, so it looks like spare capacity.
    """
    if of["free.gpus"] < 1 or (of["free.cores"] >= CORES_LEFT and of["free.memory"] >= MEMORY_LEFT):
        return None
    return Found(
        f"{of['free.gpus']:.0f} GPUs of {of.subject.name} are free beside {of['free.cores']:.1f} cores and "
        f"{of['free.memory'] / 1024:,.1f} GiB",
        f"kubectl describe node {name_of(of.subject.name)}   # who asked for them\n"
        "CPU and memory in the team's quota bound what goes with a GPU; pods without GPUs belong on other nodes",
        wasted=of.money.unused if of.money else None,
        confidence="medium",
    )


@rule("D53", "slices-unwanted", Severity.WARNING, depths.PLACEMENT, "node", do="cut the GPUs anew",
      needs=("free.unwanted", "wanted.pods"), limits=(), applies=lambda facts: facts.cut)  # fmt: skip
def slices_unwanted(of: Signals) -> Found | None:
    """MIG instances are free, and pods wait for others.

    A layout was cut for work that has changed since.
    """
    if of["free.unwanted"] < 1 or of["wanted.pods"] < 1:
        return None
    return Found(
        f"{of['free.unwanted']:.0f} MIG instances of {of.subject.name} are free, and {of['wanted.pods']:.0f} pods wait "
        "for other profiles",
        f"kubectl get node {name_of(of.subject.name)} -L nvidia.com/mig.config   # what it is cut into\n"
        "partition.mig.layout of its pool in platform.yaml, then: plimsoll plan -f platform.yaml",
        wasted=of.money.unused if of.money else None,
        confidence="medium",
    )


@rule("D54", "queue-holds-back", Severity.WARNING, depths.LIFE, "queue", do="ask why each one waits",
      needs=("queue.waiting", "queue.minutes", "queue.free", "queue.wanted"), limits=(WAITS,))  # fmt: skip
def queue_holds_back(of: Signals) -> Found | None:
    """Work waits beside quota that is free.

    A flavor that does not match, borrowing that is not allowed, or a head of the queue that needs more than is free.
    """
    if of["queue.waiting"] < 1 or of["queue.free"] < 1 or of["queue.minutes"] < WAITS:
        return None
    devices = min(of["queue.free"], of["queue.wanted"])
    waited = of["queue.minutes"] / 60
    return Found(
        f"{of['queue.waiting']:.0f} workloads wait in {of.subject.name} for {of['queue.wanted']:.0f} devices while "
        f"{of['queue.free']:.0f} of its quota are free",
        "plimsoll check --pillar queueing   # why each of them waits\n"
        f"kubectl describe clusterqueue {name_of(of.subject.name)}",
        wasted=of.money.of_time(devices * waited * HOUR) if of.money else None,
        confidence="medium",
    )


@rule(
    "D55",
    "inadmissible",
    Severity.INFO,
    depths.LIFE,
    "queue",
    do="ask what each one lacks",
    needs=("queue.inadmissible",),
    limits=(),
)
def inadmissible(of: Signals) -> Found | None:
    """Workloads wait that the queue will not look at until something changes.

    They ask for what the queue does not have: quota, a flavor, a node.
    """
    if of["queue.inadmissible"] < 1:
        return None
    return Found(
        f"{of['queue.inadmissible']:.0f} workloads of {of.subject.name} cannot be admitted as things are",
        f"kubectl get workloads -A   # whose RESERVED IN is empty waits\n"
        f"plimsoll check --pillar queueing\nkubectl describe clusterqueue {name_of(of.subject.name)}",
    )
