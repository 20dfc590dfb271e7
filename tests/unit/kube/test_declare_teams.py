"""Teams, queueing and services: from Kueue, KEDA and vLLM to the sections of a declaration."""

from __future__ import annotations

import pytest

from plimsoll.kube.objects import Obj
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.queueing import Preemption
from plimsoll.spec.values import Duration
from tests.unit.kube.declaring import (
    A100,
    FLAVOR,
    H100,
    cluster_queue,
    declared,
    gpu_line,
    hundred,
    kueue,
    node,
    pod,
    said,
    server,
)


class TestTeams:
    def test_quota_loans_and_weight(self) -> None:
        a = cluster_queue("a", gpu_line(12, lendingLimit=4), cohortName="c", fairSharing={"weight": "2"})
        b = cluster_queue("b", gpu_line(4, borrowingLimit=100), cohortName="c")
        alone = cluster_queue("alone", gpu_line(8))
        locals_ = [kueue("LocalQueue", "q", {"clusterQueue": q}, s) for q, s in (("a", "a1"), ("a", "a2"), ("b", "b1"))]
        found = declared(*hundred("x", "y", "z"), FLAVOR, a, b, alone, *locals_)
        teams = {team.name: team for team in found.platform.teams}
        assert teams["a"].namespaces == ("a1", "a2")
        assert (teams["a"].quota, teams["a"].borrow, teams["a"].lend, teams["a"].weight) == (
            {"h100": 12},
            {"h100": 4},
            {"h100": 4},
            2,
        )
        assert (teams["b"].quota, teams["b"].borrow, teams["b"].lend) == ({"h100": 4}, {"h100": 4}, {})
        assert (teams["alone"].quota, teams["alone"].borrow, teams["alone"].lend) == ({"h100": 8}, {}, {"h100": 0})
        assert said(found, "a may borrow without limit")
        assert said(found, "no LocalQueue leads to ClusterQueue alone")

    def test_quota_above_capacity_is_cut_and_said(self) -> None:
        found = declared(*hundred("x"), FLAVOR, cluster_queue("a", gpu_line(6)), cluster_queue("b", gpu_line(6)))
        assert [team.quota for team in found.platform.teams] == [{"h100": 6}, {"h100": 2}]
        assert said(found, "team b has a quota of 6 there, declared 2")

    def test_a_flavor_of_several_pools_fills_them_in_turn(self) -> None:
        other = node("l", {"nvidia.com/gpu": "1"}, product="NVIDIA-L4", gpus="1", pool="l4")
        queue = cluster_queue("a", gpu_line(9), flavor="any")
        found = declared(*hundred("x"), other, kueue("ResourceFlavor", "any", {}), queue)
        assert found.platform.teams[0].quota == {"h100": 8, "l4": 1}
        assert said(found, "flavor any selects pools h100, l4")

    @pytest.mark.parametrize(
        ("flavor", "says"),
        [
            (None, "which does not exist"),
            (kueue("ResourceFlavor", "h100", {"nodeLabels": {"pool": "none"}}), "which selects no GPU node"),
        ],
    )
    def test_a_flavor_that_leads_nowhere(self, flavor: Obj | None, says: str) -> None:
        found = declared(*hundred("x"), *([flavor] if flavor else []), cluster_queue("a", gpu_line(8)))
        assert found.platform.teams[0].quota == {}
        assert said(found, says)

    def test_two_queues_of_one_namespace_are_one_team(self) -> None:
        locals_ = [kueue("LocalQueue", f"q{q}", {"clusterQueue": q}, "shared") for q in ("a", "b")]
        found = declared(
            *hundred("x"), FLAVOR, cluster_queue("a", gpu_line(2)), cluster_queue("b", gpu_line(3)), *locals_
        )
        assert [(team.name, team.quota) for team in found.platform.teams] == [("a", {"h100": 5})]
        assert said(found, "its quota is added to that team's")

    def test_who_holds_gpus_without_a_queue_is_a_team(self) -> None:
        mig = node(
            "m", {"nvidia.com/mig-1g.10gb": "56"}, **A100, **{"nvidia.com/mig-1g.10gb.count": "56", "pool": "mig"}
        )
        pods = [
            pod("a", "lab", "x", count=2),
            pod("b", "lab", "m", "nvidia.com/mig-1g.10gb", 3),
            pod("c", "lab", ""),
            pod("v", "kube-system", "x"),
            pod("k", "queued", "x", labels={"kueue.x-k8s.io/podset": "main"}),
        ]
        found = declared(*hundred("x"), mig, *pods)
        assert [(team.name, team.quota) for team in found.platform.teams] == [("lab", {"h100": 2, "mig": 3})]

    def test_several_units_are_told_apart(self) -> None:
        mig = node(
            "m", {}, pool="mig", **A100, **{"nvidia.com/mig-3g.40gb.count": "8", "nvidia.com/mig-2g.20gb.count": "8"}
        )
        found = declared(mig, pod("b", "lab", "m", "nvidia.com/mig-2g.20gb", 3))
        assert found.platform.teams[0].quota == {"mig": {"2g.20gb": 3}}

    def test_somebody_must_be_there(self) -> None:
        found = declared(*hundred("x"))
        assert [team.name for team in found.platform.teams] == ["default"]
        assert said(found, "team default stands for who will")


