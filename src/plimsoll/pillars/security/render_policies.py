"""What the API server refuses in teams' namespaces, beside what Pod Security refuses there already."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.security.render_cel import (
    CONTAINERS,
    DEBUG,
    GPUS,
    PODS,
    every,
    no_env,
    policy,
    refused,
    texts,
)
from plimsoll.plan.cel import ASKS_FOR_GPUS
from plimsoll.plan.model import PLATFORM
from plimsoll.spec.model import Platform

_KEYS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")
_CDI = ("cdi.k8s.io", "nvidia.cdi.k8s.io")
# How a cloud is told that a load balancer has no public address.
_INTERNAL = {
    "eks": (("service.beta.kubernetes.io/aws-load-balancer-scheme", "internal"),
            ("service.beta.kubernetes.io/aws-load-balancer-internal", "true")),
    "gke": (("networking.gke.io/load-balancer-type", "Internal"),),
    "aks": (("service.beta.kubernetes.io/azure-load-balancer-internal", "true"),),
}  # fmt: skip


def objects(platform: Platform) -> Iterator[Obj]:
    yield from _asked_for(platform)
    yield from _inside(platform)
    yield from _priorities(platform)
    yield from _credentials(platform)
    yield from _token_secrets(platform)
    if platform.security.network == "default-deny":
        yield from _services(platform)
        yield from _networks(platform)


def _asked_for(platform: Platform) -> Iterator[Obj]:
    """GPUs are asked for, not taken: each of these ways reaches GPUs of the node that the scheduler gave to others."""
    named = "e.name == 'NVIDIA_VISIBLE_DEVICES' && !(has(e.value) && e.value in ['', 'none', 'void'])"
    annotated = " || ".join(f"key.startsWith('{prefix}/')" for prefix in _CDI)
    yield from policy(
        platform,
        "gpus-are-asked-for",
        [PODS, DEBUG],
        [
            refused(
                no_env(named),
                "NVIDIA_VISIBLE_DEVICES is the device plugin's to set; ask for nvidia.com/gpu in resources.limits",
            ),
            refused(
                no_env("e.name == 'NVIDIA_IMEX_CHANNELS'"),
                "NVIDIA_IMEX_CHANNELS opens other nodes' memory; channels are claimed, not named",
            ),
            refused(
                "variables.gpus || !has(object.spec.runtimeClassName) || "
                "!object.spec.runtimeClassName.startsWith('nvidia')",
                "the nvidia runtime class is for pods that ask for GPUs in resources.limits",
            ),
            refused(
                f"!has(object.metadata.annotations) || !object.metadata.annotations.exists(key, {annotated})",
                "annotations of CDI name devices past the device plugin; ask for nvidia.com/gpu in resources.limits",
            ),
            refused(
                every(
                    "!has(c.volumeMounts) || "
                    "!c.volumeMounts.exists(m, m.mountPath.startsWith('/var/run/nvidia-container-devices'))"
                ),
                "mounts in /var/run/nvidia-container-devices name devices; that is the device plugin's to do",
            ),
        ],
        variables=[CONTAINERS, GPUS],
    )


def _inside(platform: Platform) -> Iterator[Obj]:
    """A pod with GPUs stays in its box, whatever standard of Pod Security its namespace has."""
    yield from policy(
        platform,
        "gpu-pods-stay-inside",
        [PODS],
        [
            refused(
                "!(has(object.spec.hostPID) && object.spec.hostPID) && "
                "!(has(object.spec.hostIPC) && object.spec.hostIPC) && "
                "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)",
                "a pod with GPUs shares no namespace of its node; for NCCL mount an emptyDir with medium Memory at "
                "/dev/shm",
            ),
            refused(
                "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath))",
                "a pod with GPUs mounts no path of its node; use a PersistentVolumeClaim or an emptyDir",
            ),
            refused(
                "variables.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || "
                "!c.securityContext.privileged)",
                "a privileged container holds every GPU of its node; GPUs need no privilege",
            ),
            refused(
                "!(object.spec.?serviceAccountName.orValue('default') == 'default' && "
                "object.spec.?automountServiceAccountToken.orValue(false))",
                "a pod with GPUs that needs the Kubernetes API runs as a ServiceAccount of its own",
            ),
        ],
        matchConditions=[{"name": "asks-for-gpus", "expression": ASKS_FOR_GPUS}],
        variables=[CONTAINERS],
    )


def _priorities(platform: Platform) -> Iterator[Obj]:
    """The API server lets anybody use the classes that it made for itself, and they drive out every other pod."""
    yield from policy(
        platform,
        "system-comes-first",
        [PODS],
        [
            refused(
                "!has(object.spec.priorityClassName) || !object.spec.priorityClassName.startsWith('system-')",
                "priorities that begin with system- are the cluster's own, and drive out the pods of everybody else",
            )
        ],
    )


def _credentials(platform: Platform) -> Iterator[Obj]:
    """Keys that do not end by themselves are not written into pods, and tokens of model hubs not in clear text."""
    validations = [
        refused(
            no_env(f"e.name in {texts(_TOKENS)} && has(e.value) && e.value != ''"),
            "a token in a manifest is read by all who can read pods; take it from a Secret (valueFrom.secretKeyRef)",
        ),
        refused(
            no_env("e.name == 'VLLM_SERVER_DEV_MODE' && !(has(e.value) && e.value == '0')"),
            "VLLM_SERVER_DEV_MODE lets whoever reaches the server run code in it",
        ),
    ]
    if platform.security.identity != "none":
        validations.insert(
            0,
            refused(
                no_env(f"e.name in {texts(_KEYS)}"),
                "keys of a cloud that do not end by themselves stay out of pods; give the pod's ServiceAccount an "
                "identity",
            ),
        )
    yield from policy(platform, "no-lasting-keys", [PODS, DEBUG], validations, variables=[CONTAINERS])


def _token_secrets(platform: Platform) -> Iterator[Obj]:
    secrets = {**PODS, "resources": ["secrets"]}
    yield from policy(
        platform,
        "no-lasting-tokens",
        [secrets],
        [
            refused(
                "!has(object.type) || object.type != 'kubernetes.io/service-account-token'",
                "a token in a Secret never ends; use kubectl create token, or a projected volume",
            )
        ],
    )


def _services(platform: Platform) -> Iterator[Obj]:
    """What a team offers is reached through the platform's gateway, not past it."""
    services = {**PODS, "resources": ["services"], "operations": ["CREATE", "UPDATE"]}
    validations = [
        refused(
            "!has(object.spec.type) || object.spec.type != 'NodePort'",
            "a NodePort opens every node; use ClusterIP and the platform's gateway",
        ),
        refused(
            "!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0",
            "externalIPs take over addresses of others; use ClusterIP and the platform's gateway",
        ),
    ]
    keys = _INTERNAL.get(platform.cluster.provider, ())
    if keys:
        internal = " || ".join(
            f"object.metadata.annotations.exists(key, key == '{key}' && object.metadata.annotations[key] == '{value}')"
            for key, value in keys
        )
        validations.append(
            refused(
                "!has(object.spec.type) || object.spec.type != 'LoadBalancer' || "
                f"(has(object.metadata.annotations) && ({internal}))",
                f"a load balancer has no public address here: annotate the Service {keys[0][0]}: {keys[0][1]}",
            )
        )
    yield from policy(platform, "services-stay-inside", [services], validations)


def _networks(platform: Platform) -> Iterator[Obj]:
    """A team opens its network by policies of its own; those of the platform are changed in its declaration.

    Whoever may change the Namespace is an administrator. What goes away with its namespace may go.
    """
    networks = {
        "apiGroups": ["networking.k8s.io"],
        "apiVersions": ["v1"],
        "resources": ["networkpolicies"],
        "operations": ["UPDATE", "DELETE"],
    }
    ours = f"has(oldObject.metadata.labels) && '{PLATFORM}' in oldObject.metadata.labels"
    allowed = "authorizer.group('').resource('namespaces').name(request.namespace).check('update').allowed()"
    controller = "request.userInfo.username.startsWith('system:serviceaccount:kube-system:')"
    yield from policy(
        platform,
        "network-stays-closed",
        [networks],
        [
            refused(
                f"{allowed} || {controller}",
                "this NetworkPolicy is the platform's; open what you need with one of your own",
            )
        ],
        matchConditions=[{"name": "is-the-platforms", "expression": ours}],
    )
