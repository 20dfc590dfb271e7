"""What GPU workloads reach on their node, and which keys they hold: ID-01, ID-12, POD-01, 03, 07, DEV-08."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube.objects import containers, get, items, mapping, text
from plimsoll.pillars.security.tenants import READS, Tenant, env, tenants

_SECRET_ENV = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_CERTIFICATE_PATH", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip
_PATHS = ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_CERTIFICATE_PATH")  # name a file, are no key themselves
_HUB_ENV = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN", "HUGGINGFACE_TOKEN", "WANDB_API_KEY",
            "NGC_API_KEY", "OPENAI_API_KEY", "VLLM_API_KEY", "MLFLOW_TRACKING_PASSWORD")  # fmt: skip
_EDIT = "kubectl -n <namespace> edit deploy <name>"


@check("ID-01", Severity.WARNING, Layer.RISK, reads=READS, remedy=_EDIT,
       source="EKS Pod Identity and IRSA, GKE and AKS workload identity docs")  # fmt: skip
def no_static_cloud_keys(case: Case) -> Iterator[Finding]:
    """GPU workloads hold no long-lived key of a cloud account.

    A key in the environment is readable by everything in the container, by whoever may read pods if it is
    written out, and it works from anywhere until somebody revokes it. Every large cloud gives pods short-lived
    credentials by ServiceAccount instead. An error where the key itself stands in the manifest.
    """
    for each in tenants(case.snapshot):
        found = [(path, entry) for path, entry in env(each) if text(entry, "name") in _SECRET_ENV and _filled(entry)]
        if not found:
            continue
        written = [
            (path, entry) for path, entry in found if "value" in entry and text(entry, "name") not in _PATHS
        ]  # a snapshot holds no value of these, only that there was one
        path, entry = (written or found)[0]
        how = "written out in its manifest" if written else "from a Secret or a file"
        yield case.finding(
            each.obj,
            f"{each.title} holds a static cloud key, {text(entry, 'name')}, {how}",
            f"{path}.name",
            seen={"variables": ", ".join(sorted({text(entry, "name") for _, entry in found}))},
            severity=Severity.ERROR if written else None,
            remedy=("revoke this key now: whoever could read pods has it\n" if written else "")
            + each.edit(
                "give its ServiceAccount a cloud identity instead (EKS Pod Identity or eks.amazonaws.com/role-arn, "
                "iam.gke.io/gcp-service-account, azure.workload.identity/client-id) and drop the variable"
            ),
        )


def _filled(entry: dict[str, object]) -> bool:
    """Whether an environment entry has a value, literal or from somewhere."""
    return bool(entry.get("value")) or bool(mapping(entry, "valueFrom", "secretKeyRef"))


@check("ID-12", Severity.WARNING, Layer.RISK, reads=READS, remedy=_EDIT,
       source="Hugging Face Hub tokens docs")  # fmt: skip
def hub_tokens_are_in_secrets(case: Case) -> Iterator[Finding]:
    """Tokens of model hubs and trackers are not written into manifests.

    A literal token is in the API server, in Git, in every `kubectl get pod -o yaml` and in the backups of all
    three. It often opens more than the one gated model it was made for.
    """
    for each in tenants(case.snapshot):
        found = [(path, entry) for path, entry in env(each) if text(entry, "name") in _HUB_ENV and entry.get("value")]
        if found:
            title = text(found[0][1], "name")
            yield case.finding(
                each.obj,
                f"{each.title} has {title} written out in its manifest",
                f"{found[0][0]}.name",
                seen={"variables": ", ".join(sorted({text(entry, "name") for _, entry in found}))},
                remedy="renew the token; whoever could read pods has it\n"
                f"kubectl -n {each.namespace} create secret generic hub-token --from-file=token\n"
                + each.edit(f"{title}: valueFrom: {{secretKeyRef: {{name: hub-token, key: token}}}}"),
            )


@check("POD-01", Severity.ERROR, Layer.RISK, reads=READS, remedy=_EDIT,
       source="Pod Security Standards (baseline); CIS 5.2.2")  # fmt: skip
def no_privileged_tenants(case: Case) -> Iterator[Finding]:
    """No GPU workload is privileged.

    A privileged container has every device of its node: all GPUs and not only its own, every MIG instance, the
    disks. Quotas and partitions no longer mean anything there. GPUs need no privilege: the device plugin
    hands them in.
    """
    for each in tenants(case.snapshot):
        for path, container in containers(each.pod):
            if get(container, "securityContext", "privileged") is True:
                yield case.finding(
                    each.obj,
                    f"{each.title} is privileged: it holds every GPU of its node and the node itself",
                    f"{each.at}{path}.securityContext.privileged",
                    f"{each.at}{path}.resources.limits",
                    remedy=each.edit("securityContext: {privileged: false}; for RDMA add only capability IPC_LOCK"),
                )
                break


@check("POD-03", Severity.WARNING, Layer.RISK, reads=READS, remedy=_EDIT,
       source="Pod Security Standards (baseline); CIS 5.2.3 to 5.2.5")  # fmt: skip
def no_host_namespaces(case: Case) -> Iterator[Finding]:
    """No GPU workload shares its node's processes, memory or network.

    hostPID shows and may kill every process of the node, hostIPC shares memory with them, hostNetwork passes
    every NetworkPolicy and reaches the node's own services. Recipes for NCCL ask for hostIPC out of habit:
    a memory volume at /dev/shm does the same.
    """
    for each in tenants(case.snapshot):
        found = [field for field in ("hostPID", "hostIPC", "hostNetwork") if get(each.pod, "spec", field) is True]
        if found:
            yield case.finding(
                each.obj,
                f"{each.title} shares its node's {', '.join(field.removeprefix('host') for field in found)}",
                *(f"{each.at}spec.{field}" for field in found),
                remedy=each.edit(
                    f"remove {', '.join(found)}; for NCCL mount an emptyDir with medium Memory at /dev/shm"
                ),
            )


_DEVICES = ("/dev", "/run/nvidia", "/var/run/nvidia", "/var/run/cdi", "/etc/cdi", "/run/cdi")
_SOCKETS = ("/var/lib/kubelet", "/run/containerd", "/var/run/containerd", "/run/crio", "/var/run/crio",
            "/var/run/docker.sock", "/run/docker.sock", "/run/k3s/containerd")  # fmt: skip
_HARMLESS = ("/dev/shm", "/dev/infiniband", "/dev/hugepages")  # noqa: S108  memory and network cards, no GPU


def _under(path: str, roots: tuple[str, ...]) -> bool:
    clean = path.rstrip("/") or "/"
    return any(clean == root or clean.startswith(f"{root}/") for root in roots)


def _dangerous(path: str) -> str:
    """What a host path opens: devices, the node's runtime, or everything; "" for others."""
    if path.rstrip("/") == "":
        return "the whole node"
    if _under(path, _HARMLESS):
        return ""
    if _under(path, _SOCKETS) or path.rstrip("/") in ("/var/lib", "/var", "/run", "/var/run"):
        return "the kubelet's or the container runtime's sockets"
    if _under(path, _DEVICES):
        return "the node's devices"
    return "the node's configuration" if _under(path, ("/etc", "/root", "/boot", "/proc", "/sys")) else ""