class TestQueueing:
    def config(self, text: str, version: str = "v0.19.2") -> list[Obj]:
        manager = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "m", "namespace": "kueue-system"},
            "spec": {"template": {"spec": {"containers": [{"image": f"registry.k8s.io/kueue/kueue:{version}"}]}}},
        }
        data = {"controller_manager_config.yaml": f"apiVersion: config.kueue.x-k8s.io/v1beta1\n{text}"}
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "kueue-system"},
            "data": data,
        }
        return [*hundred("x"), FLAVOR, manager, config]

    def test_settings(self) -> None:
        preemption = {"withinClusterQueue": "LowerOrNewerEqualPriority", "reclaimWithinCohort": "LowerPriority"}
        queue = cluster_queue("a", gpu_line(8), queueingStrategy="StrictFIFO", preemption=preemption, cohort="all")
        priorities = [
            {**kueue("WorkloadPriorityClass", name, None), "value": value}
            for name, value in (("low", -1), ("high", 9), ("no.t", 1))
        ]
        text = "fairSharing: {enable: true}\nwaitForPodsReady: {enable: true, timeout: 1h5m0s}\n"
        found = declared(*self.config(text, "v0.14.1"), queue, *priorities)
        queueing = found.platform.queueing
        assert queueing.version == "0.14.1"
        assert queueing.cohort == "all"
        assert queueing.order == "strict-fifo"
        assert queueing.fair_sharing is True
        assert queueing.preemption == Preemption(within_team="lower-or-newer-equal-priority", reclaim="lower-priority")
        assert queueing.priorities == {"high": 9, "low": -1}
        assert queueing.wait_for_pods_ready == Duration.read("65m")
        assert said(found, "WorkloadPriorityClass no.t is left out")

    @pytest.mark.parametrize(
        ("text", "version", "ready", "guessed"),
        [
            ("", "v0.19.0", "30m", False),
            ("", "v0.14.0", "10m", True),
            ("waitForPodsReady: {enable: false}\n", "v0.14.0", "10m", True),
            ("waitForPodsReady: {enable: true}\n", "v0.14.0", "5m", False),
            ("{not: yaml", "v0.19.0", "10m", False),
        ],
    )
    def test_wait_for_pods_ready(self, text: str, version: str, ready: str, guessed: bool) -> None:
        found = declared(*self.config(text, version), cluster_queue("a", gpu_line(8)))
        assert found.platform.queueing.wait_for_pods_ready == Duration.read(ready)
        assert said(found, "Kueue does not wait for pods") is guessed

    def test_no_kueue(self) -> None:
        found = declared(*hundred("x"))
        assert said(found, "no ClusterQueue with GPUs was found")


