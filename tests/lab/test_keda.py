"""The real KEDA and the real autoscaler in the lab, on what the real Prometheus scrapes from a fake vLLM."""

from __future__ import annotations

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.objects import Obj, condition, get, text
from tests.lab.conftest import Lab

SCALED = "keda.sh/v1alpha1/ScaledObject"
DEMAND = "lab.plimsoll.dev/requests-per-second"


def _server(space: str) -> Obj:
    labels = {"app": "chat"}
    container = {
        "name": "vllm",
        "image": "registry.example.com/vllm/vllm-openai@sha256:" + "0" * 64,
        "args": ["--model", "/models/llama", "--served-model-name", "chat"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "namespace": space, "labels": labels, "annotations": {DEMAND: "0"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                    "containers": [container],
                },
            },
        },
    }


def _scaled(space: str, address: str) -> Obj:
    query = (
        f'sum(vllm:num_requests_waiting{{namespace="{space}"}}) + sum(vllm:num_requests_running{{namespace="{space}"}})'
    )
    down = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}]}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "chat", "namespace": space},
        "spec": {
            "scaleTargetRef": {"name": "chat"},
            "minReplicaCount": 1,
            "maxReplicaCount": 4,
            "pollingInterval": 2,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": down}}},
            "triggers": [
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": {"serverAddress": address, "query": query, "threshold": "4"},
                }
            ],
        },
    }


def _prometheus(lab: Lab) -> str:
    service = lab.client.get("v1/Service", "prometheus", "monitoring")
    return f"http://{text(service, 'spec', 'clusterIP')}:9090"


def test_a_service_follows_its_queue_up_and_down(lab: Lab, space: str) -> None:
    lab.client.apply(_server(space))
    lab.wait("apps/v1/Deployment", "chat", space, lambda it: get(it, "status", "readyReplicas") == 1)
    lab.client.apply(_scaled(space, _prometheus(lab)))
    lab.wait(SCALED, "chat", space, lambda it: text(condition(it or {}, "Ready"), "status") == "True")
    lab.client.patch("apps/v1/Deployment", "chat", {"metadata": {"annotations": {DEMAND: "40"}}}, space)
    lab.wait("apps/v1/Deployment", "chat", space, lambda it: get(it, "status", "readyReplicas") == 4, patience=90)
    lab.client.patch("apps/v1/Deployment", "chat", {"metadata": {"annotations": {DEMAND: "0"}}}, space)
    lab.wait("apps/v1/Deployment", "chat", space, lambda it: get(it, "status", "replicas") == 1, patience=180)


def test_its_webhook_refuses_a_second_scaler_of_one_target(lab: Lab, space: str) -> None:
    lab.client.apply(_server(space))
    lab.client.apply(_scaled(space, _prometheus(lab)))
    second = _scaled(space, _prometheus(lab))
    second["metadata"]["name"] = "chat-again"
    with pytest.raises(ClusterError, match="already"):
        lab.client.create(second)
