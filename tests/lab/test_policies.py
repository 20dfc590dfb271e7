"""What the rendered policies let through and refuse, on the real API server, with the real Kueue behind it."""

from __future__ import annotations

import base64
import copy
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from plimsoll.errors import ClusterError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, condition, get, name, namespace, text
from plimsoll.lab.run import pki
from plimsoll.pillars.queueing import render as queueing
from plimsoll.pillars.security import render as security
from plimsoll.spec import derive
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from tests.lab.conftest import Lab

DIGEST = "@sha256:" + "0" * 64
IMAGE = f"registry.example.com/train{DIGEST}"
QUEUE = "kueue.x-k8s.io/queue-name"
UNDER_TEST = "policies-under-test"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
FIXED = ("ClusterRole", "ClusterRoleBinding")  # of the same name in every cluster
Change = Callable[[Obj], None]


class Doors(NamedTuple):
    """A team's namespace behind the rendered policies, one beside it that is no team's, and a person of the team."""

    client: Client
    person: Client
    home: str
    outside: str
    platform: Platform


def _platform(home: str) -> Platform:
    return from_mapping(
        {
            "cluster": {"provider": "eks", "kubernetes": "1.36"},
            "pools": [
                {"name": home, "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"min": 5, "max": 5},
                 "nodeSelector": {"plimsoll.dev/pool": "h100"}},
            ],
            "teams": [{"name": home, "quota": {home: 16}}],
            # A queue named default would take what names none.
            "queueing": {"cohort": home, "priorities": {}, "localQueue": "gpus"},
            "services": [
                {"name": "aside", "team": home, "model": "m", "pool": home, "queued": False},
                {"name": "chat", "team": home, "model": "m", "pool": home,
                 "engine": {"image": "mirror.example.com/vllm:v0.33.0"}},
            ],
            "security": {"images": {"registries": ["registry.example.com"]}},
            "waivers": [],
        }
    )  # fmt: skip


