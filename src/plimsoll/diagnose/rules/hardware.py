"""GPUs that are slow by themselves: D41, D42."""

from __future__ import annotations

from plimsoll.check.model import Severity
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import name_of

SLOW = Limit(0.85, "R", "of the median SM clock of a job's GPUs under load, below which one is a straggler")
HOT = Limit(0.05, "R", "of the time slowed down by heat or power")
HARD = Limit(0.20, "R", "of the time slowed down by power, from which somebody should look")


def _node(of: Signals) -> str:
    return name_of(of.subject.name.partition("/")[0])


@rule("D41", "straggler", Severity.WARNING, depths.HARDWARE, "gpu", do="cordon the node",
      needs=("clock.ratio", "job.gpus"), may=("throttle.thermal", "throttle.power"), limits=(SLOW,),
      explains="D35 D36",
      applies=lambda facts: facts.batch)  # fmt: skip
def straggler(of: Signals) -> Found | None:
    """One GPU is slower than the others of its job.

    In a synchronous job the slowest sets the pace of all, so all of them are paid for what one does not do.
    """
    if of["clock.ratio"] >= SLOW or of["job.gpus"] < 3:
        return None
    heat, power = of.get("throttle.thermal") or 0, of.get("throttle.power") or 0
    why = " because of heat" if heat > HOT else " at its power limit" if power > HOT else ""
    lost = of.money.cost * of["job.gpus"] * (1 - of["clock.ratio"]) if of.money else None
    return Found(
        f"{of.subject.name} runs at {of['clock.ratio']:.0%} of the clock of the {of['job.gpus']:.0f} GPUs it works "
        f"with{why}",
        f"kubectl cordon {_node(of)}   # and let the job move\n"
        f"kubectl describe node {_node(of)}\nnvidia-smi -q -d PERFORMANCE,CLOCK,TEMPERATURE on it says why",
        wasted=None if lost is None else round(lost),
        confidence="high" if why else "medium",
    )


@rule("D42", "throttled", Severity.INFO, depths.HEAT, "gpu", do="cool it, or check its limit",
      needs=("throttle.thermal|throttle.power",), may=("clock.ratio", "watts.mean", "busy.mean"),
      limits=(HOT, HARD), explains="D41")  # fmt: skip
def throttled(of: Signals) -> Found | None:
    """Heat or a power limit slows a GPU down.

    Dense training reaches the power limit of a card by nature, and little is lost. Heat means that air or water is
    missing, and it gets worse.
    """
    heat, power = of.get("throttle.thermal") or 0, of.get("throttle.power") or 0
    if heat <= HOT and power <= HOT:
        return None
    if heat > HOT:
        title = f"Heat slows {of.subject.name} down for {heat:.0%} of the time"
        fix = f"kubectl cordon {_node(of)}   # if its clock is below the others'\nairflow, dust, inlet temperature"
    else:
        title = f"Its power limit slows {of.subject.name} down for {power:.0%} of the time"
        fix = "nvidia-smi -q -d POWER   # is the limit below the card's default?"
    slow = of.get("clock.ratio")
    return Found(
        title,
        fix,
        wasted=round(of.money.cost * max(1 - slow, 0)) if of.money and slow is not None else None,
        severity=Severity.WARNING if heat > HOT or power > HARD else None,
        confidence="high" if heat > HOT else "medium",
    )
