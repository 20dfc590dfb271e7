"""How long a backfill takes, beside a real Prometheus on this machine. No bar: both share its processors.

    python bench/backfill_speed.py [--gpus 200] [--hours 12] [--step 30s]

Each GPU has one pod after another, of 50 minutes; everything is scraped every 30 s. Needs the lab's programs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.measure import measure  # noqa: E402  found from the repository's root, wherever this is started
from tests.unit.kube.promserver import Exposed, serving  # noqa: E402

START, SCRAPE, PER_NODE = 1_764_547_200, 30, 8  # seconds
HOUR, LASTS, KEPT = 3600, 3000, 600  # a pod each hour, of 50 minutes, that is there for 10 minutes after it ended
MODEL = "NVIDIA H100 80GB HBM3"
GAUGES = {"DCGM_FI_PROF_GR_ENGINE_ACTIVE": 0.5, "DCGM_FI_PROF_SM_ACTIVE": 0.4, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.3,
          "DCGM_FI_DEV_FB_USED": 40_000.0}  # fmt: skip


def samples(gpus: int, hours: int) -> Iterator[Exposed]:
    for at in range(START, START + hours * HOUR, SCRAPE):
        yield "kube_namespace_created", {"namespace": "blue"}, at, START - 10.0 * HOUR
        for node in range(gpus // PER_NODE):
            own = {"node": f"node-{node}"}
            have = {"label_plimsoll_dev_pool": "h100", "label_nvidia_com_gpu_product": MODEL.replace(" ", "-")}
            yield "kube_node_info", {**own, "provider_id": f"aws:///{node}"}, at, 1.0
            yield "kube_node_created", own, at, START - 10.0 * HOUR
            yield "kube_node_labels", {**own, **have}, at, 1.0
            yield "kube_node_status_capacity", {**own, "resource": "nvidia_com_gpu"}, at, float(PER_NODE)
        for gpu in range(gpus):
            yield from _gpu(gpu, at)


def _gpu(gpu: int, at: int) -> Iterator[Exposed]:
    since = at - START + gpu * 97 % HOUR
    number, age = divmod(since, HOUR)
    began, pod = at - age, f"job-{gpu}-{number}"
    held = {"exported_namespace": "blue", "exported_pod": pod} if age < LASTS else {}
    labels = {"UUID": f"GPU-{gpu}", "Hostname": f"node-{gpu // PER_NODE}", "modelName": MODEL, **held}
    for name, value in GAUGES.items():
        yield name, labels, at, value
    yield "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", labels, at, 400_000.0 * (at - START)
    if age >= LASTS + KEPT:
        return
    own = {"namespace": "blue", "pod": pod, "uid": pod}
    where = {**own, "node": f"node-{gpu // PER_NODE}"}
    yield "kube_pod_info", {**where, "created_by_kind": "Job", "created_by_name": pod}, at, 1.0
    yield "kube_pod_container_resource_requests", {**where, "container": "main", "resource": "nvidia_com_gpu"}, at, 1.0
    yield "kube_pod_status_scheduled_time", own, at, float(began)
    for phase in ("Pending", "Running", "Succeeded", "Failed"):
        yield "kube_pod_status_phase", {**own, "phase": phase}, at, float(phase == _phase(age))
    if age >= LASTS:
        yield "kube_pod_completion_time", own, at, float(began + LASTS)


def _phase(age: int) -> str:
    return "Running" if age < LASTS else "Succeeded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gpus", type=int, default=200)
    parser.add_argument("--hours", type=int, default=12)
    parser.add_argument("--step", default="30s")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), samples(asked.gpus, asked.hours)) as url:
        ledger = Path(folder) / "ledger.duckdb"
        window = f"2025-12-01,{_until(asked.hours)}"
        argv = [sys.executable, "-m", "plimsoll", "cost", "backfill", "--prometheus", url, "--window", window,
                "--ledger", str(ledger), "--step", asked.step]  # fmt: skip
        took = measure(argv)
        print(f"{asked.gpus} GPUs, {asked.hours} h, {asked.gpus * asked.hours} pods, step {asked.step}: "
              f"{took.wall_s:.1f} s wall, {took.cpu_s:.1f} s CPU of ours, {took.rss_mib:.0f} MiB")  # fmt: skip


def _until(hours: int) -> str:
    return f"2025-12-{1 + hours // 24:02}T{hours % 24:02}:00:00Z"


if __name__ == "__main__":
    main()