def _bound_here(obj: Obj, mark: str) -> Obj:
    """A policy or binding of this test alone: under a name of its own, for its own namespaces."""
    own = copy.deepcopy(obj)
    own["metadata"]["name"] = f"{name(obj)}-{mark}"
    if obj["kind"].endswith("Binding"):
        own["spec"]["policyName"] += f"-{mark}"
        own["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {UNDER_TEST: mark}}}
    return own


@pytest.fixture(scope="module")
def doors(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    lab.reset()
    yield from stand(lab.client, lab.folder.kubeconfig, tmp_path_factory.mktemp("person"))


def stand(client: Client, kubeconfig: Path, folder: Path) -> Iterator[Doors]:
    """Everything the two pillars render for one team, put up and taken down again."""
    mark = uuid.uuid4().hex[:8]
    home, outside = f"door-{mark}", f"street-{mark}"
    platform = _platform(home)
    for space, labels in ((home, {derive.TEAM_LABEL: home}), (outside, {})):
        made: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
        made["metadata"]["labels"] = {UNDER_TEST: mark, **labels}
        client.apply(made)
    objects = [
        each for part in (security.render(platform), queueing.render(platform)) for each in part.objects
        if each["kind"] not in (*FIXED, "Namespace", "RoleBinding")
    ]  # fmt: skip
    objects = [_bound_here(each, mark) if each["kind"] in KINDS else each for each in objects]
    for each in objects:
        client.apply(each, strict=True)
    person = _person(client, platform, home, mark, kubeconfig, folder)
    found = Doors(client, person, home, outside, platform)
    _effective(found)
    yield found
    person.close()
    for job in client.list("batch/v1/Job", home):
        client.delete("batch/v1/Job", name(job), home)
    for each in reversed(objects):
        client.delete(f"{each['apiVersion']}/{each['kind']}", name(each), namespace(each))
    client.delete("rbac.authorization.k8s.io/v1/ClusterRole", f"team-{mark}")
    for space in (home, outside):
        client.delete("v1/Namespace", space)


def _person(client: Client, platform: Platform, home: str, mark: str, kubeconfig: Path, folder: Path) -> Client:
    """Somebody with the rendered rights of the team: an account stands for the group."""
    objects = security.render(platform).objects
    role = copy.deepcopy(next(each for each in objects if name(each) == "plimsoll-team"))
    role["metadata"]["name"] = f"team-{mark}"
    binding = copy.deepcopy(next(each for each in objects if each["kind"] == "RoleBinding" and name(each) == "team"))
    binding["roleRef"]["name"] = f"team-{mark}"
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "person", "namespace": home}]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "person", "namespace": home}}
    for each in (role, account, binding):
        client.apply(each)
    path = f"/api/v1/namespaces/{home}/serviceaccounts/person/token"
    token = client.post(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    admin = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = base64.b64decode(admin["certificate-authority-data"])
    own = pki.kubeconfig(folder / "kubeconfig", admin["server"], authority, token=text(token, "status", "token"))
    return Client(own)


def _effective(doors: Doors) -> None:
    """Policies take a moment to be known to the API server: until each has refused something."""
    end = time.monotonic() + 30
    waiting = {case: change for case, (change, _) in REFUSED.items()}
    while waiting and time.monotonic() < end:
        for case in list(waiting):
            if _answer(doors.client, _pod(doors.home, waiting[case])):
                del waiting[case]
        time.sleep(0.2)


def _pod(space: str, *changes: Change, gpus: bool = True) -> Obj:
    """A pod as it should be, then changed."""
    container: Obj = {
        "name": "train",
        "image": IMAGE,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi", **({"nvidia.com/gpu": "1"} if gpus else {})}},
    }
    pod: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p-{uuid.uuid4().hex[:8]}", "namespace": space, "labels": {QUEUE: "gpus"}},
        "spec": {
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    }
    for change in changes:
        change(pod)
    return pod


def _answer(client: Client, obj: Obj) -> str:
    """What the server says to it; "" if it would take it. Nothing is kept."""
    try:
        client.apply(obj, dry_run=True, strict=True)
    except ClusterError as error:
        return str(error)
    return ""


def _with(*path: str | int, value: Any) -> Change:
    def change(obj: Obj) -> None:
        here: Any = obj
        for step in path[:-1]:
            here = here.setdefault(step, {}) if isinstance(step, str) else here[step]
        here[path[-1]] = value

    return change


def _env(title: str, value: str | None) -> Change:
    entry: Obj = {"name": title}
    if value is not None:
        entry["value"] = value
    else:
        entry["valueFrom"] = {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}
    return _with("spec", "containers", 0, "env", value=[entry])


def _beside(where: str, **fields: Any) -> Change:
    """A second container that is like the first, but for some fields."""

    def change(pod: Obj) -> None:
        second = {**copy.deepcopy(pod["spec"]["containers"][0]), "name": "second", **fields}
        second["resources"] = fields.get("resources", {"limits": {"cpu": "1", "memory": "1Gi"}})
        pod["spec"].setdefault(where, []).append(second)

    return change


NO_QUEUE = _with("metadata", "labels", value={"app": "x"})
IN_INIT = _beside("initContainers", resources={"limits": {"nvidia.com/mig-1g.10gb": "1"}})
PODSET = _with("metadata", "labels", value={"kueue.x-k8s.io/podset": "main"})
ASIDE = _with("metadata", "labels", value={derive.SERVICE_LABEL: "aside"})
RUNTIME = _with("spec", "runtimeClassName", value="nvidia")

REFUSED: dict[str, tuple[Change, str]] = {
    "no queue": (NO_QUEUE, "needs a queue"),
    "a mark of a started job that nobody started": (PODSET, "needs a queue"),
    "the label of a service that queues": (
        _with("metadata", "labels", value={derive.SERVICE_LABEL: "chat"}), "needs a queue"),
    "all devices by environment": (_env("NVIDIA_VISIBLE_DEVICES", "all"), "device plugin's to set"),
    "devices from a secret": (_env("NVIDIA_VISIBLE_DEVICES", None), "device plugin's to set"),
    "channels": (_env("NVIDIA_IMEX_CHANNELS", "0"), "channels are claimed"),
    "devices by annotation": (
        _with("metadata", "annotations", value={"cdi.k8s.io/x": "management.nvidia.com/gpu=all"}),
        "annotations of CDI"),
    "devices by mount": (
        lambda pod: (
            _with("spec", "volumes", value=[{"name": "v", "emptyDir": {}}])(pod),
            _with("spec", "containers", 0, "volumeMounts",
                  value=[{"name": "v", "mountPath": "/var/run/nvidia-container-devices/0"}])(pod),
        )[0], "mounts in"),
    "host network": (_with("spec", "hostNetwork", value=True), "shares no namespace"),
    "host path": (
        _with("spec", "volumes", value=[{"name": "v", "hostPath": {"path": "/dev"}}]), "no path of its node"),
    "privileged": (
        _with("spec", "containers", 0, "securityContext", value={"privileged": True}), "GPUs need no privilege"),
    "token of nobody": (_with("spec", "automountServiceAccountToken", value=True), "ServiceAccount of its own"),
    "a priority of the system's": (
        _with("spec", "priorityClassName", value="system-node-critical"), "are the cluster's own"),
    "keys of a cloud": (_env("AWS_SECRET_ACCESS_KEY", None), "do not end by themselves"),
    "token of a hub": (_env("HF_TOKEN", "hf_x"), "take it from a Secret"),
    "development mode": (_env("VLLM_SERVER_DEV_MODE", "1"), "run code in it"),
    "another registry": (
        _with("spec", "containers", 0, "image", value=f"registry.example.com.evil.net/train{DIGEST}"),
        "images come from"),
    "no registry": (_with("spec", "containers", 0, "image", value=f"train{DIGEST}"), "images come from"),
    "a tag": (_with("spec", "containers", 0, "image", value="registry.example.com/train:1"), "named by digest"),
    "half a digest": (
        _with("spec", "containers", 0, "image", value="registry.example.com/train@sha256:00"), "named by digest"),
    "a tag in an init container": (_beside("initContainers", image="registry.example.com/a:1"), "named by digest"),
    "a service's image under another tag": (
        _with("spec", "containers", 0, "image", value="mirror.example.com/vllm:v0.33.1"), "images come from"),
    "an image as volume": (
        _with("spec", "volumes", value=[{"name": "m", "image": {"reference": "evil.example.com/m:1"}}]),
        "images come from"),
}  # fmt: skip
TAKEN: dict[str, Change] = {
    "as it should be": lambda _: None,
    "no devices": _env("NVIDIA_VISIBLE_DEVICES", "void"),
    "runtime class with GPUs": RUNTIME,
    "a service outside of the queues": ASIDE,
    "token of a hub from a secret": _env("HF_TOKEN", None),
    "development mode that is off": _env("VLLM_SERVER_DEV_MODE", "0"),
    "an account of its own": lambda pod: pod["spec"].update(
        serviceAccountName="person", automountServiceAccountToken=True),
    "the image of a service": _with("spec", "containers", 0, "image", value="mirror.example.com/vllm:v0.33.0"),
    "an image as volume": _with("spec", "volumes", value=[{"name": "m", "image": {"reference": IMAGE}}]),
    "memory as volume": _with(
        "spec", "volumes", value=[{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(doors: Doors, case: str) -> None:
    change, why = REFUSED[case]
    assert why in _answer(doors.client, _pod(doors.home, change))


@pytest.mark.parametrize("case", TAKEN)
def test_taken(doors: Doors, case: str) -> None:
    assert _answer(doors.client, _pod(doors.home, TAKEN[case])) == ""


def test_what_counts_as_a_gpu(doors: Doors) -> None:
    """Whole ones and parts, in any container, and claims; a pod without them needs no queue."""
    assert _answer(doors.client, _pod(doors.home, NO_QUEUE, gpus=False)) == ""
    assert "needs a queue" in _answer(doors.client, _pod(doors.home, NO_QUEUE, IN_INIT, gpus=False))
    by_class = _with("spec", "containers", 0, "resources", "limits",
                     value={"deviceclass.resource.kubernetes.io/gpu.nvidia.com": "1"})  # fmt: skip
    assert "needs a queue" in _answer(doors.client, _pod(doors.home, NO_QUEUE, by_class, gpus=False))
    claim = _with("spec", "resourceClaims", value=[{"name": "g", "resourceClaimTemplateName": "t"}])
    assert "needs a queue" in _answer(doors.client, _pod(doors.home, NO_QUEUE, claim, gpus=False))
    assert "nvidia runtime class" in _answer(doors.client, _pod(doors.home, RUNTIME, gpus=False))
    assert "GPUs are for teams" in _answer(doors.client, _pod(doors.outside))
    assert _answer(doors.client, _pod(doors.outside, NO_QUEUE, gpus=False)) == ""


def test_what_a_person_of_the_team_may_do(doors: Doors) -> None:
    """Their own pods and networks, and no quotas, queues or accounts' tokens; nor may they pose as a started job."""
    assert _answer(doors.person, _pod(doors.home)) == ""
    assert "needs a queue" in _answer(doors.person, _pod(doors.home, PODSET))
    policy: Obj = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
    own = policy | {"metadata": {"name": "own", "namespace": doors.home}}
    ours = {"name": "default-deny", "namespace": doors.home}
    assert _answer(doors.person, own) == ""
    with pytest.raises(ClusterError, match="forbidden"):
        doors.person.patch(
            "v1/ResourceQuota", "gpus", {"spec": {"hard": {"requests.nvidia.com/gpu": "99"}}}, doors.home
        )
    with pytest.raises(ClusterError, match="forbidden"):
        doors.person.delete("kueue.x-k8s.io/v1beta2/LocalQueue", "gpus", doors.home)
    marked = policy | {"metadata": ours | {"labels": {"plimsoll.dev/platform": "p"}}}
    doors.client.apply(marked | {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}})
    with pytest.raises(ClusterError, match="this NetworkPolicy is the platform's"):
        doors.person.delete("networking.k8s.io/v1/NetworkPolicy", "default-deny", doors.home)
    with pytest.raises(ClusterError, match="this NetworkPolicy is the platform's"):
        doors.person.patch("networking.k8s.io/v1/NetworkPolicy", "default-deny",
                           {"spec": {"policyTypes": ["Ingress"]}}, doors.home)  # fmt: skip
    doors.client.patch("networking.k8s.io/v1/NetworkPolicy", "default-deny", {"metadata": {"labels": {"a": "b"}}},
                       doors.home)  # fmt: skip


def _owned(by: Obj) -> Change:
    made: Obj = {key: by[key] for key in ("apiVersion", "kind")}
    made |= {"name": name(by), "uid": text(by, "metadata", "uid"), "controller": True}
    return _with("metadata", "ownerReferences", value=[made])


def _workload(doors: Doors, kind: str, *changes: Change, labels: Obj | None = None) -> Obj:
    """A ReplicaSet or Job that names no queue, of pods with GPUs and these labels."""
    pod = _pod(doors.home)
    template: Obj = {"metadata": {"labels": {"app": "x", **(labels or {})}}, "spec": pod["spec"]}
    spec: Obj = {"template": template}
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    else:
        spec["selector"] = {"matchLabels": {"app": "x"}}
    meta = {"name": f"w-{uuid.uuid4().hex[:8]}", "namespace": doors.home}
    found: Obj = {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": meta,
        "spec": spec,
    }
    for change in changes:
        change(found)
    return found


def test_nobody_poses_as_the_owner_that_kueue_manages(doors: Doors) -> None:
    """Kueue holds no pod back whose owner it manages, and believes the pod, or what stands between, about its owner."""
    cover = _workload(doors, "Job")
    cover["metadata"]["labels"] = {QUEUE: "nowhere"}
    job = _owned(doors.person.create(cover))
    cron = _owned({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "uid": str(uuid.uuid4())}})
    for client in (doors.person, doors.client):
        assert "only controllers say" in _answer(client, _pod(doors.home, job))
        assert "only controllers say" in _answer(client, _workload(doors, "ReplicaSet", job))
        assert _answer(client, _workload(doors, "Job", cron)) == ""  # kubectl create job --from=cronjob/…
    assert _answer(doors.person, _pod(doors.home, job, gpus=False)) == ""
    own = _workload(doors, "ReplicaSet")
    own["spec"]["replicas"] = 0
    doors.person.create(own)
    kind, title = "apps/v1/ReplicaSet", name(own)
    changed: Obj = {"metadata": {}}
    job(changed)
    with pytest.raises(ClusterError, match="only controllers say"):
        doors.person.patch(kind, title, changed, doors.home)
    doors.person.delete(kind, title, doors.home)


def test_the_mark_of_a_started_job_is_kueues_to_set(doors: Doors) -> None:
    """Also in the template of what names no queue: the pods are a controller's, and the mark is not."""
    mark = {"kueue.x-k8s.io/podset": "main"}
    assert "Kueue's to set" in _answer(doors.person, _workload(doors, "Job", labels=mark))
    assert _answer(doors.person, _workload(doors, "Job")) == ""
    sets = _workload(doors, "ReplicaSet", labels=mark)
    doors.person.create(sets)
    failed = doors.client.wait(
        "apps/v1/ReplicaSet", name(sets), doors.home,
        lambda obj: obj is not None and bool(condition(obj, "ReplicaFailure")), timeout=30,
    )  # fmt: skip
    assert "needs a queue" in text(condition(failed or {}, "ReplicaFailure"), "message")
    doors.person.delete("apps/v1/ReplicaSet", name(sets), doors.home)


def test_a_pod_that_waits_keeps_its_gate(doors: Doors) -> None:
    """The real Kueue holds a pod of an unknown queue back, and only a controller may let it go."""
    pod = _pod(doors.home, _with("metadata", "labels", value={QUEUE: "nowhere"}))
    doors.person.create(pod)
    held = doors.client.get("v1/Pod", name(pod), doors.home)
    assert {"name": "kueue.x-k8s.io/admission"} in get(held, "spec", "schedulingGates")
    for client in (doors.person, doors.client):
        with pytest.raises(ClusterError, match="this pod waits in a queue"):
            client.patch("v1/Pod", name(pod), {"spec": {"schedulingGates": None}}, doors.home)
    doors.person.patch("v1/Pod", name(pod), {"metadata": {"labels": {"a": "b"}}}, doors.home)
    _no_debugging(doors, name(pod))
    doors.client.patch("v1/Pod", name(pod), {"metadata": {"finalizers": None}}, doors.home)
    doors.client.delete("v1/Pod", name(pod), doors.home, grace=0)


def _no_debugging(doors: Doors, title: str) -> None:
    """What is put into a running pod is judged like what it began with, and is nothing a team does by itself."""
    container: Obj = {"name": "debug", "image": "registry.example.com/debug:1"}
    late: Obj = {"spec": {"ephemeralContainers": [container]}}
    with pytest.raises(ClusterError, match="named by digest"):
        doors.client.patch("v1/Pod", title, late, doors.home, how="strategic", subresource="ephemeralcontainers")
    container |= {"image": IMAGE, "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}
    with pytest.raises(ClusterError, match="device plugin's to set"):
        doors.client.patch("v1/Pod", title, late, doors.home, how="strategic", subresource="ephemeralcontainers")
    with pytest.raises(ClusterError, match="forbidden"):
        doors.person.patch("v1/Pod", title, late, doors.home, how="strategic", subresource="ephemeralcontainers")


def test_claims_of_gpus_are_not_promised(doors: Doors) -> None:
    """The quota of the namespace has none of them; claims of other devices are not its business."""
    request: Obj = {"name": "d", "exactly": {"deviceClassName": "gpu.nvidia.com"}}
    claim: Obj = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim"}
    claim |= {"metadata": {"name": "x", "namespace": doors.home}, "spec": {"devices": {"requests": [request]}}}
    doors.client.wait("v1/ResourceQuota", "gpus", doors.home, lambda obj: bool(get(obj, "status", "hard")))
    assert "exceeded quota" in _answer(doors.client, claim)
    request["exactly"]["deviceClassName"] = "nic.example.com"
    assert _answer(doors.client, claim) == ""


def test_a_queued_job_runs_through_all_of_it(doors: Doors) -> None:
    """Kueue admits by the rendered queues, and the pods of its job pass every policy."""
    api = "kueue.x-k8s.io/v1beta2"
    ready = ("Active", "True")
    for kind, title, space in (("ClusterQueue", doors.home, ""), ("LocalQueue", "gpus", doors.home)):
        doors.client.wait(
            f"{api}/{kind}", title, space,
            lambda obj: obj is not None and text(condition(obj, ready[0]), "status") == ready[1], timeout=30,
        )  # fmt: skip
    pod = _pod(doors.home, NO_QUEUE)
    template = {"metadata": {"annotations": {"lab.plimsoll.dev/run-seconds": "1"}}, "spec": pod["spec"]}
    template["spec"]["restartPolicy"] = "Never"
    job: Obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "queued", "namespace": doors.home}}
    job["metadata"]["labels"] = {QUEUE: "gpus"}
    doors.client.apply(job | {"spec": {"suspend": True, "template": template}})
    doors.client.wait(
        "batch/v1/Job", "queued", doors.home,
        lambda obj: obj is not None and text(condition(obj, "Complete"), "status") == "True", timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        ({"kind": "Service", "spec": {"ports": [{"port": 80}], "type": "NodePort"}}, "opens every node"),
        ({"kind": "Service", "spec": {"ports": [{"port": 80}], "type": "LoadBalancer"}}, "no public address"),
        ({"kind": "Service", "spec": {"ports": [{"port": 80}], "externalIPs": ["10.1.1.1"]}}, "addresses of others"),
        ({"kind": "Service", "spec": {"ports": [{"port": 80}]}}, ""),
        ({"kind": "Secret", "type": "Opaque"}, ""),
    ],
)  # fmt: skip
def test_services_and_secrets(doors: Doors, obj: Obj, why: str) -> None:
    whole = {"apiVersion": "v1", **obj, "metadata": {"name": "x", "namespace": doors.home}}
    said = _answer(doors.client, whole)
    assert why in said
    assert bool(why) == bool(said)


def test_an_internal_load_balancer_and_a_token_that_never_ends(doors: Doors) -> None:
    internal = {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}
    meta: Obj = {"name": "x", "namespace": doors.home, "annotations": internal}
    spec = {"ports": [{"port": 80}], "type": "LoadBalancer"}
    assert _answer(doors.client, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}) == ""
    meta = {"name": "x", "namespace": doors.home, "annotations": {"kubernetes.io/service-account.name": "person"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/service-account-token"}
    assert "never ends" in _answer(doors.client, secret)


def test_the_server_finds_nothing_wrong_with_the_expressions(doors: Doors) -> None:
    """Every policy has been looked at by the server's type checker, which warns of none."""
    kind = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
    titles = [name(each) for each in doors.client.list(kind) if name(each).endswith(doors.home.removeprefix("door"))]
    assert len(titles) == 12
    for title in titles:
        seen = doors.client.wait(kind, title, "", lambda obj: bool(get(obj, "status", "typeChecking") is not None))
        assert not get(seen, "status", "typeChecking", "expressionWarnings")
