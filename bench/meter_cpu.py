"""What a meter of 10,000 GPUs takes: bar 5 % of one core.

    python bench/meter_cpu.py [--gpus 10000] [--rounds 8] [--every 30] [--ledger PLACE]

Everything but the API server is real: pages as dcgm-exporter writes them come over HTTP from processes of their own,
are read, attributed to pods and written into the ledger; jobs come and go as a million a month for each 1,000 GPUs.
Rounds follow one another without a pause, and the processor time of one is put beside the seconds between two.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from plimsoll.agents.meter.book import Book  # noqa: E402  found from the repository's root
from plimsoll.agents.meter.clock import Clock  # noqa: E402
from plimsoll.agents.meter.cluster import Cluster  # noqa: E402
from plimsoll.agents.meter.fold import Fold  # noqa: E402
from plimsoll.agents.meter.rounds import Over, Read, Rounds  # noqa: E402
from plimsoll.agents.meter.run import collect_rarely  # noqa: E402
from plimsoll.agents.meter.scrape import Target, Targets  # noqa: E402
from plimsoll.cost.sample import Watch  # noqa: E402
from plimsoll.kube import kinds  # noqa: E402
from plimsoll.lab.telemetry.fields import FIELDS  # noqa: E402

PER_NODE = 8
SERVERS = 2
JOBS_A_MONTH = 1000  # for each GPU
MONTH = 30 * 86_400


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(place: int) -> dict[str, Any]:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.count": str(PER_NODE),
              "nvidia.com/gpu.memory": "81559", "nvidia.com/gpu.present": "true"}  # fmt: skip
    meta = {"name": f"node-{place}", "uid": f"node-{place}", "creationTimestamp": iso(time.time() - 86_400),
            "labels": labels, "resourceVersion": "1"}  # fmt: skip
    return {"kind": "Node", "metadata": meta, "status": {"capacity": {"nvidia.com/gpu": str(PER_NODE)}}}


def pod(place: int, number: int, at: float, phase: str = "Running") -> dict[str, Any]:
    """The pod on a GPU. number: which one, they follow one another."""
    on, title = place // PER_NODE, f"train-{place}-{number}"
    state: dict[str, Any] = {"running": {"startedAt": iso(at)}}
    if phase == "Succeeded":
        state = {"terminated": {"startedAt": iso(at), "finishedAt": iso(time.time()), "exitCode": 0}}
    return {
        "kind": "Pod",
        "metadata": {"name": title, "namespace": f"team-{place % 40}", "uid": f"uid-{title}",
                     "resourceVersion": "1" if phase == "Running" else "2", "creationTimestamp": iso(at),
                     "ownerReferences": [{"kind": "Job", "name": title, "uid": f"job-{title}", "controller": True}]},
        "spec": {"nodeName": f"node-{on}",
                 "containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": state}], "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(at)}]},
    }  # fmt: skip


def page(place: int, numbers: list[int]) -> bytes:
    """A node's page: as many metrics, as long labels as an exporter's."""
    rows = []
    for field in FIELDS:
        name = field.old
        rows.append(f"# HELP {name} {field.help}\n# TYPE {name} {field.kind}\n")
        for gpu in range(PER_NODE):
            at = place * PER_NODE + gpu
            labels = (
                f'gpu="{gpu}",UUID="GPU-{at:08d}-0000-0000-0000-000000000000",pci_bus_id="00000000:53:00.0",'
                f'device="nvidia{gpu}",modelName="NVIDIA H100 80GB HBM3",Hostname="node-{place}",'
                f'DCGM_FI_DRIVER_VERSION="580.105.08",container="main",namespace="team-{at % 40}",'
                f'pod="train-{at}-{numbers[gpu]}",pod_uid=""'
            )
            rows.append(f"{name}{{{labels}}} 0.{(at * 7 + len(name)) % 10}\n")
    return "".join(rows).encode()


def serve(listener: socket.socket, pages: dict[bytes, bytes]) -> None:
    """Answer GETs, as little work as can be. Ends with its parent."""
    import asyncio

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = pages[head.split(b" ", 2)[1]]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                writer.write(body)
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


def exporters(nodes: int) -> list[Target]:
    """Processes that serve the pages of all nodes."""
    found = []
    for part in range(SERVERS):
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        pages = {f"/{place}".encode(): page(place, [0] * PER_NODE) for place in range(part, nodes, SERVERS)}
        multiprocessing.get_context("fork").Process(target=serve, args=(listener, pages), daemon=True).start()
        port = listener.getsockname()[1]
        found += [Target("127.0.0.1", port, f"/{place}", f"node-{place}", "") for place in range(part, nodes, SERVERS)]
    return found


class Known(Targets):
    def __init__(self, found: list[Target]) -> None:
        super().__init__()
        self._all = found

    def all(self) -> list[Target]:
        return self._all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--every", type=float, default=30.0)
    parser.add_argument("--ledger", default="")
    asked = parser.parse_args()
    collect_rarely()
    nodes = asked.gpus // PER_NODE
    targets = exporters(nodes)
    with tempfile.TemporaryDirectory(prefix="meter-cpu-") as folder:
        book = Book(asked.ledger or str(Path(folder) / "ledger.duckdb"), "meter", 400 * 86_400_000)
        events: Queue[object] = Queue()
        clock = Clock()
        rounds = Rounds(clock, events, Known(targets), every=asked.every)
        now = clock.now()
        cluster = Cluster(None, lambda *_: "", Fold(round(asked.every * 1000)), started=now, patience_ms=90_000)
        start = time.time() - 3600
        for place in range(nodes):
            cluster.take(kinds.NODE, "ADDED", node(place), now)
        for place in range(nodes * PER_NODE):
            cluster.take(kinds.POD, "ADDED", pod(place, 0, start), now)
        churn = round(nodes * PER_NODE * JOBS_A_MONTH / MONTH * asked.every)
        print(f"{nodes} nodes, {nodes * PER_NODE} GPUs, {len(FIELDS)} metrics of each, {churn} jobs end in a round")
        spent: list[float] = []
        for each in range(asked.rounds):
            began = time.process_time()
            at = now + round((each + 1) * asked.every * 1000)
            rounds._round()
            while not events.empty():
                event = events.get()
                if isinstance(event, Read):
                    cluster.read(event.node, event.readings, at)
                elif isinstance(event, Over):
                    cluster.fold.settle(at - 1000)
            for place in range(each * churn, (each + 1) * churn):
                cluster.take(kinds.POD, "MODIFIED", pod(place, 0, start, "Succeeded"), at)
                cluster.take(kinds.POD, "ADDED", pod(place, 1, time.time()), at)
            cluster.records += cluster.fold.usage()
            cluster.tick(at)
            records = cluster.drain()
            book.write([*records, Watch(meter="meter", began=now, ended=at)], {"pods": str(each)})
            book.write([Watch(meter="meter", began=now, ended=at + 1)], {})  # it writes more often than it reads
            spent.append(time.process_time() - began)
            print(f"round {each + 1}: {spent[-1]:.2f} s of processor time, {len(records)} records")
        sealing = time.process_time()
        book.keep(at + 2 * 3_600_000)
        sealing = time.process_time() - sealing
        rounds._scraper.close()
        whole = sorted(spent[2:])[len(spent[2:]) // 2]
        hourly = sealing / (asked.rounds * asked.every)
        print(f"median {whole:.2f} s a round of {asked.every:g} s: {whole / asked.every:.1%} of one core; "
              f"merging adds {hourly:.1%}")  # fmt: skip
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB resident at most")


if __name__ == "__main__":
    main()
