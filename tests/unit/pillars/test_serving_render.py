"""What is asked of a cluster for services: pods that start, drain and scale as the checks and the engine want it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.check.run import review
from plimsoll.kube.objects import Obj, get, items, mapping, text
from plimsoll.kube.served import flag
from plimsoll.pillars import all_checks
from plimsoll.pillars.render import render as render_all
from plimsoll.pillars.serving.render import render
from plimsoll.pillars.serving.render_network import prometheus_namespace
from plimsoll.plan.model import Part
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import SpecError
from tests.world import snapshot

EXAMPLES = Path(__file__).parents[3] / "examples"
H100 = {"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"min": 2, "max": 4}}
CHAT = {"name": "chat", "team": "web", "model": "org/chat-8b", "pool": "h100"}
# KEDA is not among what a pillar renders as objects
ELSEWHERE = {"V45"}


def platform(*services: dict[str, Any], pools: tuple[dict[str, Any], ...] = (H100,), **more: Any) -> Platform:
    team = {"name": "web", "quota": {"h100": 16}} if "teams" not in more else None
    teams = more.pop("teams", [team])
    return from_mapping({"pools": list(pools), "teams": teams, "services": list(services), **more})


def one(*, pools: tuple[dict[str, Any], ...] = (H100,), more: dict[str, Any] | None = None, **service: Any) -> Part:
    return render(platform(CHAT | service, pools=pools, **(more or {})))


def of(part: Part, kind: str, name: str = "") -> Obj:
    return next(each for each in part.objects if each["kind"] == kind and name in ("", each["metadata"]["name"]))


def has(part: Part, kind: str) -> bool:
    return any(each["kind"] == kind for each in part.objects)


def pod(part: Part) -> Obj:
    return mapping(of(part, "Deployment"), "spec", "template", "spec")


def server(part: Part) -> Obj:
    return items(pod(part), "containers")[0]


def args(part: Part) -> list[str]:
    found: list[str] = server(part)["args"]
    return found


def queries(part: Part) -> dict[str, str]:
    triggers = items(of(part, "ScaledObject"), "spec", "triggers")
    return {text(each, "name"): text(each, "metadata", "query") for each in triggers}


def said(part: Part, words: str) -> bool:
    return any(words in note for note in part.notes)


EVERYTHING = platform(
    CHAT | {"replicas": {"min": 1, "max": 3}},
    {**CHAT, "name": "cache", "scaleOn": "kv-cache", "replicas": {"min": 2, "max": 3}, "gpusPerReplica": 2},
    {**CHAT, "name": "wide", "engine": {"nodes": 2}, "gpusPerReplica": 16, "replicas": {"min": 1, "max": 2}},
    {**CHAT, "name": "vllm", "model": "pvc://weights/a", "pool": "cut", "unit": "3g.40gb", "queued": False},
    {**CHAT, "name": "turn", "model": "oci://registry.example.com/m:1", "pool": "turns",
     "replicas": {"min": 1, "max": 2}, "scaleOn": "queue"},
    {**CHAT, "name": "night", "model": "s3://bucket/m", "replicas": {"min": 0, "max": 2}, "scaleOn": "schedule",
     "schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2}]},
    pools=(
        H100 | {"nodes": {"min": 16, "max": 16}},
        {"name": "cut", "gpu": "A100-SXM4-80GB", "gpusPerNode": 8, "nodes": {"min": 1, "max": 1},
         "partition": {"mig": {"layout": {"3g.40gb": 2}, "strategy": "single"}}},
        {"name": "turns", "gpu": "L4", "gpusPerNode": 1, "nodes": {"min": 2, "max": 2},
         "partition": {"timeSlicing": {"replicas": 4}}},
    ),
    teams=[{"name": "web", "quota": {"h100": 64, "turns": 4}}],
)  # fmt: skip


def _declared() -> Iterator[Any]:
    yield pytest.param(EVERYTHING, id="everything")
    for path in sorted(EXAMPLES.glob("*/platform.yaml")):
        yield pytest.param(load(path.read_text(), str(path)), id=path.parent.name)


DECLARED = list(_declared())


@pytest.mark.parametrize("known", DECLARED)
def test_no_check_finds_anything(known: Platform) -> None:
    objects = render_all(known, ["serving"]).objects
    judged = review(snapshot({"objects": list(objects)}), all_checks(), platform=known)
    assert not judged.broken
    assert [
        (each.check.id, str(each.finding.object), each.finding.title)
        for each in judged.failures
        if each.check.id not in ELSEWHERE
    ] == []


@pytest.mark.parametrize("known", DECLARED)
def test_the_same_declaration_gives_the_same_objects_that_share_nothing(known: Platform) -> None:
    assert render(known) == render(known)
    for each in render(known).objects:
        assert "&id" not in yaml.safe_dump(each)


def test_without_services_there_is_nothing() -> None:
    assert render(platform()) == Part()


def test_what_a_service_consists_of() -> None:
    part = one(replicas={"min": 1, "max": 3})
    assert [each["kind"] for each in part.objects] == [
        "Deployment", "ServiceAccount", "Service", "PodDisruptionBudget", "NetworkPolicy", "ScaledObject",
    ]  # fmt: skip
    assert all(each["metadata"]["namespace"] == "web" for each in part.objects)
    assert [chart.name for chart in part.charts] == ["keda"]
    assert not has(one(more={"security": {"network": "open"}}), "NetworkPolicy")


def test_who_says_how_many_replicas() -> None:
    scaled = one(replicas={"min": 2, "max": 3})
    assert "replicas" not in of(scaled, "Deployment")["spec"]
    spec = of(scaled, "ScaledObject")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 3)
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"}
    fixed = one(replicas={"min": 2, "max": 2})
    assert of(fixed, "Deployment")["spec"]["replicas"] == 2
    assert not has(fixed, "ScaledObject")


def test_options_of_the_engine_and_whose_word_counts() -> None:
    part = one(gpusPerReplica=4, engine={"args": {"max_model_len": 8192, "port": 9000, "enforce-eager": True,
                                                  "enable-prefix-caching": False, "note": "$(HOME)"}})  # fmt: skip
    assert args(part) == [
        "--model=org/chat-8b", "--served-model-name=chat", "--port=9000", "--tensor-parallel-size=4",
        "--shutdown-timeout=45", "--max-model-len=8192", "--enforce-eager", "--no-enable-prefix-caching",
        "--note=$$(HOME)",
    ]  # fmt: skip
    assert server(part)["ports"] == [{"name": "http", "containerPort": 9000}]
    assert items(of(part, "NetworkPolicy"), "spec", "ingress")[0]["ports"] == [{"protocol": "TCP", "port": 9000}]
    own = one(gpusPerReplica=4, engine={"args": {"pipeline-parallel-size": 4}})
    assert not any("tensor" in word for word in args(own))
    assert not any("shutdown" in word for word in args(one(engine={"version": "0.17.1"})))


@pytest.mark.parametrize(
    ("slo", "given", "drain"),
    [({}, None, 45), ({"e2e": {"p99": "120s"}}, None, 120), ({"e2e": {"p50": "3h"}}, None, 600), ({}, 200, 200)],
)
def test_answers_under_way_are_finished_before_the_grace_is_over(
    slo: dict[str, Any], given: int | None, drain: int
) -> None:
    part = one(slo=slo, engine={"args": {} if given is None else {"shutdown-timeout": given}})
    pause = get(server(part), "lifecycle", "preStop", "sleep", "seconds")
    assert flag(server(part), "--shutdown-timeout") == str(drain)
    assert pod(part)["terminationGracePeriodSeconds"] == pause + drain + 30


def test_what_a_replica_holds() -> None:
    known = {each["metadata"]["name"]: each for each in render(EVERYTHING).objects if each["kind"] == "Deployment"}
    limits = {
        name: get(each, "spec", "template", "spec", "containers", 0, "resources", "limits")
        for name, each in known.items()
    }
    assert limits["chat"] == {"memory": "52Gi", "nvidia.com/gpu": "1"}
    assert limits["cache"] == {"memory": "96Gi", "nvidia.com/gpu": "2"}
    assert limits["vllm"] == {"memory": "32Gi", "nvidia.com/gpu": "1"}  # single strategy: one instance is one GPU
    assert limits["turn"] == {"memory": "16Gi", "nvidia.com/gpu.shared": "1"}
    turn = get(known["turn"], "spec", "template", "spec", "containers", 0)
    assert flag(turn, "--gpu-memory-utilization") == "0.22"  # four take turns on the same memory
    stated = server(one(cpu=3, memory="10Gi"))["resources"]
    assert stated["requests"] == {"cpu": "3", "memory": "10Gi", "nvidia.com/gpu": "1"}
    assert "cpu" not in stated["limits"]


def test_a_service_on_an_open_layout_must_say_what_a_replica_holds() -> None:
    pools = (H100 | {"gpu": "A100-SXM4-80GB", "partition": {"mig": {"layout": "auto"}}},)
    with pytest.raises(SpecError, match="must have a unit"):
        one(pools=pools, queued=False, more={"teams": [{"name": "web"}]})


@pytest.mark.parametrize(
    ("model", "given", "mounted", "outside"),
    [
        ("org/m", "org/m", None, True),
        ("hf://org/m", "org/m", None, True),
        ("/models/m", "/models/m", None, False),
        ("pvc://claim/a/b", "/models/a/b", {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}}, False),
        ("oci://host/m:1", "/models", {"image": {"reference": "host/m:1", "pullPolicy": "IfNotPresent"}}, False),
        ("s3://bucket/m", "s3://bucket/m", None, True),
    ],
)
def test_where_a_model_comes_from(model: str, given: str, mounted: Obj | None, outside: bool) -> None:
    part = one(model=model)
    assert args(part)[0] == f"--model={given}"
    volumes = {each["name"]: each for each in items(pod(part), "volumes")}
    assert volumes.get("model") == ({"name": "model"} | mounted if mounted else None)
    env = {each["name"]: each for each in server(part)["env"]}
    assert ("HF_TOKEN" in env) == (model.startswith(("org", "hf")))
    assert ("HF_HUB_OFFLINE" in env) == (not outside)
    if "HF_TOKEN" in env:
        key = get(env["HF_TOKEN"], "valueFrom", "secretKeyRef")
        assert key == {"name": "hf-token", "key": "token", "optional": True}
        assert said(part, "Secret web/hf-token")
    reached = [each for each in items(of(part, "NetworkPolicy"), "spec", "egress") if "ipBlock" in each["to"][0]]
    assert bool(reached) == outside
    if reached:
        assert "169.254.0.0/16" in reached[0]["to"][0]["ipBlock"]["except"]


def test_where_pods_go_and_as_whom() -> None:
    tainted = H100 | {"taints": [{"key": "nvidia.com/gpu"}, {"key": "a/b", "value": "c", "effect": "NoExecute"}]}
    part = one(pools=(tainted,))
    assert pod(part)["nodeSelector"] == {"plimsoll.dev/pool": "h100"}
    assert pod(part)["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "a/b", "operator": "Equal", "value": "c", "effect": "NoExecute"},
    ]
    assert pod(part)["serviceAccountName"] == of(part, "ServiceAccount")["metadata"]["name"]
    assert of(part, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod(part)["securityContext"]["runAsUser"] == 2000
    shift = pod(one(more={"cluster": {"provider": "openshift"}}))["securityContext"]
    assert "runAsUser" not in shift and shift["runAsNonRoot"] is True


def test_spot_is_tolerated_only_where_the_declaration_allows_it() -> None:
    part = one(pools=(H100 | {"capacity": "spot"},), more={"cluster": {"provider": "aks"}, "spot": {"never": []}})
    assert {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Equal", "value": "spot",
            "effect": "NoSchedule"} in pod(part)["tolerations"]  # fmt: skip


def test_queues_and_ranks() -> None:
    labels = of(one(), "Deployment")["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "default"
    assert labels["kueue.x-k8s.io/priority-class"] == "production"
    aside = one(queued=False)
    assert not any("kueue" in key for key in of(aside, "Deployment")["metadata"]["labels"])
    assert said(aside, "LocalQueue default takes every workload")
    renamed = {"queueing": {"localQueue": "gpus", "priorities": {}}}
    assert not said(one(queued=False, more=renamed), "LocalQueue")
    labels = of(one(more=renamed), "Deployment")["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "gpus" and "kueue.x-k8s.io/priority-class" not in labels


@pytest.mark.parametrize(
    ("quota", "most", "queued", "surge"),
    [(4, 3, True, 1), (4, 4, True, 0), (0, 4, False, 1), (28, 4, False, 0), (27, 4, False, 1)],
)
def test_a_new_version_starts_beside_the_old_one_only_with_gpus_to_spare(
    quota: int, most: int, queued: bool, surge: int
) -> None:
    teams = [{"name": "web", "quota": {"h100": quota}}]
    part = one(replicas={"min": 1, "max": most}, queued=queued, more={"teams": teams})
    rolling = get(of(part, "Deployment"), "spec", "strategy", "rollingUpdate")
    assert rolling == {"maxSurge": surge, "maxUnavailable": 1 - surge}
    assert said(part, "is away for a start") == (not surge)


def test_a_replica_that_spans_nodes() -> None:
    levels = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    pools = (H100 | {"nodes": {"min": 4, "max": 4}, "topology": {"levels": levels}},)
    part = one(pools=pools, engine={"nodes": 2}, gpusPerReplica=16, replicas={"min": 1, "max": 2},
               more={"teams": [{"name": "web", "quota": {"h100": 32}}]})  # fmt: skip
    group = of(part, "LeaderWorkerSet")["spec"]
    both = mapping(group, "leaderWorkerTemplate")
    first, other = (get(both, each, "spec", "containers", 0) for each in ("leaderTemplate", "workerTemplate"))
    assert both["size"] == 2 and both["restartPolicy"] == "RecreateGroupOnPodRestart"
    for option, value in {"--tensor-parallel-size": "8", "--pipeline-parallel-size": "2", "--nnodes": "2",
                          "--master-addr": "$(LWS_LEADER_ADDRESS)"}.items():  # fmt: skip
        assert flag(first, option) == flag(other, option) == value
    assert (flag(first, "--node-rank"), flag(other, "--node-rank")) == ("0", "$(LWS_WORKER_INDEX)")
    assert "--headless" in other["args"] and "--headless" not in first["args"]
    assert "readinessProbe" in first and "readinessProbe" not in other
    # the workers are there until the leader has answered
    assert get(other, "lifecycle", "preStop", "sleep", "seconds") >= 15 + 45
    assert get(other, "resources", "limits", "nvidia.com/gpu") == "8"
    near = get(both, "workerTemplate", "metadata", "annotations", "kueue.x-k8s.io/podset-preferred-topology")
    assert near == "topology.kubernetes.io/zone"
    assert of(part, "Service")["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    assert get(of(part, "ScaledObject"), "spec", "scaleTargetRef", "kind") == "LeaderWorkerSet"
    assert {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "chat"}}} in [
        peer for each in items(of(part, "NetworkPolicy"), "spec", "ingress") for peer in each["from"]
    ]
    keda, groups = part.charts
    assert keda.values["rbac"]["scaledRefKinds"][0]["kind"] == "leaderworkersets" and groups.name == "lws"
    unmanaged = one(pools=pools, engine={"nodes": 2}, gpusPerReplica=16, more={"cluster": {"manage": ["serving"]}})
    assert "annotations" not in get(unmanaged.objects[0], "spec", "leaderWorkerTemplate", "leaderTemplate", "metadata")


def test_what_a_service_grows_on() -> None:
    two = {"min": 1, "max": 2}
    assert list(queries(one(replicas=two, scaleOn="queue"))) == ["queue"]
    assert list(queries(one(replicas=two, scaleOn="kv-cache"))) == ["kv-cache", "queue"]
    slo = {"ttft": {"p50": "500ms", "p99": "5s"}, "itl": {}, "e2e": {"p95": "30s"}}
    asked = queries(one(replicas=two, slo=slo))
    assert list(asked) == ["ttft-p50", "ttft-p99", "e2e-p95", "queue"]
    assert "histogram_quantile(0.5," in asked["ttft-p50"] and "/ 0.5," in asked["ttft-p50"]
    assert 'vllm:e2e_request_latency_seconds_bucket{namespace="web",model_name="chat"}' in asked["e2e-p95"]
    windows = [{"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2}]
    part = one(replicas=two, scaleOn="schedule", schedule=windows)
    cron = items(of(part, "ScaledObject"), "spec", "triggers")[0]
    assert cron["type"] == "cron" and cron["metadata"]["desiredReplicas"] == "2"
    assert list(queries(part)) == ["window-1", "queue"]


def test_metrics_have_the_names_of_the_declared_version_and_model() -> None:
    old = one(replicas={"min": 1, "max": 2}, scaleOn="kv-cache", engine={"version": "0.8.5"})
    assert "vllm:gpu_cache_usage_perc" in queries(old)["kv-cache"]
    slow = one(replicas={"min": 1, "max": 2}, slo={"itl": {"p90": "50ms"}}, engine={"version": "0.10.1"})
    assert "vllm:time_per_output_token_seconds_bucket" in queries(slow)["itl-p90"]
    named = one(replicas={"min": 1, "max": 2}, engine={"args": {"served-model-name": 'a"b'}})
    assert 'model_name="a\\"b"' in queries(named)["queue"]


def test_the_queue_that_makes_it_grow_can_be_reached() -> None:
    def threshold(**engine: Any) -> str:
        part = one(replicas={"min": 1, "max": 2}, scaleOn="queue", engine={"args": engine})
        return str(get(of(part, "ScaledObject"), "spec", "triggers", 0, "metadata", "threshold"))

    assert threshold() == "32" and threshold(**{"max-num-seqs": 512}) == "32"
    assert threshold(**{"max-num-seqs": 10}) == "7" and threshold(**{"max-num-seqs": 1}) == "1"


def test_a_service_sleeps_only_if_something_wakes_it() -> None:
    awake = one(replicas={"min": 0, "max": 2})
    assert of(awake, "ScaledObject")["spec"]["minReplicaCount"] == 1
    assert said(awake, "nothing could wake it")
    windows = [{"start": "0 8 * * *", "end": "0 9 * * *", "replicas": 2}]
    part = one(replicas={"min": 0, "max": 2}, scaleOn="schedule", schedule=windows)
    spec = of(part, "ScaledObject")["spec"]
    assert spec["minReplicaCount"] == 0 and not said(part, "nothing could wake it")
    assert spec["cooldownPeriod"] >= 2 * spec["initialCooldownPeriod"] >= 1200
    assert spec["fallback"]["replicas"] == 1
    assert queries(part)["queue"].endswith('or (sum(kube_deployment_status_replicas_ready{namespace="web",'
                                           'deployment="chat"}) == 0)')  # fmt: skip


@pytest.mark.parametrize(
    ("url", "space"),
    [
        ("http://prometheus.monitoring:9090", "monitoring"),
        ("http://p.obs.svc:9090", "obs"),
        ("https://p.obs.svc.cluster.local", "obs"),
        ("http://127.96.0.90:9090", ""),
        ("https://prometheus.example.com", ""),
        ("http://prometheus:9090", ""),
    ],
)
def test_prometheus_may_ask_from_where_it_stands(url: str, space: str) -> None:
    known = platform(CHAT, observability={"prometheus": {"url": url}})
    assert prometheus_namespace(known) == space
    part = render(known)
    peers = items(of(part, "NetworkPolicy"), "spec", "ingress", 0, "from")
    assert len(peers) == (2 if space else 1)
    assert said(part, "does not tell Prometheus' namespace") == (not space)


_LABEL = re.compile(r"([a-z]([-a-z0-9]*[a-z0-9])?)\Z")


@settings(max_examples=60, deadline=None)
@given(
    name=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    nodes=st.sampled_from([1, 2]),
    scale=st.sampled_from(["slo", "queue", "kv-cache"]),
    shutdown=st.integers(0, 5000),
)
def test_names_fit_and_grace_covers_whatever_is_declared(name: str, nodes: int, scale: str, shutdown: int) -> None:
    part = one(name=name, gpusPerReplica=nodes, replicas={"min": 1, "max": 2}, scaleOn=scale,
               engine={"nodes": nodes, "args": {"shutdown-timeout": shutdown}})  # fmt: skip
    assert len({(each["kind"], each["metadata"]["name"]) for each in part.objects}) == len(part.objects)
    for each in part.objects:
        title = each["metadata"]["name"]
        assert len(title) <= (63 if each["kind"] in ("Service", "ScaledObject") else 253)
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())
        if each["kind"] == "Service":
            assert _LABEL.match(title)
        if each["kind"] == "LeaderWorkerSet":
            assert _LABEL.match(title) and len(f"{title}-999") + len("-0123456789") <= 63
    templates = [get(part.objects[0], "spec", "template")] if nodes == 1 else [
        get(part.objects[0], "spec", "leaderWorkerTemplate", each) for each in ("leaderTemplate", "workerTemplate")
    ]  # fmt: skip
    for each in templates:
        pause = get(each, "spec", "containers", 0, "lifecycle", "preStop", "sleep", "seconds")
        assert get(each, "spec", "terminationGracePeriodSeconds") > pause + shutdown
