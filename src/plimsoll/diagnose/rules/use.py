"""Devices that are held and do nothing, and teams that use theirs little: D01 to D03."""

from __future__ import annotations

from plimsoll.check.model import Severity
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import HOUR, Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import inside, name_of, shrink
from plimsoll.diagnose.signals import shown

UNUSED = Limit(60, "J", "minutes without any use, before somebody is told")
UNUSED_ACT = Limit(120, "J", "minutes without any use, before somebody acts")
QUIET = Limit(60, "R", "minutes below 1 % busy, before a device counts as forgotten")
QUIET_ACT = Limit(24, "J", "GPU-hours of idleness, before an administrator is told")
LITTLE = Limit(0.25, "J", "use of a team below which it is looked at")
TARGET = Limit(0.50, "J", "use that a team should reach")
ENOUGH_HOURS = Limit(50, "J", "GPU-hours below which a team is not judged")
ENOUGH_SHARE = Limit(0.02, "J", "share of the cluster's GPU time below which a team is not judged")


def _some(count: float, of: float | None) -> str:
    every = of is not None and count >= of
    if every:
        return "its GPU" if count == 1 else f"all {count:.0f} GPUs"
    return f"{count:.0f} of {of:.0f} GPUs" if of is not None else f"{count:.0f} GPUs"


@rule("D01", "never-used", Severity.WARNING, depths.ABSENT, "workload", do="stop it, or ask for fewer GPUs",
      needs=("unused.gpus", "unused.minutes", "unused.gpu_hours", "held.gpus"), may=("unused.memory", "unused.watts"),
      limits=(UNUSED, UNUSED_ACT), explains="*")  # fmt: skip
def never_used(of: Signals) -> Found | None:
    """GPUs are held that nothing ever ran on.

    The program does not find them, or needs fewer than it asks for: an image without CUDA falls back to the CPU
    without an error, and a script written for one GPU leaves the other seven alone.
    """
    if of["unused.gpus"] < 1 or of["unused.minutes"] < UNUSED:
        return None
    part = of["unused.gpus"] < of["held.gpus"]
    fix = [inside(of, "nvidia-smi")]
    fix += (
        ["ask for as many GPUs as the program uses, or start one process for each (torchrun --nproc-per-node)"]
        if (part)
        else ["python -c 'import torch; print(torch.cuda.is_available())' in it must print True", shrink(of)]
    )
    return Found(
        f"Nothing has run on {_some(of['unused.gpus'], of['held.gpus'])} of {of.subject.name} for "
        f"{shown('unused.minutes', of['unused.minutes'])}",
        "\n".join(fix),
        wasted=of.money.of_time(of["unused.gpu_hours"] * HOUR) if of.money else None,
        severity=Severity.ERROR if of["unused.minutes"] >= UNUSED_ACT else None,
    )


@rule("D02", "idle", Severity.WARNING, depths.ABSENT, "workload", do="stop it, or let it sleep",
      needs=("quiet.gpus", "quiet.minutes", "quiet.gpu_hours", "held.gpus"), may=("quiet.memory", "quiet.watts"),
      limits=(QUIET, QUIET_ACT), explains="*")  # fmt: skip
def idle(of: Signals) -> Found | None:
    """GPUs were used once and have done nothing since.

    Notebooks left open, jobs that wait for each other, services that nobody asks. Memory is still taken, so the
    GPU looks used to whoever looks only at that.
    """
    if of["quiet.gpus"] < 1 or of["quiet.minutes"] < QUIET:
        return None
    if of.facts.interactive:
        what, fix = "The notebook", f"{shrink(of)}\na culler that stops idle notebooks, or shared GPUs (timeSlicing)"
    elif of.facts.serves:
        what, fix = "The service", f"{shrink(of)}\nreplicas.min: 0 in platform.yaml lets it sleep while nobody asks"
    else:
        what, fix = "The workload", f"{inside(of, 'nvidia-smi')}\n{shrink(of)}"
    return Found(
        f"{what} {of.subject.name} has done nothing on {_some(of['quiet.gpus'], of['held.gpus'])} for "
        f"{shown('quiet.minutes', of['quiet.minutes'])}",
        fix,
        wasted=of.money.of_time(of["quiet.gpu_hours"] * HOUR) if of.money else None,
        severity=Severity.ERROR if of["quiet.gpu_hours"] > QUIET_ACT else None,
    )


@rule("D03", "low-efficiency", Severity.WARNING, depths.SUM, "team", do="look at its workloads",
      needs=("busy.mean", "held.gpu_hours", "held.share"), may=("sm.mean",),
      limits=(LITTLE, TARGET, ENOUGH_HOURS, ENOUGH_SHARE))  # fmt: skip
def low_efficiency(of: Signals) -> Found | None:
    """A team uses little of the GPU time it holds.

    Only teams that hold much are judged: a small one on a bad day is no pattern. What stands behind it is among
    the findings of the team's workloads.
    """
    if of["held.gpu_hours"] < ENOUGH_HOURS or of["held.share"] < ENOUGH_SHARE or of["busy.mean"] >= LITTLE:
        return None
    return Found(
        f"Team {of.subject.name} used {of['busy.mean']:.0%} of {of['held.gpu_hours']:,.0f} GPU-hours",
        f"plimsoll diagnose team/{name_of(of.subject.name)}\nplimsoll cost --by workload",
        wasted=round(of.money.cost * (1 - of["busy.mean"] / TARGET)) if of.money else None,
        confidence="medium",
    )
