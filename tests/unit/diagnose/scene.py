"""A day of a small cluster in which it is known why each GPU is idle: as a ledger, as metrics, as objects.

training/lonely     a job that holds eight GPUs and uses one                               D01
vision/notebook     a notebook that was used for two hours                                 D02
training/loader     a job in bursts, with its CPU at its limit                             D33
chat/decoder        a model server bound by its memory's bandwidth: as it should be        nothing
chat/spare          a model server with three replicas too many                            D22
training/slow       four GPUs, one of them hot and slow                                    D42, which hides D41
batch/puller        pods that wait twenty minutes for their image                          D62
vision/blind        nobody measured it                                                     unknown
vision/young        ten minutes old                                                        not judged
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import (
    HOUR,
    Ended,
    Gpu,
    Hold,
    Node,
    Pod,
    Record,
    Running,
    Usage,
    Watch,
    measured,
)
from plimsoll.cost.store import open_store

START = 1_764_547_200_000  # 2025-12-01
END = START + 24 * HOUR
WINDOW = "2025-12-01,2025-12-02"
STEP = 300_000
SKU, MODEL = "H100-SXM5-80GB", "NVIDIA H100 80GB HBM3"
NODES = {"h100-1": 8, "h100-2": 8, "h100-3": 8}
PLATFORM = """
apiVersion: plimsoll.dev/v1
kind: Platform
metadata: {name: scene}
cluster: {provider: eks, region: us-east-1}
pools:
  - name: gold
    gpu: H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {min: 3, max: 3}
    nodeSelector: {pool: gold}
    price: {perNodeHour: 48, asOf: 2025-11-01, source: invoice}
teams:
  - {name: training, namespaces: [training, batch], quota: {gold: 16}}
  - {name: vision, namespaces: [vision, chat], quota: {gold: 8}}
"""


class Load(NamedTuple):
    """What a GPU reads at a moment; None is not read."""

    busy: float = 0.0
    sm: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    watts: float = 90.0
    mib: float = 600.0
    clock: float = 1980.0  # MHz
    heat: float = 0.0  # share of the time


class Run(NamedTuple):
    """A pod on some GPUs of a node, from hour to hour. kind, owner: of its outermost owner, and who made it."""

    space: str
    name: str
    workload: str
    kind: str
    node: str
    gpus: tuple[int, ...]
    began: float = 0.0
    ended: float = 24.0
    model: str = ""
    seen: bool = True
    ran: float = 0.0  # hours after its schedule

    @property
    def job(self) -> str:
        return f"{self.space}/{self.workload}" if self.kind == "Job" else ""


def uuid(node: str, gpu: int) -> str:
    return f"GPU-{node}-{gpu}"


RUNS = (
    Run("training", "lonely-0", "lonely", "Job", "h100-1", tuple(range(8))),
    Run("vision", "notebook-0", "notebook", "StatefulSet", "h100-2", (0,)),
    Run("training", "loader-0", "loader", "Job", "h100-2", (1,)),
    *(Run("chat", f"decoder-{n}", "decoder", "Deployment", "h100-2", (2 + n,), model="m/large") for n in range(2)),
    *(Run("chat", f"spare-{n}", "spare", "Deployment", "h100-3", (n,), model="m/small") for n in range(4)),
    *(Run("training", f"slow-{n}", "slow", "Job", "h100-3", (4 + n,)) for n in range(4)),
    *(Run("batch", f"puller-{n}", f"puller-{n}", "Job", "h100-2", (4,), 3.0 * n, 3.0 * n + 2, ran=1 / 3)
      for n in range(4)),
    Run("vision", "blind-0", "blind", "StatefulSet", "h100-2", (5,), seen=False),
    Run("vision", "young-0", "young", "StatefulSet", "h100-2", (6,), 23.85),
)  # fmt: skip


def load(run: Run, place: int, at: int) -> Load:
    """What the GPU at a place of a pod's GPUs reads over the step that ends at a moment."""
    hour, turn = (at - START) / HOUR, (at - START) // STEP
    idle = Load()
    match run.workload:
        case "lonely":
            return Load(0.85, 0.8, 0.4, 0.5, 600, 60_000) if place == 0 else Load(mib=4)
        case "notebook":
            return Load(0.5, 0.4, 0.1, 0.2, 300, 20_000) if hour <= 2 else Load(mib=20_000)
        case "loader":
            return Load(0.95, 0.9, 0.4, 0.5, 600, 50_000) if turn % 3 == 0 else Load(0.05, 0.04, 0.0, 0.02, 150, 50_000)
        case "decoder":
            return Load(0.9, 0.3, 0.05, 0.85, 450, 70_000)
        case "spare":
            return Load(0.3, 0.25, 0.05, 0.4, 250, 70_000)
        case "slow":
            last = run.name == "slow-3"
            return Load(0.9, 0.85, 0.5, 0.5, 600, 60_000, 1300 if last else 1980, 0.4 if last else 0.0)
        case _ if run.workload.startswith("puller"):
            return Load(0.9, 0.85, 0.5, 0.5, 600, 60_000) if hour >= run.began + run.ran else Load(mib=4)
    return idle


