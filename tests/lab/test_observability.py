"""Rules and dashboards on the lab's real Prometheus: what a busy cluster shows on each panel."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from plimsoll.kube.objects import Obj
from plimsoll.lab.run.settings import Folder
from plimsoll.pillars.observability.pack.boards import boards
from plimsoll.pillars.observability.pack.pack import rules
from plimsoll.pillars.observability.render_rules import rule_file
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from tests.lab.conftest import PRACTICE, Lab
from tests.unit.pillars.test_observability_render import ELSEWHERE, asked, filled

QUIET = {
    "Errors the driver reported": "no GPU of a healthy lab has one",
    "Pods that wait for a node": "every pod here has its node",
    "Operands that do not run": "all of them run",
    "Pods that are being lost": "no node is taken back",
    "Nodes that went": "no node went within the hour",
    "Devices held and idle": "nothing has been held for an hour",
}
"""Panels that are rightly empty here, each with the reason."""
PATIENCE = 90.0  # seconds until two scrapes, and two rounds of rules that build on each other, are through


def platform(space: str) -> Platform:
    """That of examples/practice, with one team and service in a namespace of the test."""
    declared = yaml.safe_load((PRACTICE / "platform.yaml").read_text())
    declared["teams"] = [{"name": "research", "namespaces": [space], "quota": {"h100": 16}}]
    declared["services"] = [{**declared["services"][0], "team": "research", "slo": {"e2e": {"p99": "9s"}}}]
    declared["spot"] = {"pools": ["h100-spot"], "fallback": ["h100"], "never": []}
    return from_mapping(declared)


def work(space: str) -> list[Obj]:
    """A training pod on a whole GPU, one on a MIG instance, and a server of a model with some load."""
    pods = [_pod(space, "train", {"nvidia.com/gpu": "2"}), _pod(space, "slice", {"nvidia.com/mig-1g.10gb": "1"})]
    labels = {"app.kubernetes.io/name": "chat"}
    container = {
        "name": "vllm",
        "image": "registry.example.com/vllm/vllm-openai@sha256:" + "0" * 64,
        "args": ["--model", "/models/llama", "--served-model-name", "chat"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
    }
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    load = {"lab.plimsoll.dev/requests-per-second": "3", "lab.plimsoll.dev/capacity-per-replica": "5"}
    server = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "namespace": space, "labels": labels, "annotations": load},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"tolerations": tolerations, "containers": [container]},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "chat", "namespace": space, "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
    }
    return [*pods, server, service]


def _pod(space: str, name: str, devices: dict[str, str]) -> Obj:
    asked_for = {"cpu": "4", "memory": "16Gi", **devices}
    container = {
        "name": "main",
        "image": "registry.example.com/train@sha256:" + "0" * 64,
        "resources": {"requests": asked_for, "limits": devices | {"memory": "16Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "annotations": {"lab.plimsoll.dev/gpu-utilisation": "0.7"}},
        "spec": {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "containers": [container]},
    }


class Prometheus:
    """The lab's, through its door."""

    def __init__(self, url: str, folder: Folder) -> None:
        self._url = url
        self._rules = folder.root / "prometheus" / "rules"

    def ask(self, query: str) -> list[Any]:
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310  loopback
            found: list[Any] = json.load(answer)["data"]["result"]
        return found

    def load(self, declared: Platform) -> None:
        """Give it the rules of a declaration."""
        for name, groups in rules(declared).items():
            (self._rules / f"{name}.yml").write_text(rule_file(groups))
        self.reload()

    def forget(self) -> None:
        for path in self._rules.glob("plimsoll-*.yml"):
            path.unlink()
        self.reload()

    def reload(self) -> None:
        request = urllib.request.Request(f"{self._url}/-/reload", method="POST")  # noqa: S310
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310

    def wait(self, query: str) -> list[Any]:
        until = time.monotonic() + PATIENCE
        while not (found := self.ask(query)):
            assert time.monotonic() < until, f"{query} shows nothing"
            time.sleep(1.0)
        return found


@pytest.fixture
def prometheus(lab: Lab) -> Iterator[Prometheus]:
    served = Prometheus(f"http://127.0.0.1:{lab.state.doors['prometheus']}", lab.folder)
    yield served
    served.forget()


def test_every_panel_shows_something_or_is_explained(lab: Lab, space: str, prometheus: Prometheus) -> None:
    declared = platform(space)
    for obj in work(space):
        lab.client.apply(obj)
    prometheus.load(declared)
    for query in (
        "plimsoll:team_gpu_busy:ratio",
        "plimsoll:pool_gpu_held:devices > 0",
        "plimsoll:service_ttft:seconds",
    ):
        prometheus.wait(query)
    until = time.monotonic() + PATIENCE
    while (silent := unexplained(prometheus, declared)) and time.monotonic() < until:
        time.sleep(1.0)  # an increase wants two scrapes
    assert silent == []
    assert set(QUIET) <= {panel.title for board in boards(declared) for panel in board.panels}


def unexplained(prometheus: Prometheus, declared: Platform) -> list[str]:
    """Panels with an empty query that is neither excused nor asks for what the lab does not export."""
    absent = set().union(*ELSEWHERE.values()) - {"up", "ALERTS"}
    silent = ("plimsoll:queue_", "plimsoll:cohort_")  # made of Kueue's metrics
    found = []
    for board in boards(declared):
        for panel in board.panels:
            for query in panel.queries:
                wanted = asked(filled(query.expr))
                excused = wanted & absent or any(name.startswith(silent) for name in wanted)
                if not excused and panel.title not in QUIET and not prometheus.ask(filled(query.expr)):
                    found.append(f"{board.title}: {panel.title}: {query.expr}")
    return found
