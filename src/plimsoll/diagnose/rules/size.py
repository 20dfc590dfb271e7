"""Devices too large or too small for what runs on them: D11 to D14."""

from __future__ import annotations

from plimsoll.check.model import Severity
from plimsoll.cost.sample import WHOLE, parts
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import Facts, Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import edit
from plimsoll.diagnose.signals import shown
from plimsoll.gpus import catalogue, mig
from plimsoll.gpus.model import Profile, Sku

SPARE = Limit(0.45, "R", "of a GPU's memory in use (p99), below which it is too large")
FEW_SMS = Limit(0.35, "R", "of the SMs with work, below which the GPU is too large")
DECODE = Limit(0.70, "R", "DRAM activity from which little SM or tensor activity is normal: bandwidth bounds it")
HEADROOM = Limit(1.2, "R", "times the memory in use that a smaller device must have")
SMALL_USE = Limit(0.15, "J", "use at or below which a job is small")
SMALL_MEMORY = Limit(10 * 1024, "J", "MiB of GPU memory at or below which it is")
SMALL_CORES = Limit(2, "J", "CPU cores at or below which it is")
SMALL_HOST = Limit(32 * 1024, "J", "MiB of host memory at or below which it is")
SMALL_HOURS = Limit(24, "J", "GPU-hours from which that is worth a word")
FULL = Limit(0.92, "R", "of an instance's memory in use (p99), above which it is full")
LOADED = Limit(0.90, "R", "use above which an instance is loaded")
HALF = Limit(0.50, "R", "of the next smaller profile's memory in use (p99), below which that one is enough")


def _whole(facts: Facts) -> bool:
    return not facts.cut and not facts.shared


def _slice(facts: Facts) -> bool:
    return facts.cut and not facts.shared


def _memory(sku: Sku, profile: Profile) -> float:
    """MiB of an instance, by its slices."""
    return sku.memory_mib * profile.memory_slices / sku.mig.memory if sku.mig else 0


def smallest(sku: Sku, memory: float, busy: float) -> Profile | None:
    """The cheapest profile with room for so much memory (MiB) and work (share of the whole GPU's SMs); None: none."""
    if sku.mig is None:
        return None
    fitting = [
        each
        for each in sku.mig.plain()
        if _memory(sku, each) >= memory and busy * sku.mig.compute <= each.compute_slices < sku.mig.compute
    ]
    return min(fitting, key=lambda each: (parts(sku.name, each.name) or WHOLE, each.compute_slices), default=None)


def _smaller(of: Signals, memory: float, work: float) -> tuple[str, int | None]:
    """What to ask for instead of a whole GPU, and what would not have been spent."""
    sku = catalogue.find(of.facts.sku)
    found = smallest(sku, memory * HEADROOM, work) if sku else None
    if sku is None or found is None:
        return "a pool of smaller GPUs (L4, A10) in nodeSelector, or a GPU shared in time (timeSlicing)", None
    share = (parts(sku.name, found.name) or WHOLE) / WHOLE
    wasted = round(of.money.cost * (1 - share)) if of.money else None
    return f"resources.limits: {mig.resource_name(found)}: 1 instead of nvidia.com/gpu: 1", wasted


@rule("D11", "gpu-too-big", Severity.INFO, depths.SIZE, "workload", do="a MIG instance or a smaller GPU",
      needs=("memory.p99", "sm.mean", "dram.mean", "busy.mean", "held.minutes"), may=("tensor.mean",),
      limits=(SPARE, FEW_SMS, DECODE, HEADROOM), applies=_whole)  # fmt: skip
def gpu_too_big(of: Signals) -> Found | None:
    """A whole GPU is held by work that would fit into a part of it.

    Neither its memory nor its processors are half used. A MIG instance costs its part and is as isolated; work that
    only waits for memory (decoding) is left alone, whatever its tensor cores do.
    """
    if not of.facts.memory_mib or of["memory.p99"] >= SPARE * of.facts.memory_mib:
        return None
    if of["sm.mean"] >= FEW_SMS or of["dram.mean"] > DECODE:
        return None
    instead, wasted = _smaller(of, of["memory.p99"], of["sm.mean"])
    return Found(
        f"{of.subject.name} needs {shown('memory.p99', of['memory.p99'])} of {of.facts.memory_mib / 1024:,.0f} GiB "
        f"and {of['sm.mean']:.0%} of the SMs of its GPU",
        edit(of, instead),
        wasted=wasted,
        confidence="medium",
    )


