"""Namespaces of teams, what a team may do in its own, and the accounts its jobs run as."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.plan.model import HOME, thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.units import version

TEAM = "plimsoll-team"
SHELL = "plimsoll-team-shell"
QUEUES = "plimsoll-queues"
JOBS = "trainer"
_RBAC = "rbac.authorization.k8s.io"
_API = f"{_RBAC}/v1"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def objects(platform: Platform) -> Iterator[Obj]:
    yield _namespace(platform, HOME, "restricted", {})
    yield from _roles()
    serving = {derive.namespace_of(platform, service) for service in platform.services}
    for team in platform.teams:
        for space in team.spaces:
            label = {derive.TEAM_LABEL: team.name}
            yield _namespace(platform, space, platform.security.pod_security, label)
            # What names no account runs as `default`, and nothing of a team's needs the Kubernetes API unasked.
            for account in ("default", JOBS):
                yield thing("v1", "ServiceAccount", account, space, automountServiceAccountToken=False)
            yield _bound(TEAM, "team", space, team.name)
            yield _bound("view", "viewers", space, viewers(team.name))
            if space not in serving:
                yield _bound(SHELL, "team-shell", space, team.name)
    groups = sorted({name for team in platform.teams for name in (team.name, viewers(team.name))})
    yield thing(_API, "ClusterRoleBinding", QUEUES, roleRef=_role(QUEUES), subjects=[_group(name) for name in groups])


def notes(platform: Platform) -> Iterator[str]:
    names = ", ".join(team.name for team in platform.teams[:3]) + (", …" if platform.teams[3:] else "")
    yield (
        f"Whoever logs in with a group named like a team ({names}) works in its namespaces; a group of that name with "
        "-viewers behind it may look. Let the identity provider say these groups."
    )
    homes = sorted({derive.namespace_of(platform, service) for service in platform.services})
    if homes:
        yield (
            f"Nobody of a team opens a shell in {', '.join(homes)}, where services run. In an emergency: kubectl "
            f"-n {homes[0]} create rolebinding break-glass --clusterrole={SHELL} --user=NAME, and delete it after."
        )


def viewers(team: str) -> str:
    """The group that may look at what a team does."""
    return f"{team}-viewers"


def _namespace(platform: Platform, name: str, standard: str, labels: dict[str, str]) -> Obj:
    """A namespace that enforces a Pod Security Standard, in the version of the cluster: an upgrade changes no rule."""
    declared = version(str(platform.cluster.kubernetes)) if platform.cluster.kubernetes else ()
    pod_security = "pod-security.kubernetes.io"
    return thing(
        "v1",
        "Namespace",
        name,
        labels={
            **labels,
            f"{pod_security}/enforce": standard,
            f"{pod_security}/enforce-version": f"v{declared[0]}.{declared[1]}" if len(declared) > 1 else "latest",
            f"{pod_security}/audit": standard,
            f"{pod_security}/warn": standard,
        },
    )


def _roles() -> Iterator[Obj]:
    """What teams may do. Not in it: quotas, queues, roles, namespaces, DaemonSets, tokens of accounts."""
    yield thing(
        _API,
        "ClusterRole",
        TEAM,
        rules=[
            _rule("", _WRITE, "configmaps", "persistentvolumeclaims", "pods", "secrets", "serviceaccounts", "services"),
            _rule("", _READ, "endpoints", "events", "limitranges", "namespaces", "pods/log", "resourcequotas"),
            _rule("apps", _WRITE, "deployments", "replicasets", "statefulsets"),
            _rule("apps", _WRITE, "deployments/scale", "replicasets/scale", "statefulsets/scale"),
            _rule("apps", _READ, "controllerrevisions", "daemonsets"),
            _rule("batch", _WRITE, "cronjobs", "jobs"),
            _rule("autoscaling", _WRITE, "horizontalpodautoscalers"),
            _rule("policy", _WRITE, "poddisruptionbudgets"),
            _rule("networking.k8s.io", _WRITE, "ingresses", "networkpolicies"),
            _rule("discovery.k8s.io", _READ, "endpointslices"),
            _rule("events.k8s.io", _READ, "events"),
            _rule("keda.sh", _WRITE, "scaledjobs", "scaledobjects", "triggerauthentications"),
            _rule("jobset.x-k8s.io", _WRITE, "jobsets"),
            _rule("leaderworkerset.x-k8s.io", _WRITE, "leaderworkersets"),
            _rule("kubeflow.org", _WRITE, "mpijobs", "pytorchjobs"),
            _rule("trainer.kubeflow.org", _WRITE, "trainjobs"),
            _rule("ray.io", _WRITE, "rayclusters", "rayjobs", "rayservices"),
            _rule("kueue.x-k8s.io", _READ, "localqueues", "workloads"),
            _rule("visibility.kueue.x-k8s.io", _READ, "localqueues/pendingworkloads"),
        ],
    )  # fmt: skip
    yield thing(
        _API,
        "ClusterRole",
        SHELL,
        rules=[_rule("", ["create", "get"], "pods/attach", "pods/exec", "pods/portforward")],
    )
    kinds = ("clusterqueues", "cohorts", "resourceflavors", "topologies", "workloadpriorityclasses")
    yield thing(_API, "ClusterRole", QUEUES, rules=[_rule("kueue.x-k8s.io", _READ, *kinds)])


def _rule(group: str, verbs: list[str], *resources: str) -> Obj:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _bound(role: str, name: str, space: str, group: str) -> Obj:
    return thing(_API, "RoleBinding", name, space, roleRef=_role(role), subjects=[_group(group)])


def _role(name: str) -> Obj:
    return {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}


def _group(name: str) -> Obj:
    return {"apiGroup": _RBAC, "kind": "Group", "name": name}
