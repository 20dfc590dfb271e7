"""For each rule a subject of which it holds, and what takes it away: a name, changes, whether it still holds."""

from __future__ import annotations

from typing import Any, NamedTuple

from plimsoll.diagnose.model import HOUR, Facts, Money, Signals, Subject, Value

H100 = "H100-SXM5-80GB"
MONEY = Money(cost=240_000_000, gpu_ms=24 * HOUR, idle=100_000_000, starting=8_000_000, unused=50_000_000)


class Case(NamedTuple):
    """rule: its id. kind, name, facts, values: a subject of which it holds. not_: changes after each of which it does
    not; a change of a fact is named `facts.NAME`. still: changes after each of which it does. wasted: micro-units
    a day.
    """

    rule: str
    kind: Any
    facts: dict[str, Any]
    values: dict[str, float]
    not_: tuple[dict[str, Any], ...]
    still: tuple[dict[str, Any], ...] = ()
    wasted: int | None = None
    name: str = "vision/train"


def signals(
    case: Case, change: dict[str, Any] | None = None, *, without: tuple[str, ...] = (), cover: float = 1.0
) -> Signals:
    """The subject of a case after a change, with its values measured for `cover` of the time."""
    changes = change or {}
    facts = case.facts | {key[6:]: value for key, value in changes.items() if key.startswith("facts.")}
    values = case.values | {key: value for key, value in changes.items() if not key.startswith("facts.")}
    return Signals(
        subject=Subject(case.kind, case.name),
        facts=Facts(**({"team": "vision"} | facts)),
        values={key: Value(value, "ledger", 500, cover) for key, value in values.items() if key not in without},
        money=MONEY,
    )


_WHOLE = {"sku": H100, "memory_mib": 81559, "owner": "Job", "pod": "train-0", "batch": True, "nodes": ("a", "b")}
_SLICE = {"sku": H100, "profile": "3g.40gb", "cut": True, "memory_mib": 40779, "owner": "Deployment", "pod": "train-0"}
_SERVER = {"sku": H100, "memory_mib": 81559, "owner": "Deployment", "serves": True, "pod": "chat-0"}
_HELD = {"held.minutes": 600.0, "held.gpu_hours": 24.0}

