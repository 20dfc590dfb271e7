"""The kinds of object Plimsoll reads, by group and name.

A check names these in `reads=`; capture lists exactly these. The API version
is not part of the identity: v1beta1 and v1beta2 of a kind are the same noun.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind. `group` is "" for the core group."""

    group: str
    kind: str
    plural: str
    namespaced: bool
    versions: tuple[str, ...] = ("v1",)  # newest first: capture asks for the first one served

    @property
    def builtin(self) -> bool:
        """Served by every API server of a supported version, so no CRD announces it."""
        return "." not in self.group or self.group in _BUILTIN_GROUPS

    def __str__(self) -> str:
        return self.kind if not self.group else f"{self.kind}.{self.group}"


_BUILTIN_GROUPS = frozenset({
    "apiregistration.k8s.io", "admissionregistration.k8s.io", "rbac.authorization.k8s.io",
    "networking.k8s.io", "scheduling.k8s.io", "node.k8s.io", "resource.k8s.io", "storage.k8s.io",
    "discovery.k8s.io", "coordination.k8s.io", "events.k8s.io", "apiextensions.k8s.io",
})  # fmt: skip

NODE = Kind("", "Node", "nodes", False)
POD = Kind("", "Pod", "pods", True)
NAMESPACE = Kind("", "Namespace", "namespaces", False)
EVENT = Kind("", "Event", "events", True)
CONFIG_MAP = Kind("", "ConfigMap", "configmaps", True)
SECRET = Kind("", "Secret", "secrets", True)
SERVICE = Kind("", "Service", "services", True)
SERVICE_ACCOUNT = Kind("", "ServiceAccount", "serviceaccounts", True)
RESOURCE_QUOTA = Kind("", "ResourceQuota", "resourcequotas", True)
LIMIT_RANGE = Kind("", "LimitRange", "limitranges", True)
PVC = Kind("", "PersistentVolumeClaim", "persistentvolumeclaims", True)
DEPLOYMENT = Kind("apps", "Deployment", "deployments", True)
DAEMON_SET = Kind("apps", "DaemonSet", "daemonsets", True)
STATEFUL_SET = Kind("apps", "StatefulSet", "statefulsets", True)
REPLICA_SET = Kind("apps", "ReplicaSet", "replicasets", True)
CONTROLLER_REVISION = Kind("apps", "ControllerRevision", "controllerrevisions", True)
JOB = Kind("batch", "Job", "jobs", True)
CRON_JOB = Kind("batch", "CronJob", "cronjobs", True)
HPA = Kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("v2",))
PDB = Kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", True)
ROLE = Kind("rbac.authorization.k8s.io", "Role", "roles", True)
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", True)
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", False)
CLUSTER_ROLE_BINDING = Kind("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", False)
NETWORK_POLICY = Kind("networking.k8s.io", "NetworkPolicy", "networkpolicies", True)
PRIORITY_CLASS = Kind("scheduling.k8s.io", "PriorityClass", "priorityclasses", False)
RUNTIME_CLASS = Kind("node.k8s.io", "RuntimeClass", "runtimeclasses", False)
STORAGE_CLASS = Kind("storage.k8s.io", "StorageClass", "storageclasses", False)
ENDPOINT_SLICE = Kind("discovery.k8s.io", "EndpointSlice", "endpointslices", True)
API_SERVICE = Kind("apiregistration.k8s.io", "APIService", "apiservices", False)
CRD = Kind("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", False)
MUTATING_WEBHOOK = Kind(
    "admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False
)
VALIDATING_WEBHOOK = Kind(
    "admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
)
ADMISSION_POLICY = Kind(
    "admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False
)
ADMISSION_BINDING = Kind(
    "admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False
)
RESOURCE_SLICE = Kind("resource.k8s.io", "ResourceSlice", "resourceslices", False, ("v1", "v1beta2", "v1beta1"))
DEVICE_CLASS = Kind("resource.k8s.io", "DeviceClass", "deviceclasses", False, ("v1", "v1beta2", "v1beta1"))
RESOURCE_CLAIM = Kind("resource.k8s.io", "ResourceClaim", "resourceclaims", True, ("v1", "v1beta2", "v1beta1"))

