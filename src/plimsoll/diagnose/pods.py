"""Signals of pods from Prometheus: cores, host memory, storage, network, model servers; and of Kueue's queues."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from plimsoll.cost.window import Window
from plimsoll.diagnose.devices import SOURCE
from plimsoll.diagnose.grid import Asker, Grid, Values, known, quantile
from plimsoll.diagnose.held import Held
from plimsoll.diagnose.model import MINUTE, MINUTES_MIN, Value
from plimsoll.diagnose.queries import ENGINE, POD, QUEUE, RESTARTS, filled

Pod = tuple[str, str]
_SPACES_MAX = 50  # namespaces named in a query; with more all are asked for


def _pod(labels: dict[str, str]) -> Pod | None:
    pod = labels.get("namespace", ""), labels.get("pod", "")
    return pod if all(pod) else None


class Pods:
    """The series of every pod of some workloads over a window."""

    def __init__(self, asker: Asker, window: Window, rows: Iterable[Held]) -> None:
        self.grid = grid = Grid.of(window)
        spaces = sorted({row.workload.partition("/")[0] for row in rows})
        named = f'namespace=~"{"|".join(map(re.escape, spaces))}"' if len(spaces) <= _SPACES_MAX else 'namespace!=""'
        fill = {
            "rate": f"{max(300, round(2 * grid.step))}s",
            "span": f"{round(window.span / 1000)}s",
            "namespaces": named.replace("\\", "\\\\"),
        }
        self._series: dict[str, dict[tuple[str, ...], Values]] = {}
        for name, query in (*POD.items(), *ENGINE.items()):
            found = asker.ranged(filled(query, **fill), grid, _pod)
            self._series[name] = {key: values for key, (_, values) in found.items()}
        again = asker.instant(filled(RESTARTS, **fill), at=window.ended / 1000)
        self._restarts = {pod: value for labels, _, value in again if (pod := _pod(labels))}

    def workload(self, rows: Sequence[Held]) -> dict[str, Value]:
        """What the pods of a workload did, of rows that are long enough to be judged."""
        pods: dict[Pod, list[Held]] = defaultdict(list)
        for row in rows:
            if row.span >= MINUTES_MIN * MINUTE:
                pods[row.workload.partition("/")[0], row.pod].append(row)
        if not pods:
            return {}
        found = self._hosts(pods) | self._engine(pods)
        restarts = [self._restarts[pod] for pod in pods if pod in self._restarts]
        if restarts:
            found["restarts"] = Value(round(sum(restarts)), SOURCE, len(restarts), len(restarts) / len(pods))
        return found

    def _part(self, rows: Sequence[Held]) -> slice:
        return self.grid.part(min(row.began for row in rows), max(row.ended for row in rows))

    def _hosts(self, pods: Mapping[Pod, list[Held]]) -> dict[str, Value]:
        found = {}
        for name, signal in _HOST.items():
            said, samples, wanted = [], 0, 0
            for pod, rows in pods.items():
                part = self._part(rows)
                wanted += part.stop - part.start
                series = self._series[name].get(pod)
                values = known(series[part]) if series else []
                samples += len(values)
                if values:
                    devices = len({(row.uuid, row.instance) for row in rows})
                    mean = max(values) if name == "memory" else fmean(values)
                    said.append(mean / devices if name == "cores" else mean)
            if said and wanted:
                value = max(said) if name == "memory" else fmean(said)
                found[signal] = Value(value, SOURCE, samples, samples / wanted)
        return found

    def _engine(self, pods: Mapping[Pod, list[Held]]) -> dict[str, Value]:
        """What the servers of a workload said, moment by moment, all its replicas together."""
        live = [pod for pod in pods if pod in self._series["running"]]
        if not live:
            return {}
        part = self._part([row for rows in pods.values() for row in rows])
        sums = {name: self._together(name, live, part) for name in ENGINE}
        running = [each for each in sums["running"] if each]
        if not running:
            return {}
        of = (SOURCE, len(running), len(running) / max(part.stop - part.start, 1))
        total = [sum(each) for each in running]
        found = {
            "serve.running": Value(fmean(fmean(each) for each in running), *of),
            "serve.running_p95": Value(quantile(total, 0.95), *of),
            "serve.replicas": Value(fmean(len(each) for each in running), *of),
        }
        for signal, (name, value) in _ENGINE.items():
            if said := [each for each in sums[name] if each]:
                found[signal] = Value(value(said), SOURCE, len(said), len(said) / max(part.stop - part.start, 1))
        return found

    def _together(self, name: str, pods: Sequence[Pod], part: slice) -> list[list[float]]:
        """For each moment what each of the pods said."""
        series = [self._series[name][pod][part] for pod in pods if pod in self._series[name]]
        return [known(each) for each in zip(*series, strict=True)]


_HOST = {
    "cores": "cpu.cores", "of_limit": "cpu.of_limit", "throttled": "cpu.throttled", "memory": "host.memory",
    "stalled": "io.stalled", "network": "network.rate",
}  # fmt: skip
_Moments = list[list[float]]  # for each moment what each replica said
_ENGINE: dict[str, tuple[str, Callable[[_Moments], float]]] = {
    "serve.waiting": ("waiting", lambda said: fmean(sum(each) > 0 for each in said)),
    "serve.kv": ("kv", lambda said: fmean(fmean(each) for each in said)),
    "serve.kv_p90": ("kv", lambda said: quantile((fmean(each) for each in said), 0.9)),
    "serve.preemptions": ("preempted", lambda said: fmean(sum(each) for each in said)),
}


def queues(asker: Asker, window: Window) -> dict[str, dict[str, Value]]:
    """By ClusterQueue: how long work has waited beside free quota of its cohort, up to the end of the window."""
    grid = Grid.of(window)

    def key(labels: dict[str, str]) -> tuple[str, ...] | None:
        return (labels.get("cohort", ""), labels["cluster_queue"]) if labels.get("cluster_queue") else None

    series = {name: asker.ranged(query, grid, key) for name, query in QUEUE.items()}
    free: dict[str, list[float]] = defaultdict(lambda: [0.0] * grid.points)
    cohorts = {}
    for (cohort, queue), (_, quota) in series["quota"].items():
        cohorts[queue] = cohort or queue
        reserved = series["reserved"].get((cohort, queue))
        for place in range(grid.points):
            free[cohorts[queue]][place] += quota[place] - (reserved[1][place] if reserved else 0.0)
    found: dict[str, dict[str, Value]] = {}
    for (_, queue), (_, pending) in series["pending"].items():
        values: dict[str, float] = {}
        if stuck := known(series["inadmissible"].get(("", queue), ({}, Values("d")))[1]):
            values["queue.inadmissible"] = stuck[-1]
        left = free.get(cohorts.get(queue, "\0"))
        if left is not None:
            steps = 0
            for waits, spare in zip(reversed(pending), reversed(left), strict=True):
                if not (waits > 0 and spare >= 1):
                    break
                steps += 1
            wanted = known(series["wanted"].get(("", queue), ({}, Values("d")))[1])
            last = known(pending)[-1:] or [0.0]
            values |= {
                "queue.waiting": last[0] if steps else 0.0,
                "queue.minutes": max(steps - 1, 0) * grid.step / 60,
                "queue.free": known(left)[-1] if known(left) else 0.0,
                "queue.wanted": wanted[-1] if wanted else last[0],
            }
        samples = len(known(pending))
        found[queue] = {name: Value(value, SOURCE, samples, samples / grid.points) for name, value in values.items()}
    return found
