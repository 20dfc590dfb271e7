"""Signals from series: of devices, pods, queues; and a server that cannot answer everything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from plimsoll.agents.meter.dcgm import METRICS
from plimsoll.cost.window import Window
from plimsoll.diagnose import pods
from plimsoll.diagnose.devices import Devices
from plimsoll.diagnose.grid import Asker, Found, Grid, quantile, unevenness
from plimsoll.diagnose.held import Held
from plimsoll.diagnose.model import HOUR, MINUTE, Value
from plimsoll.diagnose.queries import DEVICE, DEVICE_RATES, ENGINE, HOLDERS, POD, QUEUE, RESTARTS, filled, slowed
from plimsoll.errors import ClusterError
from plimsoll.kube.prometheus import Prometheus, Sample, Series, TooMuch
from plimsoll.pillars.observability.pack.devices import DEVICES
from plimsoll.pillars.observability.pack.model import Record

START = 1_764_547_200_000  # 2025-12-01
DAY = Window(START, START + 24 * HOUR)
GRID = Grid.of(DAY)
Wave = Callable[[int], float | None]  # the value at a place of the grid; None: nothing was said
Waves = dict[str, list[tuple[dict[str, str], Wave]]]  # by query


class Canned:
    """An Asker with these series by query, each as labels and a wave."""

    def __init__(self, series: Waves, owners: list[Sample] | None = None) -> None:
        self._series, self._owners = series, owners or []

    def ranged(self, query: str, grid: Grid, key: Callable[[dict[str, str]], tuple[str, ...] | None]) -> Found:
        found: Found = {}
        for labels, wave in self._series.get(query, []):
            name = key(labels)
            if name is None:
                continue
            values = grid.empty()
            for place in range(grid.points):
                if (value := wave(place)) is not None:
                    values[place] = value
            found[name] = labels, values
        return found

    def instant(self, query: str, at: float) -> list[Sample]:
        return self._owners if "kube_pod_owner" in query or query == filled(RESTARTS, **FILL) else []


FILL = {"rate": "600s", "span": "86400s", "namespaces": 'namespace=~"a"'}


def asker(series: Waves, owners: list[Sample] | None = None) -> Asker:
    return cast("Asker", Canned(series, owners))


def gpu(uuid: str = "GPU-1", instance: str = "", **more: str) -> dict[str, str]:
    return {"UUID": uuid, "GPU_I_ID": instance, "node": "n", "modelName": "NVIDIA H100 80GB HBM3", **more}


def always(value: float) -> Wave:
    return lambda _: value


def row(**more: Any) -> Held:
    base: dict[str, Any] = {
        "workload": "a/w", "job": "", "pod": "p", "team": "t", "model": "", "node": "n", "sku": "H100-SXM5-80GB",
        "gpus": 8, "uuid": "GPU-1", "instance": "", "profile": "", "parts": 56, "shared": False, "began": START,
        "ended": START + 24 * HOUR, "open": True,
    }  # fmt: skip
    return Held(**{**base, **more})


def values(found: dict[str, Value]) -> dict[str, float]:
    return {name: each.value for name, each in found.items()}


def test_what_is_asked_for_is_what_is_recorded_and_exported() -> None:
    """The observability pack records these series, and the exporter writes these fields; the meter reads them too."""
    recorded = {rule.record for rule in DEVICES.rules if isinstance(rule, Record)}
    asked = set(re.findall(r"plimsoll:[a-z0-9_]+:[a-z0-9_]+", " ".join(DEVICE.values())))
    assert asked
    assert asked <= recorded
    fields = set(re.findall(r"DCGM_FI_[A-Z0-9_]+", " ".join(DEVICE.values())))
    both = {name.decode() for name in METRICS if name.startswith(b"DCGM")} - {
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL"}  # fmt: skip
    assert both <= fields


def test_the_grid_of_a_day_has_a_point_every_five_minutes() -> None:
    assert (GRID.step, GRID.points) == (300, 288)
    assert GRID.part(START + 10 * MINUTE, START + 20 * MINUTE) == slice(2, 4)
    assert GRID.part(START - HOUR, START + 48 * HOUR) == slice(0, 288)
    assert Grid.of(Window(START, START + 30 * MINUTE)).step == 30


def test_quantiles_and_unevenness() -> None:
    assert [quantile(range(1, 101), share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert (unevenness([0.0, 0.0]), unevenness([1.0, 1.0]), unevenness([0.0, 2.0])) == (0, 0, 1)


def test_what_a_device_did_while_it_was_held() -> None:
    """Its memory rises after the pod has gone: that is no one of this pod's."""
    series: Waves = {
        DEVICE["memory"]: [(gpu(), lambda at: 80_000 if at >= 144 else 10_000 if at else 20_000)],
        DEVICE["busy"]: [(gpu(), lambda at: float(at % 2))],
        DEVICE["pcie"]: [(gpu(), lambda at: 10e9 if at % 2 else 1e9)],
        DEVICE["nvlink"]: [(gpu(), always(5e9))],
        DEVICE["xid"]: [(gpu(), lambda at: 31 if at > 200 else 0)],
    }
    devices = Devices(asker(series), DAY)
    found = values(devices.workload([row(ended=START + 12 * HOUR)]))
    assert (found["memory.p99"], found["memory.peak"]) == (10_000, 20_000)
    assert (found["busy.mean"], found["busy.cv"], found["pcie.lull"]) == (0.5, 1, 0.1)
    assert (found["nvlink.rate"], found["xid.memory"]) == (5e9, 0)
    assert "sm.mean" not in found
    assert values(devices.workload([row()]))["xid.memory"] == 1