CLUSTER_POLICY = Kind("nvidia.com", "ClusterPolicy", "clusterpolicies", False)
NVIDIA_DRIVER = Kind("nvidia.com", "NVIDIADriver", "nvidiadrivers", False, ("v1alpha1",))
GPU_CLUSTER = Kind("nvidia.com", "GPUCluster", "gpuclusters", False, ("v1alpha1",))
NODE_FEATURE = Kind("nfd.k8s-sigs.io", "NodeFeature", "nodefeatures", True, ("v1alpha1",))
COMPUTE_DOMAIN = Kind("resource.nvidia.com", "ComputeDomain", "computedomains", True, ("v1beta1",))

_KUEUE = ("v1beta2", "v1beta1")
CLUSTER_QUEUE = Kind("kueue.x-k8s.io", "ClusterQueue", "clusterqueues", False, _KUEUE)
LOCAL_QUEUE = Kind("kueue.x-k8s.io", "LocalQueue", "localqueues", True, _KUEUE)
COHORT = Kind("kueue.x-k8s.io", "Cohort", "cohorts", False, (*_KUEUE, "v1alpha1"))
RESOURCE_FLAVOR = Kind("kueue.x-k8s.io", "ResourceFlavor", "resourceflavors", False, _KUEUE)
WORKLOAD = Kind("kueue.x-k8s.io", "Workload", "workloads", True, _KUEUE)
ADMISSION_CHECK = Kind("kueue.x-k8s.io", "AdmissionCheck", "admissionchecks", False, _KUEUE)
TOPOLOGY = Kind("kueue.x-k8s.io", "Topology", "topologies", False, (*_KUEUE, "v1alpha1"))
WORKLOAD_PRIORITY = Kind("kueue.x-k8s.io", "WorkloadPriorityClass", "workloadpriorityclasses", False, _KUEUE)

SCALED_OBJECT = Kind("keda.sh", "ScaledObject", "scaledobjects", True, ("v1alpha1",))
TRIGGER_AUTH = Kind("keda.sh", "TriggerAuthentication", "triggerauthentications", True, ("v1alpha1",))
CLUSTER_TRIGGER_AUTH = Kind(
    "keda.sh", "ClusterTriggerAuthentication", "clustertriggerauthentications", False, ("v1alpha1",)
)

NODE_POOL = Kind("karpenter.sh", "NodePool", "nodepools", False)
EC2_NODE_CLASS = Kind("karpenter.k8s.aws", "EC2NodeClass", "ec2nodeclasses", False)
JOB_SET = Kind("jobset.x-k8s.io", "JobSet", "jobsets", True, ("v1alpha2",))
LEADER_WORKER_SET = Kind("leaderworkerset.x-k8s.io", "LeaderWorkerSet", "leaderworkersets", True)
SERVICE_MONITOR = Kind("monitoring.coreos.com", "ServiceMonitor", "servicemonitors", True)
POD_MONITOR = Kind("monitoring.coreos.com", "PodMonitor", "podmonitors", True)
PROMETHEUS = Kind("monitoring.coreos.com", "Prometheus", "prometheuses", True)
PROMETHEUS_RULE = Kind("monitoring.coreos.com", "PrometheusRule", "prometheusrules", True)

ALL: tuple[Kind, ...] = tuple(value for value in list(vars().values()) if isinstance(value, Kind))
BY_NAME: dict[str, Kind] = {kind.kind: kind for kind in ALL}
BY_GROUP_KIND: dict[tuple[str, str], Kind] = {(kind.group, kind.kind): kind for kind in ALL}