def moments(run: Run) -> Iterator[int]:
    """The ends of the steps in which a pod was measured."""
    if run.seen:
        first = START + round(run.began * HOUR)
        yield from range(first + STEP, START + round(run.ended * HOUR) + 1, STEP)


def records() -> Iterator[Record]:
    """What a meter would have written."""
    for name, gpus in NODES.items():
        yield Node(uid=name, name=name, pool="gold", sku=SKU, gpus=gpus, began=START)
        yield from (Gpu(node=name, gpu=uuid(name, gpu), began=START) for gpu in range(gpus))
    for run in RUNS:
        began, uid = START + round(run.began * HOUR), f"uid-{run.name}"
        team = "training" if run.space in ("training", "batch") else "vision"
        yield Pod(uid=uid, namespace=run.space, name=run.name, node=run.node, team=team, job=run.job,
                  job_uid=run.job and f"uid-{run.job}", workload=f"{run.space}/{run.workload}", model=run.model,
                  began=began)  # fmt: skip
        yield Running(pod=uid, moment=began + round(run.ran * HOUR))
        yield from (Hold(pod=uid, node=run.node, gpu=uuid(run.node, gpu), began=began) for gpu in run.gpus)
        if run.ended < 24:
            yield Ended(kind="pod", subject=(uid,), moment=START + round(run.ended * HOUR), why="Completed")
        for place, gpu in enumerate(run.gpus):
            for at in moments(run):
                yield usage(run, place, uuid(run.node, gpu), uid, at)
    yield Watch(meter="m", began=START, ended=END)


def usage(run: Run, place: int, gpu: str, uid: str, at: int) -> Usage:
    read = load(run, place, at)
    return measured(gpu, "", uid, at - STEP, at, read.busy, read.sm, tensor=read.tensor, dram=read.dram,
                    watts=read.watts, memory_mib=read.mib)  # fmt: skip


def fill(ledger: Ledger) -> None:
    """That day into a ledger, merged."""
    ledger.write(records())
    ledger.seal(END)


def write(place: Path) -> None:
    """A ledger of that day."""
    store = open_store(place)
    fill(Ledger(store))
    store.close()


# As metrics. Names are those of dcgm-exporter before 4.9, or since.

OLD = {
    "busy": ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.0),
    "sm": ("DCGM_FI_PROF_SM_ACTIVE", 1.0),
    "tensor": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1.0),
    "dram": ("DCGM_FI_PROF_DRAM_ACTIVE", 1.0),
    "watts": ("DCGM_FI_DEV_POWER_USAGE", 1.0),
    "mib": ("DCGM_FI_DEV_FB_USED", 1.0),
    "clock": ("DCGM_FI_DEV_SM_CLOCK", 1.0),
}
NEW = {
    "busy": ("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", 1.0),
    "sm": ("DCGM_FI_PROF_SM_UTIL_RATIO", 1.0),
    "tensor": ("DCGM_FI_PROF_TENSOR_UTIL_RATIO", 1.0),
    "dram": ("DCGM_FI_PROF_DRAM_UTIL_RATIO", 1.0),
    "watts": ("DCGM_FI_DEV_BOARD_POWER_WATTS", 1.0),
    "mib": ("DCGM_FI_DEV_FB_USED_BYTES", float(1 << 20)),
    "clock": ("DCGM_FI_DEV_SM_CLOCK_HERTZ", 1e6),
}
Exposed = tuple[str, Mapping[str, str], float, float]


