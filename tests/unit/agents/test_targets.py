"""Which pods are read: exporters and model servers that are ready, and no tenant's word on his own use."""

from __future__ import annotations

import pytest

from plimsoll.agents.meter.scrape import Targets
from plimsoll.kube.objects import Obj


def pod(space: str, *, ready: str = "True", image: str = "dcgm", phase: str = "Running", **labels: str) -> Obj:
    container = {"name": "main", "image": image, "ports": [{"containerPort": 9401}]}
    return {
        "metadata": {"name": "one", "namespace": space, "labels": {k.replace("_", "-"): v for k, v in labels.items()}},
        "spec": {"nodeName": "n", "containers": [container]},
        "status": {"phase": phase, "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]},
    }


def read(found: Obj, tenants: tuple[str, ...] = ("red",), *, gone: bool = False) -> list[tuple[str, int, str, str]]:
    targets = Targets(tenants)
    targets.take(found, gone=gone)
    return [(each.host, each.port, each.node, each.pod) for each in targets.all()]


@pytest.mark.parametrize("app", ["dcgm-exporter", "nvidia-dcgm-exporter"])
def test_an_exporter_is_read_on_its_own_port(app: str) -> None:
    assert read(pod("gpu-operator", app=app)) == [("10.0.0.1", 9401, "n", "gpu-operator/one")]


def test_a_team_does_not_tell_what_it_is_billed_by() -> None:
    assert read(pod("red", app="dcgm-exporter")) == []
    assert read(pod("red", app="dcgm-exporter"), ()) != []


def test_a_teams_model_server_is_read() -> None:
    assert read(pod("red", image="vllm/vllm-openai:v0.11.0"))


@pytest.mark.parametrize("how", [{"ready": "False"}, {"phase": "Succeeded"}])
def test_what_does_not_answer_is_not_asked(how: dict[str, str]) -> None:
    assert read(pod("gpu-operator", app="dcgm-exporter", **how)) == []


def test_what_is_gone_is_forgotten() -> None:
    targets, exporter = Targets(), pod("gpu-operator", app="dcgm-exporter")
    targets.take(exporter, gone=False)
    targets.take(exporter, gone=True)
    assert targets.all() == []
