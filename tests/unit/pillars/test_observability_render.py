"""What the pillar observability renders: monitors, rules, dashboards."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter import exposition, metrics
from plimsoll.check.run import review
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import HOUR, Ended, Node, Quote, Record, Tokens, Watch, measured
from plimsoll.cost.store import open_store
from plimsoll.kube.objects import Obj, get, labels, name, namespace
from plimsoll.lab.telemetry import queue, vllm
from plimsoll.lab.telemetry.fields import FIELDS
from plimsoll.lab.telemetry.ksm.table import KINDS
from plimsoll.pillars import all_checks
from plimsoll.pillars.observability.pack import boards, cost, grafana
from plimsoll.pillars.observability.pack.grafana import Board
from plimsoll.pillars.observability.pack.pack import rules
from plimsoll.pillars.observability.render import render
from plimsoll.pillars.operator.render_counters import counters
from plimsoll.plan.model import HOME, thing
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.model import Platform
from tests.unit.cost.test_shares import node, pod
from tests.unit.cost.truth import START
from tests.unit.pillars.test_observability_rules import EXAMPLES, RECORDS, promtool
from tests.world import snapshot

__all__ = ["promtool"]  # a fixture
LARGEST = 1_000_000  # bytes; an object may have a little more than a megabyte, and a ConfigMap's data exactly one
ELSEWHERE = {
    "Kueue": {
        "kueue_admission_wait_time_seconds_bucket", "kueue_admitted_active_workloads", "kueue_build_info",
        "kueue_cluster_queue_nominal_quota", "kueue_cluster_queue_resource_pending",
        "kueue_cluster_queue_resource_reservation", "kueue_cluster_queue_resource_usage", "kueue_cluster_queue_status",
        "kueue_cluster_queue_weighted_share", "kueue_evicted_workloads_total", "kueue_pending_workloads",
        "kueue_preempted_workloads_total",
    },
    "KEDA": {"keda_scaler_detail_errors_total", "keda_scaled_object_paused", "keda_scaler_metrics_value"},
    "GPU Operator": {
        "gpu_operator_reconciliation_status", "gpu_operator_nodes_upgrades_done", "gpu_operator_nodes_upgrades_failed",
        "gpu_operator_nodes_upgrades_in_progress", "gpu_operator_nodes_upgrades_pending",
    },
    "cAdvisor": {
        "container_cpu_usage_seconds_total", "container_memory_working_set_bytes",
        "container_cpu_cfs_throttled_periods_total", "container_cpu_cfs_periods_total",
        "container_network_receive_bytes_total", "container_network_transmit_bytes_total",
    },
    "DCGM, by the operator's file of counters": {"DCGM_FI_DEV_SLOWDOWN_TEMP", "DCGM_FI_DEV_MEM_MAX_OP_TEMP"},
    "Prometheus": {"up", "ALERTS"},
}  # fmt: skip
"""Metrics that the lab does not export: it has no kubelet, and does not collect from its controllers."""
SOURCES = {
    "Kueue": ("sigs.k8s.io/kueue@*", "pkg/metrics/metrics.go", "kueue_"),
    "KEDA": ("github.com/kedacore/keda/v2@*", "pkg/metricscollector/prommetrics.go", "keda_(?:scaler|scaled_object)_"),
    "GPU Operator": ("github.com/!n!v!i!d!i!a/gpu-operator@*", "controllers/operator_metrics.go", "gpu_operator_"),
}


SPOT_POOL = {
    "name": "l4",
    "gpu": "L4",
    "gpusPerNode": 1,
    "nodes": {"max": 4},
    "capacity": "spot",
    "nodeSelector": {"acme.example/pool": "l4.x", "zone": "a"},
    "partition": {"timeSlicing": {"replicas": 4}},
}


def declared(**more: Any) -> Platform:
    return from_mapping(
        {
            "pools": [
                {"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"max": 100}},
                SPOT_POOL,
            ],
            "teams": [
                {"name": "research", "quota": {"h100": 8}},
                {"name": "serving", "namespaces": ["chat", "search"], "quota": {"h100": 4}},
            ],
            "services": [
                {"name": "chat", "team": "serving", "model": "m", "pool": "h100"},
                {"name": "find", "team": "serving", "namespace": "search", "model": "m", "pool": "h100"},
            ],
            **more,
        }
    )


def by_kind(platform: Platform, kind: str) -> dict[str, Obj]:
    return {name(each): each for each in render(platform).objects if each["kind"] == kind}


# --- monitors


def test_monitors_look_into_the_namespaces_of_what_is_declared() -> None:
    seen = {
        title: get(each, "spec", "namespaceSelector", "matchNames")
        for kind in ("ServiceMonitor", "PodMonitor")
        for title, each in by_kind(declared(), kind).items()
    }
    assert seen == {
        "dcgm-exporter": ["gpu-operator"],
        "kueue": ["kueue-system"],
        "keda": ["keda"],
        "services": ["chat", "search"],
    }
    named = declared(operator={"namespace": "nvidia"}, services=[])
    moved = by_kind(named, "ServiceMonitor")["dcgm-exporter"]
    assert get(moved, "spec", "namespaceSelector", "matchNames") == ["nvidia"]
    assert not by_kind(named, "PodMonitor")
    assert "keda" not in by_kind(named, "ServiceMonitor")


def test_labels_that_prometheus_selects_by_are_on_monitors_and_rules() -> None:
    platform = declared(observability={"prometheus": {"labels": {"release": "monitoring"}}})
    found = [each for each in render(platform).objects if each["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(found) >= 8
    assert all(labels(each).get("release") == "monitoring" for each in found)
    assert "gpu-operator" in by_kind(platform, "ServiceMonitor")  # its own monitor has no such label
    assert "gpu-operator" not in by_kind(declared(), "ServiceMonitor")


def relabelled(monitor: Obj, endpoints: str, target: dict[str, str]) -> dict[str, str] | None:
    """The labels of a target after the relabellings of a monitor, as Prometheus works them out; None if dropped."""
    have = dict(target)
    for rule in get(monitor, "spec", endpoints, 0, "relabelings"):
        joined = ";".join(have.get(key, "") for key in rule.get("sourceLabels", ()))
        match = re.fullmatch(rule.get("regex", "(.*)"), joined)
        action = rule.get("action", "replace")
        if action == "keep" and not match:
            return None
        if action == "labeldrop":
            have = {key: value for key, value in have.items() if not re.fullmatch(rule["regex"], key)}
        elif action == "replace" and match:
            have[rule["targetLabel"]] = match.expand(rule.get("replacement", "$1").replace("$1", r"\1"))
    return {key: value for key, value in have.items() if value and not key.startswith("__")}


@pytest.mark.parametrize(
    ("node", "pool"),
    [
        ({"plimsoll_dev_pool": "h100"}, "h100"),
        ({"acme_example_pool": "l4.x", "zone": "a"}, "l4"),
        ({"acme_example_pool": "l4xx", "zone": "a"}, None),
        ({"acme_example_pool": "l4.x", "zone": "b"}, None),
        ({}, None),
    ],
)
def test_gpu_series_name_node_and_pool_and_never_the_exporter(node: dict[str, str], pool: str | None) -> None:
    target = {"namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-x", "container": "nvidia-dcgm-exporter",
              "service": "nvidia-dcgm-exporter", "endpoint": "gpu-metrics", "instance": "10.0.0.1:9400", "job": "j",
              "__meta_kubernetes_pod_node_name": "n1"}  # fmt: skip
    target |= {f"__meta_kubernetes_node_label_{key}": value for key, value in node.items()}
    monitor = by_kind(declared(), "ServiceMonitor")["dcgm-exporter"]
    expected = {"instance": "10.0.0.1:9400", "job": "j", "node": "n1"} | ({"pool": pool} if pool else {})
    assert relabelled(monitor, "endpoints", target) == expected
    assert get(monitor, "spec", "endpoints", 0, "honorLabels") is True
    assert get(monitor, "spec", "attachMetadata", "node") is True


def test_only_the_first_pod_of_a_replica_is_asked_and_the_service_is_named() -> None:
    monitor = by_kind(declared(), "PodMonitor")["services"]
    target = {"namespace": "chat", "pod": "chat-0", "__meta_kubernetes_pod_label_app_kubernetes_io_name": "chat",
              "__meta_kubernetes_pod_node_name": "n1"}  # fmt: skip
    index = "__meta_kubernetes_pod_label_leaderworkerset_sigs_k8s_io_worker_index"
    named = {"namespace": "chat", "pod": "chat-0", "service": "chat", "node": "n1"}
    assert relabelled(monitor, "podMetricsEndpoints", target) == named
    assert relabelled(monitor, "podMetricsEndpoints", target | {index: "0"}) == named
    assert relabelled(monitor, "podMetricsEndpoints", target | {index: "1"}) is None


# --- rules


def test_without_the_operator_the_same_rules_are_files() -> None:
    plain = declared(observability={"prometheus": {"operator": False}})
    assert not [each for each in render(plain).objects if each["apiVersion"] != "v1"]
    files = {
        title: yaml.safe_load(each["data"][f"{title}.yml"])
        for title, each in by_kind(plain, "ConfigMap").items()
        if "plimsoll.dev/prometheus-rules" in labels(each)
    }
    assert files == {title: each["spec"] for title, each in by_kind(declared(), "PrometheusRule").items()}
    assert any("rule_files" in note for note in render(plain).notes)


def test_rules_of_money_are_there_where_a_meter_is() -> None:
    assert "plimsoll-cost" not in by_kind(declared(), "PrometheusRule")
    assert "plimsoll-cost" in by_kind(METERED, "PrometheusRule")
    assert cost.OTHERS == exposition.OTHER  # the pillar may not know the meter
    assert re.fullmatch(re.escape(cost.OTHERS), "(other)")
    assert '"|[(]other[)]"' in cost.NAMED


def test_rules_of_services_are_there_where_services_are() -> None:
    assert "plimsoll-serving" not in by_kind(declared(services=[]), "PrometheusRule")
    assert "plimsoll-serving" in by_kind(declared(), "PrometheusRule")


@settings(max_examples=25, deadline=None)
@given(
    teams=st.integers(1, 60),
    spaces=st.integers(1, 30),
    services=st.integers(0, 60),
    operator=st.booleans(),
    long=st.booleans(),
)
def test_objects_are_of_a_size_and_name_that_the_server_takes(
    teams: int, spaces: int, services: int, operator: bool, long: bool
) -> None:
    fill = "x" * 50 if long else ""
    named = [
        {
            "name": f"t{at}{fill}",
            "namespaces": [f"n{at}-{each}{fill}" for each in range(spaces)],
            "quota": {"h100": 0 if at else 8},
        }
        for at in range(teams)
    ]
    served = [
        {"name": f"s{at}{fill}", "team": f"t0{fill}", "model": "m", "pool": "h100", "queued": False}
        for at in range(services)
    ]
    platform = declared(
        teams=named, services=served, observability={"prometheus": {"operator": operator}}, spot={"never": []}
    )
    part = render(platform)
    assert part == render(platform)
    refs = [(each["kind"], name(each)) for each in part.objects]
    assert len(refs) == len(set(refs))
    for each in part.objects:
        assert namespace(each) == HOME
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name(each))
        assert len(json.dumps(each)) < LARGEST


# --- dashboards

METERED = declared(observability={"meter": {"image": "registry.example.com/plimsoll:1"}})
BOARDS = boards.boards(METERED)


def test_dashboards_are_config_maps_the_sidecar_takes_up() -> None:
    drawn = [each for each in render(METERED).objects if labels(each).get("grafana_dashboard") == "1"]
    assert len(drawn) == len(BOARDS) == 10
    for each in drawn:
        assert get(each, "metadata", "annotations", "grafana_folder") == "Plimsoll"
        [(file, text)] = each["data"].items()
        assert file == f"{json.loads(text)['uid']}.json"
    none = declared(observability={"dashboards": "none"})
    assert not [each for each in render(none).objects if "grafana_dashboard" in labels(each)]
    small = {board.uid for board in boards.boards(load(EXAMPLES[0].read_text(), ""))}
    assert not small & {"plimsoll-serving", "plimsoll-shared", "plimsoll-spot", "plimsoll-cost"}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_board_is_whole(board: Board) -> None:
    drawn = json.loads(grafana.text(board))
    assert grafana.text(board) == grafana.text(board)
    panels = drawn["panels"]
    assert [each["id"] for each in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for each in panels:
        place = each["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= grafana.COLUMNS
        assert not taken & cells, each["title"]
        taken |= cells
        if each["type"] != "row":
            assert each["description"].endswith(".")
            assert all(target["datasource"]["uid"] == "${datasource}" for target in each["targets"])
            assert len({target["refId"] for target in each["targets"]}) == len(each["targets"])
    variables = [each["name"] for each in drawn["templating"]["list"]]
    used = set(re.findall(r"\$(?:\{(\w+)\}|(\w+))", grafana.text(board)))
    assert {one or other for one, other in used} - {"__all"} <= set(variables)
    assert variables[0] == "datasource"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_grafanas_own_types_hold_all_of_a_board(board: Board) -> None:
    """Read into the types that Grafana generates from its schema, and written again: what they do not know is gone."""
    drawn = json.loads(grafana.text(board))
    read = Dashboard.from_json(copy.deepcopy(drawn))
    again = json.loads(JSONEncoder().encode(read))
    assert list(_lost(drawn, again)) == []
    wrong = drawn | {"panels": [*drawn["panels"], {"type": "stat", "titel": "misspelt"}]}
    assert list(_lost(wrong, json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(wrong)))))) != []


def _lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where a value is not the same any more."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs or value not in (None, [], {}):
                yield from _lost(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _lost(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def filled(expr: str) -> str:
    """An expression with its variables chosen."""
    return re.sub(r"\$\w+", ".*", expr)


def queries(board: Board) -> list[str]:
    asked = [query.expr for panel in board.panels for query in panel.queries]
    return [filled(expr) for expr in (*asked, *(variable.metric for variable in board.variables))]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_prometheus_can_read_every_query(board: Board, promtool: Path, tmp_path: Path) -> None:
    made = [{"record": f"query{number}", "expr": expr} for number, expr in enumerate(queries(board))]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]}))
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def exported() -> set[str]:
    """Metrics that the lab shows to its Prometheus."""
    fields = {title for field in FIELDS for title in (field.old, field.new) if title}
    servers = "".join(vllm.page(queue.Server(0.0), "m", version, 0.0) for version in ((0, 10, 2), (0, 32)))
    states = {title for metrics in KINDS for title, _, _ in metrics.families}
    return fields | states | told() | set(re.findall(r"^(vllm:\w+)", servers, re.MULTILINE))


def told() -> set[str]:
    """Metrics on the meter's page."""
    return set(re.findall(r"^# TYPE (\w+)", told_page(), re.MULTILINE))


