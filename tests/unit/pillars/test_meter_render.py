"""The meter as it is rendered: what it may, where it writes, and that nothing is rendered that cannot run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from plimsoll.agents.meter import watches
from plimsoll.cli import agent_meter
from plimsoll.cost.month import limits
from plimsoll.cost.price import Tariff
from plimsoll.kube.objects import Obj, get, items, name, namespace
from plimsoll.pillars.observability import render_meter, render_meter_node
from plimsoll.pillars.observability.render import render
from plimsoll.pillars.security.render_homes import objects as homes
from plimsoll.plan.local import changes
from plimsoll.plan.model import HOME, marked
from plimsoll.spec import derive
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from plimsoll.spec.settle import settled
from tests.platforms import platforms
from tests.unit.pillars.test_observability_render import declared

IMAGE = "registry.acme.example/plimsoll@sha256:" + "0" * 64
SHARED = {"postgresql": {"secretName": "ledger", "key": "url"}}


def metered(mode: str = "cluster", ledger: dict[str, Any] | None = None, **more: Any) -> Platform:
    meter = {"mode": mode, "image": IMAGE, "ledger": ledger or {}}
    return declared(observability={"meter": meter, **more.pop("observability", {})}, **more)


def ours(platform: Platform) -> dict[str, Obj]:
    return {
        f"{each['kind']}/{name(each)}": each
        for each in render(platform).objects
        if name(each).startswith(("plimsoll-meter", "plimsoll-nodes"))
    }


def pod(found: dict[str, Obj], workload: str) -> Obj:
    spec: Obj = found[workload]["spec"]["template"]["spec"]
    return spec


def container(found: dict[str, Obj], workload: str) -> Obj:
    (only,) = pod(found, workload)["containers"]
    return dict(only)


COMMON = {"ServiceAccount/plimsoll-meter", "ClusterRole/plimsoll-meter", "ClusterRoleBinding/plimsoll-meter",
          "ConfigMap/plimsoll-meter", "Service/plimsoll-meter", "ServiceMonitor/plimsoll-meter"}  # fmt: skip


def test_without_an_image_there_is_no_meter() -> None:
    assert ours(declared()) == {}
    assert any("observability.meter asks for one" in note for note in render(declared()).notes)
    assert derive.meter_namespace(declared()) == ""


def test_a_file_has_one_pod_and_a_volume_that_outlives_it() -> None:
    found = ours(metered(ledger={"storage": "50Gi", "storageClass": "gp3"}))
    assert set(found) == COMMON | {"StatefulSet/plimsoll-meter"}
    (claim,) = found["StatefulSet/plimsoll-meter"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert claim["spec"]["storageClassName"] == "gp3"
    mounts = {
        each["name"]: each["mountPath"] for each in container(found, "StatefulSet/plimsoll-meter")["volumeMounts"]
    }
    env = {each["name"]: each.get("value", "") for each in container(found, "StatefulSet/plimsoll-meter")["env"]}
    assert env["PLIMSOLL_LEDGER"].startswith(f"{mounts[claim['metadata']['name']]}/")
    plain = ours(metered())["StatefulSet/plimsoll-meter"]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert "storageClassName" not in plain  # "" would mean: none at all
    assert plain["resources"]["requests"]["storage"] == "20Gi"


def test_the_address_of_a_database_is_named_and_never_held() -> None:
    found = ours(metered(ledger=SHARED))
    assert set(found) == COMMON | {"Deployment/plimsoll-meter"}
    assert get(found["Deployment/plimsoll-meter"], "spec", "strategy", "type") == "Recreate"
    env = {each["name"]: each for each in container(found, "Deployment/plimsoll-meter")["env"]}
    assert env["PLIMSOLL_LEDGER"] == {
        "name": "PLIMSOLL_LEDGER",
        "valueFrom": {"secretKeyRef": {"name": "ledger", "key": "url"}},
    }
    assert "--ledger" not in container(found, "Deployment/plimsoll-meter")["args"]  # processes are seen by many
    assert any(
        f"kubectl -n {HOME} create secret generic ledger" in note for note in render(metered(ledger=SHARED)).notes
    )


def test_its_command_line_is_one_that_the_meter_takes() -> None:
    known = {name for each in agent_meter.command.params for name in each.opts}
    variables = {each.envvar for each in agent_meter.command.params}
    for mode, workload in (("cluster", "Deployment/plimsoll-meter"), ("node", "DaemonSet/plimsoll-meter-node")):
        only = container(ours(metered(mode, SHARED)), workload)
        verb, what, *words = only["args"]
        assert (verb, what) == ("agent", agent_meter.command.name)
        assert {word for word in words if word.startswith("-")} <= known
        agent_meter.command.make_context("meter", [word.replace("$(NODE_NAME)", "n") for word in words]).close()
        assert "PLIMSOLL_LEDGER" in variables & {each["name"] for each in only["env"]}


def test_its_role_reads_what_it_records_and_no_secret() -> None:
    for mode, ledger in (("cluster", None), ("node", SHARED)):
        rules = ours(metered(mode, ledger))["ClusterRole/plimsoll-meter"]["rules"]
        assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
        read = {resource for rule in rules for resource in rule["resources"] if "watch" in rule["verbs"]}
        assert read == {kind.plural for kind in (*watches.NEEDED, *watches.OPTIONAL)}
        groups = {group for rule in rules for group in rule["apiGroups"]}
        assert groups >= {kind.group for kind in (*watches.NEEDED, *watches.OPTIONAL)}
        read |= {resource for rule in rules for resource in rule["resources"]}
        assert not read & {"secrets", "configmaps", "*", "serviceaccounts", "nodes/proxy"}
        assert not any("*" in rule["apiGroups"] for rule in rules)


def test_its_pod_keeps_the_restricted_standard_of_its_namespace() -> None:
    """Pod Security, restricted: what the API server asks of every pod in HOME."""
    platform = metered()
    (space,) = [each for each in homes(platform) if name(each) == HOME and each["kind"] == "Namespace"]
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    found = ours(platform)
    assert namespace(found["StatefulSet/plimsoll-meter"]) == HOME
    spec, only = pod(found, "StatefulSet/plimsoll-meter"), container(found, "StatefulSet/plimsoll-meter")
    assert not {"hostPID", "hostNetwork", "hostIPC"} & set(spec)
    assert all({"configMap", "emptyDir"} & set(volume) for volume in spec["volumes"])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (
        "runAsUser"
        not in pod(ours(metered(cluster={"provider": "openshift"})), "StatefulSet/plimsoll-meter")["securityContext"]
    )


def test_on_nodes_it_sees_the_driver_and_the_kubelet_and_has_a_namespace_that_lets_it() -> None:
    platform = metered("node", SHARED)
    found = ours(platform)
    assert set(found) == COMMON | {
        "Deployment/plimsoll-meter", "DaemonSet/plimsoll-meter-node", "Namespace/plimsoll-nodes",
        "PodMonitor/plimsoll-meter-node",
    }  # fmt: skip
    standard = found["Namespace/plimsoll-nodes"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert standard == "privileged"
    inside = {key for key, each in found.items() if namespace(each) == "plimsoll-nodes"}
    assert inside == {"ServiceAccount/plimsoll-meter", "ConfigMap/plimsoll-meter", "Service/plimsoll-meter",
                      "Deployment/plimsoll-meter", "DaemonSet/plimsoll-meter-node"}  # fmt: skip
    (subject,) = found["ClusterRoleBinding/plimsoll-meter"]["subjects"]
    assert subject["namespace"] == derive.meter_namespace(platform) == "plimsoll-nodes"
    spec, only = pod(found, "DaemonSet/plimsoll-meter-node"), container(found, "DaemonSet/plimsoll-meter-node")
    assert spec["hostPID"] is True
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert only["args"][-4:] == ["--node", "$(NODE_NAME)", "--costs-every", "0"]
    env = {each["name"]: each for each in only["env"]}
    assert env["NODE_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert env["NVIDIA_VISIBLE_DEVICES"]["value"] == "all"
    (host,) = [volume for volume in spec["volumes"] if "hostPath" in volume]
    (mount,) = [each for each in only["volumeMounts"] if each["name"] == host["name"]]
    assert mount["readOnly"] is True
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert "privileged" not in only["securityContext"]
    watching = pod(found, "Deployment/plimsoll-meter")
    assert "hostPID" not in watching  # the one beside it sees no node
    assert "runtimeClassName" not in watching


def test_every_pool_has_its_meters() -> None:
    platform = metered("node", SHARED)
    spec = pod(ours(platform), "DaemonSet/plimsoll-meter-node")
    terms = get(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    asked = [{each["key"]: each["values"] for each in term["matchExpressions"]} for term in terms]
    assert asked == [{key: [value] for key, value in pool.selector.items()} for pool in platform.pools]


@pytest.mark.parametrize(
    ("cluster", "driver", "runtime"),
    [
        ({"provider": "generic"}, {}, "nvidia"),
        ({"provider": "aks"}, {}, "nvidia-container-runtime"),
        ({"provider": "gke"}, {"managedBy": "cloud"}, ""),
        ({"provider": "gke"}, {"managedBy": "operator"}, "nvidia"),
    ],
)
def test_the_driver_comes_by_the_runtime_class_of_the_cloud(
    cluster: dict[str, Any], driver: dict[str, Any], runtime: str
) -> None:
    platform = metered("node", SHARED, cluster=cluster, operator={"driver": driver})
    spec = pod(ours(platform), "DaemonSet/plimsoll-meter-node")
    assert spec.get("runtimeClassName", "") == runtime
    assert any("GKE" in note for note in render(platform).notes) == (not runtime)


def test_its_declaration_travels_and_another_one_makes_another_pod() -> None:
    teams = [{"name": "research", "quota": {"h100": 8}, "budget": {"monthly": 5}},
             {"name": "serving", "namespaces": ["chat", "search"], "quota": {"h100": 4}}]  # fmt: skip
    platform = metered(teams=teams, spot={"checkpoint": {"interval": "15m"}})
    text = ours(platform)["ConfigMap/plimsoll-meter"]["data"]["platform.yaml"]
    read = load(text, "platform.yaml")
    assert (read.pools, read.cluster, read.observability) == (platform.pools, platform.cluster, platform.observability)
    assert derive.team_of_namespace(read) == derive.team_of_namespace(platform)
    assert limits(read) == limits(platform) == {"research": 5_000_000}
    assert read.spot.checkpoint == platform.spot.checkpoint
    assert Tariff.of(read) == Tariff.of(platform)

    def mark(of: Platform) -> str:
        seen = get(ours(of)["StatefulSet/plimsoll-meter"], "spec", "template", "metadata", "annotations")
        return str(seen["plimsoll.dev/declaration"])

    teams[0]["quota"] = {"h100": 4}  # is nothing to the meter
    assert mark(platform) == mark(metered(teams=teams, spot={"checkpoint": {"interval": "15m"}}))
    assert mark(platform) != mark(metered(teams=teams, spot={"checkpoint": {"interval": "20m"}}))


def test_prometheus_finds_it_with_and_without_the_operator() -> None:
    monitor = ours(metered())["ServiceMonitor/plimsoll-meter"]
    service = ours(metered())["Service/plimsoll-meter"]
    assert get(monitor, "spec", "selector", "matchLabels").items() <= service["metadata"]["labels"].items()
    (endpoint,), (port,) = items(monitor, "spec", "endpoints"), items(service, "spec", "ports")
    assert endpoint["port"] == port["name"]
    assert endpoint["honorLabels"] is True
    (listening,) = container(ours(metered()), "StatefulSet/plimsoll-meter")["ports"]
    assert listening["name"] == port["targetPort"]
    assert listening["containerPort"] == port["port"] == render_meter.PORT
    plain = metered(observability={"prometheus": {"operator": False}})
    assert "ServiceMonitor/plimsoll-meter" not in ours(plain)
    seen = get(ours(plain)["StatefulSet/plimsoll-meter"], "spec", "template", "metadata", "annotations")
    assert seen["prometheus.io/port"] == str(render_meter.PORT)


def test_selectors_name_pods_of_their_own_alone() -> None:
    found = ours(metered("node", SHARED))
    one = get(found["Deployment/plimsoll-meter"], "spec", "template", "metadata", "labels")
    many = get(found["DaemonSet/plimsoll-meter-node"], "spec", "template", "metadata", "labels")
    for workload, own, other in (
        ("Deployment/plimsoll-meter", one, many),
        ("DaemonSet/plimsoll-meter-node", many, one),
    ):
        selector = get(found[workload], "spec", "selector", "matchLabels")
        assert selector.items() <= own.items()
        assert not selector.items() <= other.items()
    asked = get(found["Service/plimsoll-meter"], "spec", "selector")
    assert asked.items() <= one.items()
    assert not asked.items() <= many.items()  # cost is told once
    assert get(found["PodMonitor/plimsoll-meter-node"], "spec", "selector", "matchLabels") == render_meter_node.LABELS


def test_a_cluster_in_a_file_that_has_it_shows_no_change() -> None:
    """With what an API server adds by itself. Source: the defaults of the API types."""
    for platform, workload in (
        (metered(), "StatefulSet/plimsoll-meter"),
        (metered("node", SHARED), "DaemonSet/plimsoll-meter-node"),
    ):
        wanted = marked(ours(platform)[workload], "p", "observability")
        live = copy.deepcopy(wanted)
        for volume in items(live, "spec", "volumeClaimTemplates"):
            volume["metadata"]["creationTimestamp"] = None
        inside = live["spec"]["template"]["spec"]
        inside |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
        inside["serviceAccount"] = inside["serviceAccountName"]
        inside["volumes"][0]["configMap"]["defaultMode"] = 420
        only = inside["containers"][0]
        only |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File"}
        only["ports"][0]["protocol"] = "TCP"
        for probe in ("livenessProbe", "readinessProbe"):
            only[probe]["httpGet"]["scheme"] = "HTTP"
        for entry in only["env"]:
            if "fieldRef" in entry.get("valueFrom", {}):
                entry["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
        assert changes(wanted, live) == ()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(platform=platforms())
def test_what_any_declaration_renders_of_it_is_whole(platform: Platform) -> None:
    platform = settled(platform)
    found = ours(platform)
    meter = platform.observability.meter
    assert bool(found) == bool(meter)
    if meter is None:
        return
    assert {namespace(each) for each in found.values()} <= {"", HOME, derive.meter_namespace(platform)}
    assert ("DaemonSet/plimsoll-meter-node" in found) == (meter.mode == "node")
    assert load(found["ConfigMap/plimsoll-meter"]["data"]["platform.yaml"], "p").observability.meter == meter
    for each in found.values():
        spec = get(each, "spec", "template", "spec")
        if not isinstance(spec, dict):
            continue
        volumes = {volume["name"] for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in items(each, "spec", "volumeClaimTemplates")}
        for only in spec["containers"]:
            assert {mount["name"] for mount in only["volumeMounts"]} == volumes
            assert only["image"] == meter.image