def test_coverage_counts_every_device() -> None:
    series: Waves = {
        DEVICE["memory"]: [(gpu("GPU-1"), always(1.0)), (gpu("GPU-2"), lambda at: 1.0 if at < 72 else None)]
    }
    found = Devices(asker(series), DAY).workload([row(), row(uuid="GPU-2"), row(uuid="GPU-3")])
    assert found["memory.p99"].coverage == pytest.approx((288 + 72) / (3 * 288))
    assert found["memory.p99"].samples == 360


def test_who_held_what_by_the_exporters_labels() -> None:
    def between(first: int, last: int) -> Wave:
        return lambda at: 1.0 if first <= at < last else None

    holders = [
        (gpu(namespace="a", pod="web-6f7d9c8b5-x1"), between(0, 100)),
        (gpu(namespace="a", pod="cron-28000000-x"), between(100, 288)),
        (gpu("GPU-2", "7", GPU_I_PROFILE="1g.10gb", namespace="a", pod="p"), always(1.0)),
        (gpu("GPU-3", namespace="a", pod="s1"), between(0, 100)),
        (gpu("GPU-3", namespace="a", pod="s2"), between(50, 150)),
    ]
    owners = [
        Sample({"namespace": "a", "pod": name, "owner_kind": kind, "owner_name": of}, 0.0, 1.0)
        for name, kind, of in (
            ("web-6f7d9c8b5-x1", "ReplicaSet", "web-6f7d9c8b5"), ("cron-28000000-x", "Job", "cron-28000000"),
        )
    ]  # fmt: skip
    series: Waves = {HOLDERS: holders, DEVICE["busy"]: [(gpu(), lambda at: 0.5 if at < 50 else 0.0)]}
    found = {each.pod: each for each in Devices(asker(series, owners), DAY).rows({("a", "s1"): "a/known"})}
    web, cron = found["web-6f7d9c8b5-x1"], found["cron-28000000-x"]
    assert (web.workload, web.owner, web.job, web.gpus) == ("a/web", "Deployment", "", 3)
    assert (web.began, web.ended, web.open) == (START, START + 500 * MINUTE, False)
    assert (web.seen, web.busy, web.active) == (500 * MINUTE, 125 * MINUTE, START + 250 * MINUTE)
    assert (cron.workload, cron.owner, cron.job, cron.open) == ("a/cron", "CronJob", "a/cron-28000000", True)
    assert cron.unused
    assert (found["p"].instance, found["p"].profile, found["p"].parts, found["p"].sku) == (
        "7", "1g.10gb", 8, "H100-SXM5-80GB")  # fmt: skip
    assert [found[name].shared for name in ("s1", "s2", "p")] == [True, True, False]
    assert found["s1"].workload == "a/known"


def test_the_clock_of_a_gpu_is_compared_with_its_jobs_under_load() -> None:
    """The last one is slow; while nothing runs clocks are low, which says nothing."""
    load: Wave = lambda at: 0.9 if at >= 144 else 0.0  # noqa: E731

    def clock(fast: float) -> Wave:
        return lambda at: fast if at >= 144 else 300e6

    series: Waves = {
        DEVICE["busy"]: [(gpu(f"GPU-{n}"), load) for n in range(4)],
        DEVICE["clock"]: [(gpu(f"GPU-{n}"), clock(1400e6 if n == 3 else 2000e6)) for n in range(4)],
        slowed(DEVICE_RATES["heat"], "600s"): [(gpu("GPU-3"), always(0.25))],
    }
    rows = [row(job="a/j", uuid=f"GPU-{n}", pod=f"p{n}") for n in range(4)]
    found = Devices(asker(series), DAY).gpus([*rows, row(uuid="GPU-9")])
    assert {name: values(each.values).get("clock.ratio") for name, each in found.items()} == {
        "n/GPU-0": 1, "n/GPU-1": 1, "n/GPU-2": 1, "n/GPU-3": 0.7, "n/GPU-9": None}  # fmt: skip
    assert values(found["n/GPU-3"].values) == {"clock.ratio": 0.7, "job.gpus": 4, "throttle.thermal": 0.25}
    assert (found["n/GPU-3"].alike, found["n/GPU-9"].alike) == (True, False)
    assert not any(each.alike for each in Devices(asker(series), DAY).gpus(rows[:2]).values())


def of_pod(name: str = "p") -> dict[str, str]:
    return {"namespace": "a", "pod": name}