@lru_cache
def told_page() -> str:
    """The meter's page, of a ledger that has something of all."""
    store = open_store(":memory:")
    ledger = Ledger(store)
    now = START + 26 * HOUR
    ledger.write([
        *node(), *pod("a", 1, None, model="m"), *node_without_price(), Watch(meter="m", began=START, ended=now),
        Ended(kind="pod", subject=("a",), moment=START + 4 * HOUR, why="Evicted"),
        Tokens(model="m", pod="a", began=START + 2 * HOUR, ended=START + 3 * HOUR, requests=1, prompt=9, output=9),
        Quote(scope="single", moment=START, per_hour=1_000_000, source="seen"),
        measured("g0", "", "a", START + HOUR, START + 3 * HOUR, 0.5), measured("g0", "", "a", START + 3 * HOUR,
                                                                               START + 4 * HOUR, 0.0),
    ])  # fmt: skip
    budget = [{"name": "a", "quota": {"h100": 1}, "budget": {"monthly": 5}}]
    page = metrics.page(
        ledger, Tariff(), declared(teams=budget, services=[]), now - HOUR, dict.fromkeys(metrics.HEALTH, 1)
    )
    store.close()
    return page


def node_without_price() -> list[Record]:
    return [Node(uid="x", name="x", pool="x", sku="H900", gpus=1, began=START)]


