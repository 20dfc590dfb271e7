"""The pods of a served model: vLLM as its documentation and the measured behaviour of its shutdown ask for it."""

from __future__ import annotations

from plimsoll.kube.objects import Obj
from plimsoll.pillars.serving.render_engine import words
from plimsoll.pillars.serving.render_facts import COMPONENT, LETTING_GO, PRE_STOP, Facts
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Taint

HUB_SECRET = "hf-token"
USER = 2000
_CACHE_SPARE = 20  # GiB beside the weights: compiled kernels and graphs
HOSTNAME = "kubernetes.io/hostname"
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"


def template(platform: Platform, facts: Facts) -> Obj:
    """The pod template of a service on one node."""
    return _template(platform, facts, words(facts.args), PRE_STOP, probed=True)


def leader(platform: Platform, facts: Facts) -> Obj:
    """The first pod of a group: it answers requests."""
    return _template(platform, facts, _spanning(facts, "0"), PRE_STOP, probed=True)


def worker(platform: Platform, facts: Facts) -> Obj:
    """The other pods of a group. They stay until the leader has answered what it began."""
    args = [*_spanning(facts, "$(LWS_WORKER_INDEX)"), "--headless"]
    return _template(platform, facts, args, PRE_STOP + facts.drain, probed=False)


def _spanning(facts: Facts, rank: str) -> list[str]:
    """The command line of one pod of a group; LeaderWorkerSet sets the variables. Source: vLLM, multi-node serving."""
    args = {"distributed-executor-backend": "mp"} | facts.args
    return [
        *words(args),
        f"--nnodes={facts.nodes}",
        f"--node-rank={rank}",
        "--master-addr=$(LWS_LEADER_ADDRESS)",
    ]


def _template(platform: Platform, facts: Facts, args: list[str], pause: int, *, probed: bool) -> Obj:
    service = facts.service
    spec: Obj = {
        "serviceAccountName": facts.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named vllm would set VLLM_PORT
        # the pause, the answers under way, the workers letting go of the GPUs
        "terminationGracePeriodSeconds": pause + facts.drain + LETTING_GO,
        "nodeSelector": dict(facts.pool.selector),
        "tolerations": [_toleration(each) for each in derive.taints(platform, facts.pool)],
        "securityContext": _identity(platform),
        "containers": [_server(platform, facts, args, pause, probed=probed)],
        "volumes": _volumes(facts),
    }
    if not spec["tolerations"]:
        del spec["tolerations"]
    if service.replicas.max > 1 and not facts.grouped:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": HOSTNAME,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": facts.labels},
            }
        ]
    labels = facts.labels | {COMPONENT: "server", derive.SERVICE_LABEL: service.name}
    return {"metadata": {"labels": labels}, "spec": spec}


def _toleration(taint: Taint) -> Obj:
    how = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
    return {"key": taint.key, **how, "effect": taint.effect}


def _identity(platform: Platform) -> Obj:
    """OpenShift gives every namespace its own range of users and refuses others."""
    fixed = {} if platform.cluster.provider == "openshift" else {"runAsUser": USER, "fsGroup": USER}
    return {"runAsNonRoot": True, **fixed, "seccompProfile": {"type": "RuntimeDefault"}}


def _server(platform: Platform, facts: Facts, args: list[str], pause: int, *, probed: bool) -> Obj:
    held = {"memory": facts.memory, facts.resource: str(facts.devices)}
    mounts: list[Obj] = [{"name": name, "mountPath": path} for name, path in _SCRATCH.items()]
    if facts.model.volume:
        mounts.insert(0, {"name": "model", "mountPath": "/models", "readOnly": True})
    return {
        "name": "vllm",
        "image": derive.engine_image(platform, facts.service),
        "args": args,
        "env": _environment(facts),
        **(_probes(facts) if probed else {}),
        "lifecycle": {"preStop": {"sleep": {"seconds": pause}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": facts.cpu} | held, "limits": dict(held)},
        "volumeMounts": mounts,
    }


_SCRATCH = {"shm": "/dev/shm", "cache": "/cache", "tmp": "/tmp"}  # noqa: S108  volumes of the pod


def _probes(facts: Facts) -> Obj:
    """A busy server takes seconds to answer, and a loading one minutes: neither is dead."""

    def asks(period: int, timeout: int, failures: int) -> Obj:
        health = {"path": "/health", "port": "http"}
        return {"httpGet": health, "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures}

    return {
        "ports": [{"name": "http", "containerPort": facts.port}],
        "startupProbe": asks(10, 5, facts.loading // 10),
        "readinessProbe": asks(5, 5, 3),
        "livenessProbe": asks(10, 10, 6),
    }


def _environment(facts: Facts) -> list[Obj]:
    found: list[Obj] = [
        {"name": "HOME", "value": "/cache"},  # weights, compiled kernels and graphs lie below it
        {"name": "USER", "value": "vllm"},  # the image knows no user of our number, and some libraries ask
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
    ]
    if facts.model.kind == "hub":
        key = {"name": HUB_SECRET, "key": "token", "optional": True}
        found.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": key}})
    elif not facts.model.remote:
        found.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    if facts.grouped:
        found.append({"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    return found


def _volumes(facts: Facts) -> list[Obj]:
    weights = facts.weights if facts.model.kind == "hub" else 0
    found: list[Obj] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{facts.shm}Gi"}},
        {"name": "cache", "emptyDir": {"sizeLimit": f"{weights + _CACHE_SPARE}Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}},
    ]
    if facts.model.kind == "claim":
        claim = {"claimName": facts.model.volume, "readOnly": True}
        found.insert(0, {"name": "model", "persistentVolumeClaim": claim})
    elif facts.model.kind == "image":
        image = {"reference": facts.model.volume, "pullPolicy": "IfNotPresent"}
        found.insert(0, {"name": "model", "image": image})
    return found