def _host_paths(each: Tenant) -> list[tuple[int, str]]:
    found = [
        (index, text(volume, "hostPath", "path")) for index, volume in enumerate(items(each.pod, "spec", "volumes"))
    ]
    return [(index, path) for index, path in found if path]


@check("DEV-08", Severity.ERROR, Layer.RISK, reads=READS, remedy=_EDIT,
       source="Pod Security Standards (baseline); k8s-device-plugin")  # fmt: skip
def no_device_paths(case: Case) -> Iterator[Finding]:
    """No GPU workload mounts the devices, sockets or configuration of its node.

    With /dev a container can take GPUs the scheduler gave to others; through the kubelet's device-plugin folder
    it can pose as a device plugin, through the runtime's socket start any container, and with / or /etc it
    is root on the node.
    """
    for each in tenants(case.snapshot):
        bad = [(index, path, opens) for index, path in _host_paths(each) if (opens := _dangerous(path))]
        if bad:
            index, path, opens = bad[0]
            yield case.finding(
                each.obj,
                f"{each.title} mounts {path} of its node: {opens}",
                f"{each.at}spec.volumes[{index}].hostPath.path",
                seen={"host paths": ", ".join(path for _, path, _ in bad)},
                remedy=each.edit(
                    "remove the hostPath volume; ask for nvidia.com/gpu and let the device plugin hand it in"
                ),
            )


@check("POD-07", Severity.WARNING, Layer.RISK, reads=READS, remedy=_EDIT,
       source="Pod Security Standards (baseline); CIS 5.2.11")  # fmt: skip
def no_host_paths(case: Case) -> Iterator[Finding]:
    """No GPU workload keeps its files on its node's disk.

    A folder of the node outlives the pod and is shared with whoever mounts it next: weights and prompts stay
    behind, and a poisoned cache is executed by the next tenant. It also fills the disk the kubelet needs.
    """
    for each in tenants(case.snapshot):
        found = [(i, path) for i, path in _host_paths(each) if not _dangerous(path) and not _under(path, _HARMLESS)]
        if found:
            yield case.finding(
                each.obj,
                f"{each.title} keeps files in {found[0][1]} of its node",
                f"{each.at}spec.volumes[{found[0][0]}].hostPath.path",
                seen={"host paths": ", ".join(path for _, path in found)},
                remedy=each.edit(
                    "use a PersistentVolumeClaim, a local volume of its team's StorageClass, or an emptyDir"
                ),
            )