_METRIC = re.compile(
    r"(?<![\w:\"$=~.|])"
    r"((?:vllm:|plimsoll:)\w+(?::\w+)?|(?:DCGM|kube|kueue|keda|gpu_operator|container|plimsoll)_\w+|up|ALERTS)\b"
)


def asked(expr: str) -> set[str]:
    """Metrics that an expression names, without what stands in quotes or as a label."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    bare = re.sub(r"\b(by|on|group_left|group_right)\s*\([^()]*\)", "", bare)
    return set(_METRIC.findall(re.sub(r"\{[^{}]*\}", "", bare)))


def test_only_metrics_that_somebody_exports_are_asked_for() -> None:
    known = exported() | {each.record for each in RECORDS} | set().union(*ELSEWHERE.values())
    exprs = [rule.expr for groups in rules(METERED).values() for group in groups for rule in group.rules]
    exprs += [expr for board in BOARDS for expr in queries(board)]
    wanted = set().union(*map(asked, exprs))
    assert len(wanted) > 100
    assert wanted - known == set()
    assert set().union(*ELSEWHERE.values()) <= wanted  # nothing is excused that nobody asks for


@pytest.mark.parametrize("system", SOURCES)
def test_controllers_export_what_is_asked_of_them(system: str) -> None:
    """Their own source, where the lab's programs were built from it."""
    pattern, file, prefix = SOURCES[system]
    cache = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod")
    found = sorted(cache.glob(f"{pattern}/{file}"))
    if not found:
        pytest.skip(f"no source of {system} in the cache of Go modules")
    source = found[-1].read_text()
    for metric in ELSEWHERE[system]:
        title = re.sub(f"^{prefix}", "", metric).removesuffix("_bucket")
        assert re.search(rf'Name:\s+"{title}"', source), metric


