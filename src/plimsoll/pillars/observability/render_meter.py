"""The meter in the cluster: what it may read, where it writes, and the pods it is.

With a file there is a StatefulSet: never two pods of it at once, for a file has one writer, and its volume stays when
it goes. With a database there is a Deployment. In mode `node` a DaemonSet asks drivers and kubelets; the one pod beside
it watches the cluster, for who watches a node's end must not end with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.observability import render_meter_node
from plimsoll.plan.model import HOME, thing
from plimsoll.spec import derive
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.model import Platform
from plimsoll.spec.observability import Meter
from plimsoll.spec.queueing import Team
from plimsoll.spec.spot import Spot

NAME = derive.METER_LABEL[1]
PORT = 9465
PORT_NAME = "http-metrics"
LABELS = {derive.METER_LABEL[0]: NAME, "app.kubernetes.io/component": "meter"}
USER = 65532  # of images/Containerfile
_RBAC = "rbac.authorization.k8s.io"
_CONFIG = "/etc/plimsoll"
_DATA = "/var/lib/plimsoll"
_LARGEST = 1_000_000  # bytes; what an object may hold
_READ = ["get", "list", "watch"]


def meter_objects(platform: Platform) -> Iterator[Obj]:
    """All of the meter; nothing where none is declared."""
    meter = platform.observability.meter
    if meter is None:
        return
    space, declared = derive.meter_namespace(platform), declaration(platform)
    if space != HOME:
        yield _privileged(space)
    yield thing("v1", "ServiceAccount", NAME, space, labels=LABELS, automountServiceAccountToken=False)
    yield _role()
    yield thing(
        f"{_RBAC}/v1",
        "ClusterRoleBinding",
        NAME,
        labels=LABELS,
        roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": NAME},
        subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": space}],
    )
    yield thing("v1", "ConfigMap", NAME, space, labels=LABELS, data={"platform.yaml": declared})
    yield thing(
        "v1",
        "Service",
        NAME,
        space,
        labels=LABELS,
        spec={"selector": LABELS, "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME}]},
    )
    yield _workload(platform, meter, space, declared)
    if meter.mode == "node":
        yield render_meter_node.daemon_set(platform, space, _template(platform, meter, declared))


def meter_notes(platform: Platform) -> Iterator[str]:
    meter = platform.observability.meter
    if meter is None:
        yield (
            "No meter is rendered: nobody records who used which GPU, and there is nothing to bill. "
            "observability.meter asks for one"
        )
        return
    space = derive.meter_namespace(platform)
    if meter.ledger.postgresql:
        secret = meter.ledger.postgresql
        yield (
            f"Secret {space}/{secret.secret_name} must hold the ledger's address under {secret.key}: kubectl "
            f"-n {space} create secret generic {secret.secret_name} "
            f"--from-literal={secret.key}=postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    else:
        yield (
            f"The ledger is a file on the volume ledger-{NAME}-0 in {space}, which stays when the meter is no longer "
            f"declared. To ask it: kubectl -n {space} exec statefulset/{NAME} -- "
            f"plimsoll cost -f {_CONFIG}/platform.yaml"
        )
    yield f"The meter's image {meter.image} must be one that nodes can pull: images/Containerfile makes it"
    if len(declaration(platform)) > _LARGEST:
        yield f"The declaration is larger than an object may be: ConfigMap {space}/{NAME} will be refused"
    yield from render_meter_node.notes(platform)


def declaration(platform: Platform) -> str:
    """What the meter needs of the declaration: pools and their prices, whose namespace is whose, budgets, checkpoints.

    Without the rest the meter need not begin anew when a quota changes, and no Kubernetes object is too small for it.
    """
    teams = tuple(Team(name=each.name, namespaces=each.namespaces, budget=each.budget) for each in platform.teams)
    return to_yaml(
        Platform(
            metadata=platform.metadata,
            cluster=platform.cluster,
            pools=platform.pools,
            teams=teams,
            spot=Spot(checkpoint=platform.spot.checkpoint),
            observability=platform.observability,
        )
    )


def _privileged(space: str) -> Obj:
    """Mode `node` sees processes and sockets of its node, which Pod Security refuses in all but such a namespace."""
    standard = "pod-security.kubernetes.io"
    return thing("v1", "Namespace", space, labels={f"{standard}/enforce": "privileged"})


def _role() -> Obj:
    """It reads who holds which GPU, and no Secret; it writes nothing."""

    def rule(group: str, verbs: list[str], *resources: str) -> Obj:
        return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}

    return thing(
        f"{_RBAC}/v1",
        "ClusterRole",
        NAME,
        labels=LABELS,
        rules=[
            rule("", _READ, "nodes", "pods"),
            rule("resource.k8s.io", _READ, "resourceclaims", "resourceslices"),
            rule("jobset.x-k8s.io", ["get"], "jobsets"),  # pods name theirs, and not which of that name
        ],
    )


def _workload(platform: Platform, meter: Meter, space: str, declared: str) -> Obj:
    """The one pod that watches the cluster."""
    template = _template(platform, meter, declared, alone=meter.mode == "cluster")
    if meter.ledger.postgresql:
        # Recreate: two would write the same twice, which is harmless, and read every exporter twice, which is not free.
        spec = {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": LABELS}}
        return thing("apps/v1", "Deployment", NAME, space, labels=LABELS, spec=spec | {"template": template})
    ledger = meter.ledger
    claim: Obj = {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": str(ledger.storage)}},
        **({"storageClassName": ledger.storage_class} if ledger.storage_class else {}),
    }
    # With all that the API server would add: a list of templates is one value, so that an addition looks like a change,
    # and one that cannot be made.
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "ledger"},
        "spec": claim,
        "status": {"phase": "Pending"},
    }
    return thing(
        "apps/v1",
        "StatefulSet",
        NAME,
        space,
        labels=LABELS,
        spec={
            "replicas": 1,
            "serviceName": NAME,
            "selector": {"matchLabels": LABELS},
            "template": template,
            "volumeClaimTemplates": [volume],
        },
    )


def _template(platform: Platform, meter: Meter, declared: str, *, alone: bool = True) -> Obj:
    """The pod. It listens on all its addresses, for Prometheus asks from another pod; outside of a pod the meter
    listens on loopback only. alone: no others tell it who holds what."""
    ledger = meter.ledger
    args = ["agent", "meter", "-f", f"{_CONFIG}/platform.yaml", "--listen", f"0.0.0.0:{PORT}"]
    args += [] if alone else ["--watch-only"]
    env: list[Obj] = [{"name": "HOME", "value": "/tmp"}]  # noqa: S108  a volume of the pod
    place: Obj = {"value": f"{_DATA}/ledger.duckdb"}
    mounts: list[Obj] = [
        {"name": "declaration", "mountPath": _CONFIG, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    if ledger.postgresql:
        place = {"valueFrom": {"secretKeyRef": {"name": ledger.postgresql.secret_name, "key": ledger.postgresql.key}}}
    else:
        mounts.append({"name": "ledger", "mountPath": _DATA})
    # Not an argument: those are seen by all who see processes, and whoever is in the pod asks the same ledger.
    env.append({"name": "PLIMSOLL_LEDGER", **place})
    container = {
        "name": "meter",
        "image": meter.image,
        "args": args,
        "env": env,
        "ports": [{"name": PORT_NAME, "containerPort": PORT}],
        # It is alive though the cluster or the ledger is away: no restart would bring them back.
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": PORT_NAME},
            "periodSeconds": 30,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT_NAME}, "periodSeconds": 10, "timeoutSeconds": 5},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # A bill of a month takes the database up to 700 MB, and a core for seconds.
        "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": mounts,
    }
    spec = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,  # to write what it has read
        "securityContext": _identity(platform),
        "containers": [container],
        "volumes": [
            {"name": "declaration", "configMap": {"name": NAME}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    # The meter reads its declaration once, so that another one makes another pod.
    seen = {"plimsoll.dev/declaration": hashlib.sha256(declared.encode()).hexdigest()[:16]}
    if not platform.observability.prometheus.operator:
        seen |= {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT)}
    return {"metadata": {"labels": dict(LABELS), "annotations": seen}, "spec": spec}


def _identity(platform: Platform) -> Obj:
    """OpenShift gives every namespace its own range of users and refuses others."""
    fixed = {} if platform.cluster.provider == "openshift" else {"runAsUser": USER, "fsGroup": USER}
    return {"runAsNonRoot": True, **fixed, "seccompProfile": {"type": "RuntimeDefault"}}