@rule("D12", "small-job", Severity.INFO, depths.SIZE, "workload", do="a MIG instance or a smaller GPU",
      needs=("busy.mean", "memory.peak", "cpu.cores", "host.memory", "held.gpu_hours"), may=("dram.mean",),
      limits=(SMALL_USE, SMALL_MEMORY, SMALL_CORES, SMALL_HOST, SMALL_HOURS, DECODE), applies=_whole)  # fmt: skip
def small_job(of: Signals) -> Found | None:
    """A small job holds a large GPU for long.

    Little use, little memory, one or two cores: it would run as fast on an instance or a smaller model.
    """
    small = (
        of["busy.mean"] <= SMALL_USE
        and of["memory.peak"] <= SMALL_MEMORY
        and of["cpu.cores"] <= SMALL_CORES
        and of["host.memory"] <= SMALL_HOST
    )
    large = of.facts.memory_mib > 2 * SMALL_MEMORY
    if not small or not large or of["held.gpu_hours"] <= SMALL_HOURS:
        return None
    instead, wasted = _smaller(of, of["memory.peak"], of["busy.mean"])
    return Found(
        f"{of.subject.name} used {of['busy.mean']:.0%} of its GPU and at most "
        f"{shown('memory.peak', of['memory.peak'])} of {of.facts.memory_mib / 1024:,.0f} GiB in "
        f"{of['held.gpu_hours']:,.0f} GPU-hours",
        edit(of, instead),
        wasted=wasted,
        confidence="medium",
    )


@rule("D13", "instance-too-small", Severity.WARNING, depths.SIZE, "workload", do="the next larger profile",
      needs=("memory.p99", "busy.mean", "held.minutes"), may=("oom.kills", "xid.memory"),
      limits=(FULL, LOADED), applies=_slice)  # fmt: skip
def instance_too_small(of: Signals) -> Found | None:
    """A MIG instance is too small for what runs on it.

    Its memory is full, and it is loaded or allocations fail. Servers that take all memory at their start are not
    meant: for them a full memory says nothing.
    """
    if not of.facts.memory_mib or of["memory.p99"] <= FULL * of.facts.memory_mib:
        return None
    failed = (of.get("oom.kills") or 0) > 0 or (of.get("xid.memory") or 0) > 0
    if not failed and (of.facts.serves or of["busy.mean"] <= LOADED):
        return None
    sku = catalogue.find(of.facts.sku)
    found = mig.profile(sku, of.facts.profile) if sku else None
    larger = smallest(sku, _memory(sku, found) + 1, 0) if sku and found else None
    what = f"resources.limits: {mig.resource_name(larger)}: 1" if larger else "the next larger profile, or a whole GPU"
    return Found(
        f"{of.subject.name} fills its {of.facts.profile or 'instance'} "
        f"({shown('memory.p99', of['memory.p99'])} of {of.facts.memory_mib / 1024:,.0f} GiB), "
        f"busy {of['busy.mean']:.0%}",
        edit(of, what),
        confidence="medium",
    )


@rule("D14", "instance-too-big", Severity.INFO, depths.SIZE, "workload", do="the next smaller profile",
      needs=("memory.p99", "busy.mean", "held.minutes"), may=("dram.mean",),
      limits=(HALF, DECODE), applies=_slice)  # fmt: skip
def instance_too_big(of: Signals) -> Found | None:
    """A MIG instance is larger than what runs on it needs.

    The next smaller profile has twice the memory it uses and compute enough.
    """
    sku = catalogue.find(of.facts.sku)
    found = mig.profile(sku, of.facts.profile) if sku else None
    if sku is None or sku.mig is None or found is None:
        return None
    below = [
        each
        for each in sku.mig.plain()
        if each.memory_slices <= found.memory_slices and each.compute_slices < found.compute_slices
    ]
    next_ = max(below, key=lambda each: (each.compute_slices, each.memory_slices), default=None)
    if next_ is None or of["memory.p99"] >= HALF * _memory(sku, next_):
        return None
    if of["busy.mean"] * found.compute_slices > next_.compute_slices or (of.get("dram.mean") or 0) > DECODE:
        return None
    now, then = parts(sku.name, found.name) or WHOLE, parts(sku.name, next_.name) or WHOLE
    return Found(
        f"{of.subject.name} uses {shown('memory.p99', of['memory.p99'])} of its {found.name}, and {next_.name} would "
        f"be enough",
        edit(of, f"resources.limits: {mig.resource_name(next_)}: 1 instead of {mig.resource_name(found)}"),
        wasted=round(of.money.cost * (1 - then / now)) if of.money and then < now else None,
        confidence="medium",
    )