def test_what_pods_use_of_their_host() -> None:
    series: Waves = {
        filled(POD["cores"], **FILL): [(of_pod(), always(6.0))],
        filled(POD["memory"], **FILL): [(of_pod(), lambda at: 9000.0 if at == 7 else 1000.0)],
        filled(POD["stalled"], **FILL): [(of_pod(), lambda at: 0.5 if at < 144 else None)],
    }
    restarts = [Sample(of_pod(), 0.0, 2.9999)]
    found = pods.Pods(asker(series, restarts), DAY, [row()]).workload([row(), row(uuid="GPU-2")])
    assert values(found) == {"cpu.cores": 3, "host.memory": 9000, "io.stalled": 0.5, "restarts": 3}
    assert found["io.stalled"].coverage == 0.5


def test_what_servers_say_together() -> None:
    """Two replicas, then one; requests wait a tenth of the time."""
    series: Waves = {
        filled(ENGINE["running"], **FILL): [
            (of_pod("p"), always(10.0)), (of_pod("q"), lambda at: 30.0 if at < 144 else None)],
        filled(ENGINE["waiting"], **FILL): [(of_pod("p"), lambda at: float(at % 10 == 0))],
        filled(ENGINE["kv"], **FILL): [(of_pod("p"), lambda at: 0.95 if at >= 200 else 0.2)],
        filled(ENGINE["preempted"], **FILL): [(of_pod("p"), always(6.0))],
    }  # fmt: skip
    rows = [row(), row(pod="q", uuid="GPU-2")]
    found = values(pods.Pods(asker(series), DAY, rows).workload(rows))
    assert found["serve.running"] == (20 + 10) / 2
    assert (found["serve.running_p95"], found["serve.replicas"]) == (40, 1.5)
    assert found["serve.waiting"] == pytest.approx(0.1, abs=0.005)
    assert (found["serve.kv_p90"], found["serve.preemptions"]) == (0.95, 6)


def of_queue(cohort: str = "") -> dict[str, str]:
    return {"cluster_queue": "red"} | ({"cohort": cohort} if cohort else {})


def test_how_long_a_queue_holds_back() -> None:
    series: Waves = {
        QUEUE["pending"]: [(of_queue(), lambda at: 2.0 if at >= 280 else 0.0)],
        QUEUE["inadmissible"]: [(of_queue(), always(1.0))],
        QUEUE["quota"]: [(of_queue("all"), always(8.0)), ({"cluster_queue": "blue", "cohort": "all"}, always(8.0))],
        QUEUE["reserved"]: [(of_queue("all"), always(8.0)), ({"cluster_queue": "blue", "cohort": "all"}, always(4.0))],
        QUEUE["wanted"]: [(of_queue(), always(6.0))],
    }
    found = values(pods.queues(asker(series), DAY)["red"])
    assert found == {
        "queue.waiting": 2,
        "queue.minutes": 35,
        "queue.free": 4,
        "queue.wanted": 6,
        "queue.inadmissible": 1,
    }
    del series[QUEUE["quota"]]  # as Kueue is by default
    assert values(pods.queues(asker(series), DAY)["red"]) == {"queue.inadmissible": 1}


# A server that cannot answer everything


class Broken:
    """A Prometheus that fails as told, query by query."""

    def __init__(self, errors: Callable[[int], Exception | None]) -> None:
        self._errors, self.asked = errors, -1

    def instant(self, query: str, at: float | None = None) -> list[Sample]:
        self._fail()
        return []

    def ranged(self, query: str, began: float, ended: float, step: float) -> Iterator[Series]:
        self._fail()
        yield Series({"UUID": "GPU-1"}, [(began, 1.0), (began + step, float("nan")), (began + 2 * step, float("inf"))])

    def _fail(self) -> None:
        self.asked += 1
        if error := self._errors(self.asked):
            raise error


def broken(errors: Callable[[int], Exception | None], **more: Any) -> Asker:
    return Asker(cast("Prometheus", Broken(errors)), **more)


def test_a_query_that_is_too_much_is_noted_and_the_rest_goes_on() -> None:
    seen: list[tuple[str, int, int]] = []
    asked = broken(lambda at: TooMuch("query timed out") if at == 2 else None,
                   told=lambda what, done, many: seen.append((what, done, many)))  # fmt: skip
    devices = Devices(asked, DAY)
    assert devices.series["busy"]
    assert devices.series["sm"] == {}
    assert list(asked.notes) == ["what asks for DCGM_FI_PROF_SM_ACTIVE was not answered: query timed out"]
    assert seen[1] == ("DCGM_FI_PROF_SM_ACTIVE", 1, seen[1][2])


def test_what_is_no_number_is_not_there() -> None:
    _, found = Devices(broken(lambda _: None), DAY).series["busy"]["GPU-1", ""]
    assert [value for value in found if value == value] == [1.0]


def test_a_server_that_is_not_there_ends_it() -> None:
    with pytest.raises(ClusterError, match="away"):
        broken(lambda at: ClusterError("away"))


def test_a_server_that_goes_away_ends_it() -> None:
    asked = broken(lambda at: ClusterError("away") if at else None)
    with pytest.raises(ClusterError, match="away"):
        Devices(asked, DAY)
    assert len(asked.notes) == 3