def test_the_operator_counts_what_rules_ask_of_the_exporter() -> None:
    """The pillars do not know each other; what one asks for the other must have in its file of counters."""
    counted = set(re.findall(r"^(DCGM_\w+)", counters(), re.MULTILINE))
    platform = declared()
    exprs = [rule.expr for groups in rules(platform).values() for group in groups for rule in group.rules]
    wanted = {name for expr in exprs for name in asked(expr) if name.startswith("DCGM_")}
    since = {field.new for field in FIELDS if field.new} | {"DCGM_FI_DEV_FB_CAPACITY_BYTES"}
    assert wanted - since <= counted


AROUND = {"OBS-05", "OBS-10"}  # the exporter's own memory, kube-state-metrics: not this pillar's to make


def test_the_pillars_own_checks_find_nothing_on_what_it_renders() -> None:
    """Beside the exporter, a Prometheus that takes all, and exporters of either generation."""
    server = thing("monitoring.coreos.com/v1", "Prometheus", "main", "monitoring",
                   spec={f"{each}Selector": {} for each in ("serviceMonitor", "podMonitor", "rule")})  # fmt: skip
    for version in ("4.5.2-4.8.2", "4.7.1-4.9.0"):
        labelled = {"app": "nvidia-dcgm-exporter"}
        pod = {
            "metadata": {"labels": labelled},
            "spec": {"containers": [{"name": "e", "image": f"nvcr.io/nvidia/k8s/dcgm-exporter:{version}-ubuntu22.04"}]},
        }
        exporter = thing("apps/v1", "DaemonSet", "nvidia-dcgm-exporter", "gpu-operator", spec={"template": pod},
                         status={"desiredNumberScheduled": 1, "numberReady": 1})  # fmt: skip
        service = thing("v1", "Service", "nvidia-dcgm-exporter", "gpu-operator", labels=labelled,
                        spec={"selector": labelled})  # fmt: skip
        objects = [*render(declared()).objects, server, exporter, service]
        wanted = [each for each in all_checks() if each.id.startswith("OBS-") or each.id == "GPU112"]
        found = review(snapshot({"objects": objects}), wanted)
        assert [(each.check.id, each.finding.title) for each in found.failures if each.check.id not in AROUND] == []
        assert {"OBS-03", "OBS-04", "OBS-11", "OBS-14", "GPU112"} <= set(found.verdicts)


def test_first_things_are_on_the_fleet_board() -> None:
    shown = {panel.title for panel in BOARDS[0].panels}
    assert {"GPU memory", "Temperature", "Power", "Queue length", "CPU of GPU nodes", "Memory of GPU nodes"} <= shown


@pytest.mark.parametrize(("currency", "unit"), [("EUR", "currencyEUR"), ("XAU", "currency:XAU ")])
def test_money_is_in_the_currency_of_the_bills(currency: str, unit: str) -> None:
    of = declared(
        observability={"costs": {"currency": currency}, "meter": {"image": "registry.example.com/plimsoll:1"}}
    )
    money = next(each for each in boards.boards(of) if each.uid == "plimsoll-cost")
    assert unit in {panel.unit for panel in money.panels}
    assert not {panel.unit for panel in money.panels} & {"currencyUSD"}
