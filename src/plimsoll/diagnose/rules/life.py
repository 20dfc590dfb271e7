"""Time before, between and after the work: limits, starts, restarts, evictions: D61 to D64."""

from __future__ import annotations

from plimsoll.check.model import Severity
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import HOUR, Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import edit, name_of, place
from plimsoll.diagnose.signals import shown

USED_OF_LIMIT = Limit(0.2, "J", "of their time limits, below which jobs ask for far too long")
UNUSED_HOURS = Limit(1000, "J", "GPU-hours of limits that were not used, from which that matters")
SLOW_START = Limit(5, "R", "minutes from schedule to running, above which a start is slow")
RESTARTS = Limit(3, "R", "restarts in the window, from which a workload churns")
CHURN_HOURS = Limit(0.5, "R", "GPU-hours of starting again, from which that matters")


@rule("D61", "limit-too-long", Severity.INFO, depths.SUM, "team", do="shorter time limits",
      needs=("limit.used", "limit.unused_gpu_hours"), limits=(USED_OF_LIMIT, UNUSED_HOURS))  # fmt: skip
def limit_too_long(of: Signals) -> Found | None:
    """Jobs ask for far more time than they take.

    A queue that plans around limits cannot fill the gaps before a large job, and a job that hangs holds its GPUs until
    the limit.
    """
    if of["limit.used"] >= USED_OF_LIMIT or of["limit.unused_gpu_hours"] < UNUSED_HOURS:
        return None
    return Found(
        f"Jobs of {of.subject.name} used {of['limit.used']:.0%} of their time limits; "
        f"{of['limit.unused_gpu_hours']:,.0f} GPU-hours were not",
        "spec.activeDeadlineSeconds of its jobs, or the label kueue.x-k8s.io/max-exec-time-seconds: twice what they "
        "take",
    )


@rule("D62", "slow-start", Severity.WARNING, depths.LIFE, "workload", do="pull images before",
      needs=("start.minutes", "start.pods"), limits=(SLOW_START,))  # fmt: skip
def slow_start(of: Signals) -> Found | None:
    """GPUs wait for images and weights.

    From its schedule on a pod holds its GPUs, while an image is pulled, a volume is mounted, a model is fetched.
    """
    if of["start.pods"] < 1 or of["start.minutes"] <= SLOW_START:
        return None
    namespace, name = place(of)
    return Found(
        f"Pods of {of.subject.name} hold their GPUs for {shown('start.minutes', of['start.minutes'])} before they run",
        f"kubectl -n {namespace} get events --field-selector involvedObject.name={name_of(of.facts.pod) or name}"
        "   # Pulling, Mounting\nan image that is pulled before (a DaemonSet), a registry near by; "
        "weights in a cache on the node",
        wasted=of.money.starting if of.money else None,
    )


@rule("D63", "churn", Severity.WARNING, depths.LIFE, "workload", do="read why it restarts",
      needs=("restarts", "ready.minutes", "held.gpus", "held.pods"), limits=(RESTARTS, CHURN_HOURS))  # fmt: skip
def churn(of: Signals) -> Found | None:
    """Containers start again and again, and hold their GPUs while they do.

    Each time weights are loaded and caches built anew.
    """
    lost = of["restarts"] * of["ready.minutes"] / 60 * of["held.gpus"] / max(of["held.pods"], 1)
    if of["restarts"] < RESTARTS or lost < CHURN_HOURS:
        return None
    namespace, name = place(of)
    return Found(
        f"Containers of {of.subject.name} restarted {of['restarts']:.0f} times and took "
        f"{shown('ready.minutes', of['ready.minutes'])} each time",
        f"kubectl -n {namespace} logs {name_of(of.facts.pod) or name} --previous",
        wasted=of.money.of_time(lost * HOUR) if of.money else None,
        confidence="medium",
    )


@rule("D64", "lost-work", Severity.WARNING, depths.LIFE, "workload", do="more checkpoints",
      needs=("evictions", "evictions.gpu_hours"), may=("checkpoint.minutes",), limits=(RESTARTS, CHURN_HOURS),
      applies=lambda facts: not facts.serves)  # fmt: skip
def lost_work(of: Signals) -> Found | None:
    """Pods were pushed out, and what they did since their last checkpoint was done again.

    Of each pod at most the time between two checkpoints counts as lost, where that is declared; else all it ran.
    """
    if of["evictions"] < RESTARTS or of["evictions.gpu_hours"] < CHURN_HOURS:
        return None
    interval = of.get("checkpoint.minutes")
    every = f"every {shown('checkpoint.minutes', interval)}" if interval else "as often as losing an hour would hurt"
    saved = "since their last checkpoints" if interval else "if they save nothing"
    return Found(
        f"{of['evictions']:.0f} pods of {of.subject.name} were pushed out and lost up to "
        f"{of['evictions.gpu_hours']:,.1f} GPU-hours {saved}",
        edit(of, f"write a checkpoint {every} and at SIGTERM, outside the node; resume from the newest"),
        wasted=of.money.of_time(of["evictions.gpu_hours"] * HOUR) if of.money else None,
        confidence="medium" if interval else "low",
    )