class TestServices:
    def test_what_a_vllm_deployment_says(self) -> None:
        args = [
            "serve",
            "meta-llama/Llama-3.1-8B",
            "--tensor-parallel-size=2",
            "--max-model-len",
            "8192",
            "--api-key",
            "hunter2",
            "--enable-prefix-caching",
            "--gpu-memory-utilization",
            "0.9",
            "--max-num-batched-tokens=4096",
        ]
        hpa = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "namespace": "s"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "chat"},
                "minReplicas": 2,
                "maxReplicas": 3,
                "metrics": [{"pods": {"metric": {"name": "vllm:gpu_cache_usage_perc"}}}],
            },
        }
        found = declared(
            *hundred("x"),
            server("chat", "s", args, 2, replicas=2),
            hpa,
            pod("p", "s", "x", count=2, labels={"app": "chat"}),
        )
        service = found.platform.services[0]
        assert (service.model, service.engine.version) == ("meta-llama/Llama-3.1-8B", "0.11.0")
        assert service.engine.args == {
            "tensor-parallel-size": 2,
            "max-model-len": 8192,
            "enable-prefix-caching": True,
            "gpu-memory-utilization": 0.9,
            "max-num-batched-tokens": 4096,
        }
        assert (service.replicas.min, service.replicas.max, service.gpus_per_replica) == (2, 3, 2)
        assert (service.scale_on, service.queued, service.pool, service.team) == ("kv-cache", False, "h100", "s")
        assert "hunter2" not in to_yaml(found.platform) + "".join(found.guesses)
        assert found.platform.teams[0].quota == {}

    def test_a_service_runs_before_quotas_are_cut_and_grows_after(self) -> None:
        queue = cluster_queue("a", gpu_line(8))
        found = declared(*hundred("x"), FLAVOR, queue, server("chat", "s", ["--model=m"], 2, replicas=1))
        assert found.platform.teams[0].quota == {"h100": 6}
        assert found.platform.services[0].replicas.max == 1

    def test_a_queued_service_counts_against_its_teams_quota(self) -> None:
        queue = cluster_queue("a", gpu_line(4))
        local = kueue("LocalQueue", "q", {"clusterQueue": "a"}, "s")
        chat = server("chat", "s", ["--model=m"], 2, replicas=2)
        chat["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "q"}
        service = declared(*hundred("x"), FLAVOR, queue, local, chat).platform.services[0]
        assert (service.queued, service.replicas.min, service.replicas.max) == (True, 2, 2)
        chat["spec"]["replicas"] = 3
        found = declared(*hundred("x"), FLAVOR, queue, local, chat)
        assert found.platform.services[0].queued is False
        assert said(found, "the quota of team a does not hold its least")

    def test_a_cron_trigger_is_a_schedule(self) -> None:
        trigger = {
            "type": "cron",
            "metadata": {
                "start": "0 8 * * *",
                "end": "0 18 * * *",
                "timezone": "Europe/Berlin",
                "desiredReplicas": "3",
            },
        }
        scaled = {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "c", "namespace": "s"},
            "spec": {"scaleTargetRef": {"name": "chat"}, "maxReplicaCount": 2, "triggers": [trigger]},
        }
        service = declared(*hundred("x"), server("chat", "s", ["--model", "m"]), scaled).platform.services[0]
        assert service.scale_on == "schedule"
        assert [(each.start, each.timezone, each.replicas) for each in service.schedule] == [
            ("0 8 * * *", "Europe/Berlin", 2)
        ]
        assert (service.replicas.min, service.replicas.max) == (0, 2)

    def test_a_service_on_spot_is_declared_with_the_rule_that_allows_it(self) -> None:
        spot = node("x", {"nvidia.com/gpu": "8"}, pool="h", **H100, **{"karpenter.sh/capacity-type": "spot"})
        found = declared(spot, server("chat", "s", ["--model=m"]))
        assert found.platform.spot.never == ()
        assert said(found, "there are services on spot capacity: chat")

    def test_what_does_not_fit_is_left_out_and_said(self) -> None:
        found = declared(
            *hundred("x"), server("huge", "s", ["--model=m"], 16), server("none", "s", ["--tensor-parallel-size=4"])
        )
        assert [service.name for service in found.platform.services] == ["none"]
        assert said(found, "service huge asks for more than 1 nodes of pool h100 have")
        assert said(found, "service none: its command line names no model")
        assert said(found, "service none: it starts 4 ranks on 1 GPUs")
