"""A lab of 500 nodes with 8 GPUs each, and 5,000 pods: how long until all of it has settled.

python bench/lab_scale.py [--nodes 500] [--pods 5000]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, get
from plimsoll.lab.run import launch
from plimsoll.lab.run.settings import Settings
from plimsoll.lab.run.state import read

DEPLOYMENTS = 10
PATIENCE = 600.0  # seconds

PLATFORM = """\
apiVersion: plimsoll.dev/v1
kind: Platform
metadata: {{name: scale}}
pools:
  - {{name: h100, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {{min: {nodes}, max: {nodes}}}}}
teams:
  - {{name: research, quota: {{h100: {gpus}}}}}
"""


def deployment(number: int, pods: int) -> Obj:
    """Pods that ask for nothing but a place on a GPU node."""
    labels = {"app": f"load-{number}"}
    spec = {
        "nodeSelector": {"plimsoll.dev/pool": "h100"},
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "load", "image": "registry.example.com/load:1"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"load-{number}", "namespace": "default"},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def settle(client: Client, pods: int) -> int:
    """Wait for every pod; how many are available at the end."""
    end = time.monotonic() + PATIENCE
    ready = 0
    while time.monotonic() < end and ready < pods:
        found = client.list("apps/v1/Deployment", "default")
        ready = sum(int(get(each, "status", "availableReplicas") or 0) for each in found)
        time.sleep(0.5)
    return ready


def main() -> int:
    """Print seconds and memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--pods", type=int, default=5000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        os.environ["XDG_STATE_HOME"] = root
        platform = PLATFORM.format(nodes=asked.nodes, gpus=asked.nodes * 8)
        began = time.monotonic()
        state = launch.up(Settings(name="scale", platform=platform))
        folder = launch.folder_of("scale")
        try:
            steps = {step.name: step.seconds for step in state.steps}
            print(f"{asked.nodes} nodes of 8 GPUs: created in {steps['nodes']:.1f} s")
            print(f"all of them Ready and offering GPUs {time.monotonic() - began:.1f} s after `lab up`")
            with Client(folder.kubeconfig) as client:
                began = time.monotonic()
                share = asked.pods // DEPLOYMENTS
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(client.apply, (deployment(number, share) for number in range(DEPLOYMENTS))))
                ready = settle(client, share * DEPLOYMENTS)
                print(f"{ready} of {share * DEPLOYMENTS} pods Running in {time.monotonic() - began:.1f} s")
            time.sleep(3)
            after = read(folder)
            held = sum(each.resident for each in after.programs) if after else 0
            print(f"resident: {held / 2**20:,.0f} MiB")
        finally:
            launch.down(folder)
    return 0 if ready == share * DEPLOYMENTS else 1


if __name__ == "__main__":
    sys.exit(main())
