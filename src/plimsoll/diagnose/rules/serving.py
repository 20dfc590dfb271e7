"""Model servers: batches, replicas, their cache: D21 to D23."""

from __future__ import annotations

from math import ceil

from plimsoll.check.model import Severity
from plimsoll.diagnose import depths
from plimsoll.diagnose.model import Facts, Found, Limit, Signals, rule
from plimsoll.diagnose.remedies import edit, place

FEW = Limit(0.25, "R", "of --max-num-seqs that run on average, below which batches are poor")
NEVER_WAITS = Limit(0.05, "R", "of the time in which requests may wait where none are said to")
SMALL_CACHE = Limit(0.30, "R", "of the KV cache in use, below which batches could grow")
SMALL_TENSOR = Limit(0.10, "R", "tensor activity below which batches could grow")
SMALL_DRAM = Limit(0.30, "R", "DRAM activity below which the GPU is not bound by its bandwidth")
BUSY = Limit(0.50, "R", "use above which small batches keep a GPU from other work")
HALF_CACHE = Limit(0.50, "R", "of the KV cache in use, below which fewer replicas are enough")
REACHABLE = Limit(0.70, "R", "of --max-num-seqs that a replica is planned for")
FULL_CACHE = Limit(0.90, "R", "of the KV cache in use (p90), above which it is what is short")


def _serves(facts: Facts) -> bool:
    return facts.serves


def _fewer(of: Signals, running: float) -> int:
    """Replicas that are enough for so many requests at once, with half of their cache to spare."""
    by_requests = running / (REACHABLE * of["serve.max_seqs"])
    by_cache = of["serve.kv"] * of["serve.replicas"] / HALF_CACHE
    return max(1, ceil(max(by_requests, by_cache) - 1e-9))


@rule("D21", "poor-batching", Severity.INFO, depths.SERVING, "workload", do="fewer replicas, or share the GPU",
      needs=("serve.running", "serve.max_seqs", "serve.waiting", "serve.kv", "tensor.mean", "dram.mean", "busy.mean"),
      may=("serve.replicas", "sm.mean"),
      limits=(FEW, NEVER_WAITS, SMALL_CACHE, SMALL_TENSOR, SMALL_DRAM, BUSY), explains="D11 D14",
      applies=_serves)  # fmt: skip
def poor_batching(of: Signals) -> Found | None:
    """A model server works on a few requests at a time and could on many.

    It is busy, yet neither its tensor cores nor its memory are: every step computes for few requests what it could for
    many. Where memory is what it waits for (DRAM activity), that is decoding as it should be, and not this.
    """
    few = of["serve.running"] < FEW * of["serve.max_seqs"] and of["serve.waiting"] <= NEVER_WAITS
    light = of["serve.kv"] < SMALL_CACHE and of["tensor.mean"] < SMALL_TENSOR and of["dram.mean"] < SMALL_DRAM
    if not few or not light or of["busy.mean"] <= BUSY:
        return None
    replicas = of.get("serve.replicas") or 1
    fewer = _fewer(of, of["serve.running"] * replicas) if replicas > 1.5 else 1
    wasted = round(of.money.cost * (1 - fewer / replicas)) if of.money and fewer < replicas else None
    return Found(
        f"Each replica of {of.subject.name} works on {of['serve.running']:.1f} requests of {of['serve.max_seqs']:.0f} "
        "it could, and none wait",
        "fewer replicas: replicas.min and max of the service in platform.yaml\n"
        "or one GPU for several small models: a MIG profile, or one server with LoRA adapters",
        wasted=wasted,
        confidence="medium",
    )


@rule("D22", "too-many-replicas", Severity.WARNING, depths.REPLICAS, "workload", do="fewer replicas",
      needs=("serve.waiting", "serve.kv", "serve.running_p95", "serve.replicas", "serve.max_seqs"),
      limits=(NEVER_WAITS, HALF_CACHE, REACHABLE), explains="D21 D11 D14", applies=_serves)  # fmt: skip
def too_many_replicas(of: Signals) -> Found | None:
    """More replicas of a model run than its requests need.

    Requests hardly ever wait, half of the cache is free, and what runs would fit into one replica less.
    """
    replicas = of["serve.replicas"]
    if replicas < 1.5 or of["serve.waiting"] > NEVER_WAITS or of["serve.kv"] >= HALF_CACHE:
        return None
    fewer = _fewer(of, of["serve.running_p95"])
    if fewer > replicas - 1:
        return None
    namespace, name = place(of)
    return Found(
        f"{of.subject.name} has {replicas:.1f} replicas, and {fewer} would be enough",
        f"kubectl -n {namespace} get scaledobject,hpa   # what keeps them\n"
        f"replicas.min: {fewer} of {name} in platform.yaml, then: plimsoll plan -f platform.yaml",
        wasted=round(of.money.cost * (1 - fewer / replicas)) if of.money else None,
    )


@rule("D23", "cache-starved", Severity.WARNING, depths.SERVING, "workload", do="more memory for the cache",
      needs=("serve.kv_p90", "serve.preemptions", "serve.waiting"), may=("serve.running", "busy.mean"),
      limits=(FULL_CACHE,), applies=_serves)  # fmt: skip
def cache_starved(of: Signals) -> Found | None:
    """A model server has too little memory for its KV cache.

    Requests wait and running ones are put off and computed again: GPU time is spent twice, and adding requests makes
    it worse.
    """
    if of["serve.kv_p90"] <= FULL_CACHE or of["serve.preemptions"] <= 0 or of["serve.waiting"] <= 0:
        return None
    return Found(
        f"The KV cache of {of.subject.name} is {of['serve.kv_p90']:.0%} full, and "
        f"{of['serve.preemptions']:,.1f} requests an hour are computed again",
        edit(of, "args: --kv-cache-dtype=fp8 halves it; a smaller --max-model-len; or more GPUs for each replica "
                 "(--tensor-parallel-size)"),
    )  # fmt: skip