CASES = (
    Case("D01", "workload", _WHOLE, _HELD | {"held.gpus": 8, "unused.gpus": 7, "unused.minutes": 90,
                                             "unused.gpu_hours": 10.5},
         not_=({"unused.gpus": 0}, {"unused.minutes": 59}, {"held.minutes": 29}),
         still=({"unused.minutes": 60}, {"unused.gpus": 8}), wasted=105_000_000),
    Case("D02", "workload", {"owner": "Notebook", "interactive": True, "pod": "nb-0"},
         _HELD | {"held.gpus": 1, "quiet.gpus": 1, "quiet.minutes": 240, "quiet.gpu_hours": 4},
         not_=({"quiet.gpus": 0}, {"quiet.minutes": 59}, {"held.minutes": 10}),
         still=({"facts.interactive": False}, {"facts.serves": True, "facts.interactive": False}), wasted=40_000_000),
    Case("D03", "team", {}, {"busy.mean": 0.20, "held.gpu_hours": 60, "held.share": 0.10},
         not_=({"busy.mean": 0.25}, {"held.gpu_hours": 49}, {"held.share": 0.019}),
         still=({"held.gpu_hours": 50, "held.share": 0.02},), wasted=144_000_000, name="vision"),
    Case("D11", "workload", _WHOLE, _HELD | {"memory.p99": 14_000, "sm.mean": 0.2, "dram.mean": 0.1, "busy.mean": 0.5},
         not_=({"memory.p99": 37_000}, {"sm.mean": 0.35}, {"dram.mean": 0.8, "tensor.mean": 0.02}, {"facts.cut": True},
               {"facts.shared": True}, {"facts.memory_mib": 0}),
         still=({"facts.sku": "L4", "facts.memory_mib": 81559},), wasted=171_428_571),
    Case("D12", "workload", _WHOLE, _HELD | {"held.gpu_hours": 30, "busy.mean": 0.1, "memory.peak": 8_000,
                                             "cpu.cores": 1.5, "host.memory": 20_000},
         not_=({"busy.mean": 0.16}, {"memory.peak": 10_300}, {"cpu.cores": 2.1}, {"host.memory": 33_000},
               {"held.gpu_hours": 24}, {"facts.memory_mib": 16_384}),
         still=({"busy.mean": 0.15, "cpu.cores": 2},), wasted=205_714_286),
    Case("D13", "workload", _SLICE, _HELD | {"memory.p99": 39_000, "busy.mean": 0.95},
         not_=({"memory.p99": 37_000}, {"busy.mean": 0.9}, {"facts.serves": True}, {"facts.cut": False}),
         still=({"busy.mean": 0.5, "oom.kills": 1}, {"facts.serves": True, "xid.memory": 1})),
    Case("D14", "workload", _SLICE, _HELD | {"memory.p99": 8_000, "busy.mean": 0.5},
         not_=({"memory.p99": 10_300}, {"busy.mean": 0.7}, {"facts.profile": "1g.10gb"}, {"facts.cut": False},
               {"dram.mean": 0.8}),
         still=({"busy.mean": 0.66},), wasted=102_857_143),
    Case("D21", "workload", _SERVER, _HELD | {"serve.running": 3, "serve.max_seqs": 256, "serve.waiting": 0.0,
                                              "serve.kv": 0.1, "tensor.mean": 0.05, "dram.mean": 0.2, "busy.mean": 0.7,
                                              "serve.replicas": 4},
         not_=({"serve.running": 64}, {"serve.waiting": 0.06}, {"serve.kv": 0.3}, {"tensor.mean": 0.1},
               {"dram.mean": 0.75}, {"busy.mean": 0.5}, {"facts.serves": False}),
         still=({"serve.replicas": 1},), wasted=180_000_000, name="vision/chat"),
    Case("D22", "workload", _SERVER, _HELD | {"serve.waiting": 0.01, "serve.kv": 0.2, "serve.running_p95": 40,
                                              "serve.replicas": 4, "serve.max_seqs": 256},
         not_=({"serve.waiting": 0.06}, {"serve.kv": 0.5}, {"serve.running_p95": 540}, {"serve.replicas": 1},
               {"serve.kv": 0.45}, {"facts.serves": False}),
         still=({"serve.kv": 0.37},), wasted=120_000_000, name="vision/chat"),
    Case("D23", "workload", _SERVER, _HELD | {"serve.kv_p90": 0.97, "serve.preemptions": 12, "serve.waiting": 0.4},
         not_=({"serve.kv_p90": 0.9}, {"serve.preemptions": 0}, {"serve.waiting": 0}, {"facts.serves": False}),
         name="vision/chat"),
    Case("D31", "workload", _WHOLE, _HELD | {"cores.asked": 2, "cores.node": 12, "cpu.of_limit": 0.95,
                                             "busy.mean": 0.4},
         not_=({"cores.asked": 3}, {"cpu.of_limit": 0.8}, {"busy.mean": 0.8}),
         still=({"cpu.of_limit": 0.1, "cpu.throttled": 0.2},), wasted=144_000_000),
    Case("D32", "workload", _WHOLE, {"cores.asked": 19, "cores.node": 12},
         not_=({"cores.asked": 18},), still=({"cpu.cores": 3},)),
    Case("D33", "workload", _WHOLE, _HELD | {"busy.cv": 0.8, "busy.mean": 0.4, "cpu.of_limit": 0.9, "pcie.lull": 0.1},
         not_=({"busy.cv": 0.5}, {"busy.mean": 0.8}, {"cpu.of_limit": 0.85}, {"facts.serves": True}),
         still=({"cpu.of_limit": 0.2, "io.stalled": 0.3}, {"cpu.of_limit": 0.2, "cpu.throttled": 0.2}),
         wasted=144_000_000),
    Case("D34", "workload", _WHOLE, _HELD | {"busy.mean": 0.4, "cpu.cores": 1.0, "cpu.throttled": 0.0,
                                             "dram.mean": 0.1},
         not_=({"busy.mean": 0.09}, {"busy.mean": 0.61}, {"cpu.cores": 0.8}, {"cpu.cores": 1.3},
               {"cpu.throttled": 0.02}, {"dram.mean": 0.3}), wasted=144_000_000),
    Case("D35", "workload", _WHOLE, _HELD | {"tensor.mean": 0.05, "nvlink.rate": 100e9, "job.nodes": 2},
         not_=({"tensor.mean": 0.15}, {"nvlink.rate": 90e9}, {"job.nodes": 1}, {"facts.serves": True},
               {"facts.nodes": ("a",)}),
         still=({"nvlink.rate": 0, "network.rate": 3e9},), wasted=160_000_000),
    Case("D36", "workload", _WHOLE, _HELD | {"ranks.spread": 2.0, "ranks.lowest": 0.4, "job.nodes": 2},
         not_=({"ranks.spread": 1.5}, {"facts.batch": False}, {"facts.serves": True}), wasted=48_000_000),
    Case("D41", "gpu", {"batch": True}, {"clock.ratio": 0.7, "job.gpus": 8},
         not_=({"clock.ratio": 0.85}, {"job.gpus": 2}, {"facts.batch": False}),
         still=({"throttle.thermal": 0.2}, {"throttle.power": 0.2}),
         wasted=576_000_000, name="h100-1/GPU-1"),
    Case("D42", "gpu", {}, {"throttle.thermal": 0.1, "throttle.power": 0.0, "clock.ratio": 0.9},
         not_=({"throttle.thermal": 0.05},), still=({"throttle.thermal": 0, "throttle.power": 0.06},),
         wasted=24_000_000, name="h100-1/GPU-1"),
    Case("D51", "workload", _WHOLE, _HELD | {"job.gpus": 8, "job.nodes": 2, "node.gpus": 8, "job.minutes": 62},
         not_=({"job.nodes": 1}, {"job.minutes": 61}, {"job.gpus": 16}, {"facts.batch": False}, {"facts.cut": True},
               {"facts.shared": True})),
    Case("D52", "node", {}, {"free.gpus": 3, "free.cores": 1.5, "free.memory": 100_000},
         not_=({"free.gpus": 0}, {"free.cores": 2}), still=({"free.cores": 8, "free.memory": 7_000},),
         wasted=50_000_000, name="h100-1"),
    Case("D53", "node", {"cut": True}, {"free.unwanted": 2, "wanted.pods": 1},
         not_=({"free.unwanted": 0}, {"wanted.pods": 0}, {"facts.cut": False}), wasted=50_000_000, name="h100-1"),
    Case("D54", "queue", {}, {"queue.waiting": 2, "queue.minutes": 30, "queue.free": 8, "queue.wanted": 4},
         not_=({"queue.waiting": 0}, {"queue.free": 0}, {"queue.minutes": 9}), wasted=20_000_000, name="research"),
    Case("D55", "queue", {}, {"queue.inadmissible": 3}, not_=({"queue.inadmissible": 0},), name="research"),
    Case("D61", "team", {}, {"limit.used": 0.1, "limit.unused_gpu_hours": 1500},
         not_=({"limit.used": 0.2}, {"limit.unused_gpu_hours": 999}), name="vision"),
    Case("D62", "workload", _WHOLE, {"held.minutes": 20, "held.gpu_hours": 1, "start.minutes": 9, "start.pods": 4},
         not_=({"start.minutes": 5}, {"start.pods": 0}), wasted=8_000_000),
    Case("D63", "workload", _WHOLE, _HELD | {"restarts": 6, "ready.minutes": 10, "held.gpus": 8,
                                             "held.pods": 2},
         not_=({"restarts": 2}, {"ready.minutes": 1}), still=({"held.gpus": 2},), wasted=40_000_000),
    Case("D64", "workload", _WHOLE, _HELD | {"evictions": 3, "evictions.gpu_hours": 2},
         not_=({"evictions": 2}, {"evictions.gpu_hours": 0.4}, {"facts.serves": True}),
         still=({"checkpoint.minutes": 30},), wasted=20_000_000),
)  # fmt: skip
