"""What a Prometheus would answer about the day of scene.py, and an HTTP server that says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from plimsoll.cost.sample import HOUR
from plimsoll.diagnose.queries import DEVICE, DEVICE_RATES, ENGINE, HOLDERS, POD, filled, slowed
from tests.unit.diagnose.scene import CORES, END, MODEL, RUNS, START, STEP, Load, Run, engine, load, owner, uuid
from tests.unit.kube.answering import Reply, answering

Series = tuple[dict[str, str], list[tuple[float, float]]]
_FILL = {"rate": "600s", "span": "86400s", "namespaces": 'namespace=~"batch|chat|training|vision"'}


def _times(run: Run) -> list[int]:
    return [at for at in range(START, END, STEP) if START + run.began * HOUR < at <= START + run.ended * HOUR]


def _devices(value: Callable[[Load], float]) -> Iterator[Series]:
    """One series for each device, whoever holds it."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for run in RUNS:
        for place, gpu in enumerate(run.gpus):
            points = found.setdefault((run.node, gpu), [])
            points += [(at / 1000, value(load(run, place, at))) for at in _times(run) if run.seen]
    for (node, gpu), points in found.items():
        yield {"node": node, "UUID": uuid(node, gpu), "modelName": MODEL}, points


def _holders() -> Iterator[Series]:
    for run in RUNS:
        for gpu in run.gpus:
            of = {"node": run.node, "UUID": uuid(run.node, gpu), "modelName": MODEL, "namespace": run.space,
                  "pod": run.name}  # fmt: skip
            yield of, [(at / 1000, 1.0) for at in _times(run) if run.seen]


def _pods(value: Callable[[Run], float | None]) -> Iterator[Series]:
    for run in RUNS:
        if (said := value(run)) is not None:
            yield {"namespace": run.space, "pod": run.name}, [(at / 1000, said) for at in _times(run)]


def _of(field: str) -> Callable[[Load], float]:
    def value(read: Load) -> float:
        found: float = getattr(read, field)
        return found

    return value


def _said(name: str) -> Callable[[Run], float | None]:
    return lambda run: engine(run).get(name) if run.model else None


_FIELDS: dict[str, Callable[[Load], float]] = {
    "busy": _of("busy"), "sm": _of("sm"), "tensor": _of("tensor"), "dram": _of("dram"), "watts": _of("watts"),
    "memory": _of("mib"), "clock": lambda read: read.clock * 1e6,
}  # fmt: skip
_HOSTS: dict[str, Callable[[Run], float | None]] = {
    "cores": lambda run: CORES.get(run.workload, 2.0),
    "of_limit": lambda run: CORES.get(run.workload, 2.0) / 4.0,
    "throttled": lambda run: 0.0,
    "memory": lambda run: 60 * 1024.0,
}
_ENGINES = {"running": "num_requests_running", "waiting": "num_requests_waiting", "kv": "kv_cache_usage_perc",
            "preempted": "num_preemptions_total"}  # fmt: skip
KNOWN: dict[str, Callable[[], Iterator[Series]]] = {
    **{DEVICE[name]: partial(_devices, field) for name, field in _FIELDS.items()},
    slowed(DEVICE_RATES["heat"], "600s"): partial(_devices, _of("heat")),
    HOLDERS: _holders,
    **{filled(POD[name], **_FILL): partial(_pods, value) for name, value in _HOSTS.items()},
    **{filled(ENGINE[name], **_FILL): partial(_pods, _said(said)) for name, said in _ENGINES.items()},
}
"""Queries and what is answered; to any other nothing is."""


def answer(verb: str, values: dict[str, str]) -> dict[str, Any]:
    query = values.get("query", "")
    if verb == "query_range":
        start, end = float(values["start"]), float(values["end"])
        rows = [
            {"metric": labels, "values": [[at, repr(value)] for at, value in points if start <= at <= end]}
            for labels, points in (KNOWN[query]() if query in KNOWN else ())
        ]
        return {"resultType": "matrix", "result": [row for row in rows if row["values"]]}
    owners = []
    if "kube_pod_owner" in query:
        for run in RUNS:
            kind, name = owner(run)
            of = {"namespace": run.space, "pod": run.name, "owner_kind": kind, "owner_name": name}
            owners.append({"metric": of, "value": [float(values["time"]), "1"]})
    return {"resultType": "vector", "result": owners}


@contextmanager
def serving() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a server that answers, and what it was asked."""

    def reply(verb: str, values: dict[str, str]) -> Reply:
        return 200, json.dumps({"status": "success", "data": answer(verb, values)}).encode()

    with answering(reply) as found:
        yield found