def exposed(names: Mapping[str, tuple[str, float]], *, honored: bool) -> Iterator[Exposed]:
    """Samples as a Prometheus has them. honored: whether the scrape keeps the exporter's labels of pods."""
    host = "Hostname" if names is OLD else "hostname"
    for run in RUNS:
        own = {"namespace": run.space, "pod": run.name, "container": "main"}
        for place, gpu in enumerate(run.gpus):
            device = {"UUID": uuid(run.node, gpu), "gpu": str(gpu), "modelName": MODEL, host: run.node}
            pod = own if honored else {f"exported_{key}": value for key, value in own.items()} | {
                "namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-1"}  # fmt: skip
            for field, (name, factor) in names.items():
                for at in moments(run):
                    yield name, device | pod, at / 1000, getattr(load(run, place, at), field) * factor
            slowed = 0.0
            for at in moments(run):
                slowed += load(run, place, at).heat * STEP * 1e6
                yield "DCGM_FI_DEV_THERMAL_VIOLATION", device | pod, at / 1000, slowed
    yield from _hosts()


CORES = {"loader": 3.9, "spare": 1.6}  # used by a pod; others use 2


def owner(run: Run) -> tuple[str, str]:
    """Kind and name of what owns a pod."""
    return ("ReplicaSet", f"{run.workload}-7d4f9c8b65") if run.kind == "Deployment" else (run.kind, run.workload)


def _hosts() -> Iterator[Exposed]:
    for run in RUNS:
        of = {"namespace": run.space, "pod": run.name}
        cores, (kind, made_by) = CORES.get(run.workload, 2.0), owner(run)
        for place, at in enumerate(range(START + STEP, END + 1, STEP)):
            if not START + run.began * HOUR <= at <= START + run.ended * HOUR:
                continue
            second, spent = at / 1000, place * STEP / 1000
            yield "container_cpu_usage_seconds_total", of | {"container": "main"}, second, cores * spent
            limit = {"resource": "cpu", "container": "main", "unit": "core"}
            yield "kube_pod_container_resource_limits", of | limit, second, 4.0
            yield "container_cpu_cfs_periods_total", of | {"container": "main"}, second, 10 * spent
            yield "container_cpu_cfs_throttled_periods_total", of | {"container": "main"}, second, 0.0
            yield "container_memory_working_set_bytes", of | {"container": "main"}, second, 60 * 2.0**30
            yield "kube_pod_owner", of | {"owner_kind": kind, "owner_name": made_by}, second, 1.0
            if run.model:
                for name, value in engine(run).items():
                    yield f"vllm:{name}", of | {"model_name": run.model}, second, value * (
                        spent if name.endswith("_total") else 1.0
                    )  # fmt: skip


def engine(run: Run) -> dict[str, float]:
    busy = run.workload == "decoder"
    return {
        "num_requests_running": 180.0 if busy else 6.0,
        "num_requests_waiting": 1.0 if busy else 0.0,
        "kv_cache_usage_perc": 0.7 if busy else 0.05,
        "num_preemptions_total": 0.0,
    }


def objects() -> list[dict[str, Any]]:
    """The cluster's objects at the end of the day."""
    found: list[dict[str, Any]] = []
    for node, gpus in NODES.items():
        found.append({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "labels": {"nvidia.com/gpu.present": "true", "pool": "gold",
                                                  "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
            "status": {"allocatable": {"nvidia.com/gpu": str(gpus), "cpu": "96", "memory": "900Gi"},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        })  # fmt: skip
    for run in RUNS:
        if run.ended == 24:
            found.append(_pod(run))
            if run.kind != "Deployment":
                continue
            above = [{"kind": "Deployment", "name": run.workload, "controller": True}]
            found.append({"apiVersion": "apps/v1", "kind": "ReplicaSet",
                          "metadata": {"name": f"{run.workload}-7d4f9c8b65", "namespace": run.space,
                                       "ownerReferences": above}})  # fmt: skip
    return found


def _pod(run: Run) -> dict[str, Any]:
    kind, made_by = owner(run)
    serve = ["--model", run.model, "--max-num-seqs=256"] if run.model else []
    cores = 75 if run.workload == "blind" else 0  # it leaves none to the free GPUs beside it
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": run.name, "namespace": run.space, "uid": f"uid-{run.name}",
            "labels": {"notebook-name": run.workload} if run.workload == "notebook" else {},
            "ownerReferences": [{"kind": kind, "name": made_by, "controller": True}],
        },
        "spec": {"nodeName": run.node, "containers": [{
            "name": "main", "image": "vllm/vllm-openai:v0.12.0" if run.model else "python:3", "args": serve,
            "resources": {"requests": {"cpu": str(cores or 4 * len(run.gpus)), "memory": "60Gi"},
                          "limits": {"nvidia.com/gpu": str(len(run.gpus))}}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip
