"""The walls around namespaces that use GPUs: NS-02, NS-06, NS-16 to NS-18, NET-01, CP-03."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, annotations_of, get, items, labels, mapping, name, namespace, text
from plimsoll.kube.operands import cluster_policy
from plimsoll.kube.pods import is_gpu
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.security.tenants import READS, Tenant, account, homes, mounts_token, named

_QUOTA = "kubectl -n <namespace> create quota gpus --hard=requests.nvidia.com/gpu=8"
_PSA = "pod-security.kubernetes.io/enforce"
_ADVICE = "plimsoll.dev/advice"
_LEVELS = {"restricted": 0, "baseline": 1, "privileged": 2}


@check("NS-02", Severity.WARNING, Layer.RISK, reads=READS,
       whole=(kinds.NAMESPACE, kinds.RESOURCE_QUOTA, kinds.LOCAL_QUEUE),
       remedy=_QUOTA, source="Kubernetes docs (quota for extended resources)")  # fmt: skip
def gpus_have_a_quota(case: Case) -> Iterator[Finding]:
    """Every namespace that uses GPUs has a limit on how many.

    Without one a single team, or a single loop in a script, can hold every GPU of the cluster. A namespace
    with a queue of Kueue gets its limit there. For extended resources Kubernetes accepts only the form
    `requests.nvidia.com/gpu`; a quota that names the resource in another way limits nothing.
    """
    queued = {namespace(each) for each in case.snapshot.list(kinds.LOCAL_QUEUE)}
    quotas: dict[str, list[Obj]] = {}
    for each in case.snapshot.list(kinds.RESOURCE_QUOTA):
        quotas.setdefault(namespace(each), []).append(each)
    for home, own in homes(case.snapshot):
        keys = [key for each in quotas.get(name(home), []) for key in mapping(each, "spec", "hard")]
        if any(key.startswith("requests.") and is_gpu(key.removeprefix("requests.")) for key in keys):
            continue
        wrong = next((key for key in keys if is_gpu(key.removeprefix("limits.")) or "deviceclass" in key), "")
        if "deviceclass" in wrong or (name(home) in queued and not wrong):
            continue
        why = f"its quota counts {wrong}, which limits nothing" if wrong else "it has no quota for them"
        yield case.finding(
            home,
            f"Namespace {name(home)} may use every GPU of the cluster: {why}",
            "metadata.name",
            seen={"workloads with GPUs": named(own), "quota keys": ", ".join(sorted(keys)) or "none"},
            remedy=f"kubectl -n {name(home)} create quota gpus --hard=requests.nvidia.com/gpu=8\n"
            "and requests.nvidia.com/gpu.shared, requests.nvidia.com/mig-… where it uses them",
        )


@check("NS-06", Severity.WARNING, Layer.RISK, reads=(*READS, kinds.NAMESPACE),
       remedy=f"kubectl label ns <namespace> {_PSA}=baseline",
       source="Kubernetes Pod Security Admission")  # fmt: skip
def tenants_are_confined(case: Case) -> Iterator[Finding]:
    """Every namespace that uses GPUs enforces a Pod Security Standard.

    Without an enforced standard whoever may make a pod may make a privileged one, which sees every GPU of its
    node and its files; MIG and quotas are then a matter of politeness. A default in the API server's own
    configuration would do as well, but no object shows it. Where a platform.yaml is given, its
    `security.podSecurity` says how strict the standard must be.
    """
    wanted = case.platform.security.pod_security if case.platform is not None else "baseline"
    for home, own in homes(case.snapshot):
        if not labels(home):  # the API server puts one on every namespace
            yield case.unknown(home, f"Namespace {name(home)} was read without its labels")
            continue
        have = text(labels(home), _PSA)
        if _LEVELS.get(have, 3) <= _LEVELS[wanted]:
            continue
        what = f"enforces only {have}" if have else "enforces no Pod Security Standard"
        yield case.finding(
            home,
            f"Namespace {name(home)} runs GPU workloads and {what}",
            f"metadata.labels[{_PSA}]",
            seen={"workloads with GPUs": named(own), "wanted": wanted},
            remedy=f"kubectl label --dry-run=server --overwrite ns {name(home)} {_PSA}={wanted}   # lists what it "
            f"would refuse\nkubectl label --overwrite ns {name(home)} {_PSA}={wanted}",
        )


def _of(some: list[Tenant], every: list[Tenant]) -> str:
    return f"{len(some)} of {many(len(every), 'GPU workload')}"


@check("NS-16", Severity.INFO, Layer.RISK, reads=(*READS, kinds.NAMESPACE),
       remedy="kubectl -n <namespace> create serviceaccount <name>\nname it in serviceAccountName of the pods",
       source="CIS 5.1.5")  # fmt: skip
def workloads_have_an_identity(case: Case) -> Iterator[Finding]:
    """Every GPU workload runs as a ServiceAccount of its own.

    What runs as `default` has no identity: it cannot be given rights of its own, and no audit log tells it
    from what else runs there.
    """
    for home, own in homes(case.snapshot):
        found = [each for each in own if account(each) == "default"]
        if found:
            yield case.finding(
                home,
                f"{_of(found, own)} in {name(home)} {'runs' if len(found) == 1 else 'run'} as ServiceAccount default",
                "metadata.name",
                seen={"workloads": named(found)},
                remedy=f"kubectl -n {name(home)} create serviceaccount {found[0].name}\n"
                + found[0].edit(f"serviceAccountName: {found[0].name}"),
            )


@check("NS-17", Severity.INFO, Layer.RISK, reads=(*READS, kinds.NAMESPACE, kinds.SERVICE_ACCOUNT),
       remedy="set automountServiceAccountToken: false", source="CIS 5.1.6")  # fmt: skip
def workloads_carry_no_token(case: Case) -> Iterator[Finding]:
    """GPU workloads that do not talk to the Kubernetes API carry no token for it.

    Models and notebooks run code that somebody else wrote. The token lies in every container unless it is
    refused, and gives whoever gets in a foot in the cluster. Some do need it (Ray, launchers): then this
    is right as it is.
    """
    for home, own in homes(case.snapshot):
        found = [each for each in own if mounts_token(case.snapshot, each)]
        if found:
            yield case.finding(
                home,
                f"{_of(found, own)} in {name(home)} {'carries' if len(found) == 1 else 'carry'} "
                "a token for the Kubernetes API",
                "metadata.name",
                seen={"workloads": named(found)},
                remedy=f"kubectl -n {name(home)} patch serviceaccount {account(found[0])} "
                "-p '{\"automountServiceAccountToken\":false}'   # for what does not need it",
            )


@check("NS-18", Severity.INFO, Layer.RISK, reads=(*READS, kinds.NAMESPACE),
       remedy="move it to a namespace of its team", source="CIS 5.7.4")  # fmt: skip
def nothing_runs_in_default(case: Case) -> Iterator[Finding]:
    """No GPU workload runs in the namespace `default`.

    It belongs to nobody: no quota, no policy and no bill is written for it.
    """
    for home, own in homes(case.snapshot, default=True):
        if name(home) == "default":
            yield case.finding(
                home,
                f"{len(own)} GPU workload{'' if len(own) == 1 else 's'} in the namespace default: {named(own)}",
                "metadata.name",
                remedy=f"make it anew in its team's namespace\n{own[0].edit('metadata.namespace: <team>')}",
            )


_OTHER_CNI = ("cilium.io", "crd.projectcalico.org", "crd.antrea.io", "policy.networking.k8s.io")


@check("NET-01", Severity.WARNING, Layer.RISK, reads=(*READS, kinds.NAMESPACE), whole=(kinds.NETWORK_POLICY,),
       remedy="add a NetworkPolicy with an empty podSelector and policyTypes Ingress and Egress; "
              "first allow what is needed",
       source="Kubernetes docs (default deny); CIS 5.3.2")  # fmt: skip
def networks_are_closed(case: Case) -> Iterator[Finding]:
    """Every namespace that uses GPUs is closed unless opened, in both directions.

    vLLM's workers, NCCL and Ray accept whoever connects, without encryption or a key: in an open cluster any
    pod can join. And what got in can send weights and prompts anywhere, or ask the cloud's metadata
    service for the node's credentials.
    """
    if case.platform is not None and case.platform.security.network == "open":
        return
    policies: dict[str, list[Obj]] = {}
    for each in case.snapshot.list(kinds.NETWORK_POLICY):
        policies.setdefault(namespace(each), []).append(each)
    for home, own in homes(case.snapshot):
        shut: set[str] = set()
        for policy in policies.get(name(home), []):
            if get(policy, "spec", "podSelector") == {}:
                shut |= _directions(policy)
        missing = [each for each in ("Ingress", "Egress") if each not in shut]
        if not missing:
            continue
        if _other_policies(case.snapshot):
            yield case.unknown(home, f"{name(home)} may be closed by policies of its CNI plugin, which are not read")
            continue
        yield case.finding(
            home,
            f"Namespace {name(home)} runs GPU workloads and has no default deny for {' and '.join(missing).lower()}",
            "metadata.name",
            seen={"workloads with GPUs": named(own), "NetworkPolicies": len(policies.get(name(home), []))},
            remedy=f"first allow what it needs (DNS, its clients, Prometheus, the model store), then in {name(home)}:\n"
            f"kind: NetworkPolicy, spec: {{podSelector: {{}}, policyTypes: [{', '.join(missing)}]}}",
        )


def _directions(policy: Obj) -> set[str]:
    """The directions a NetworkPolicy closes. Without policyTypes: ingress, and egress where it has such rules."""
    stated = get(policy, "spec", "policyTypes")
    if isinstance(stated, list):
        return {str(each) for each in stated}
    return {"Ingress", "Egress"} if "egress" in mapping(policy, "spec") else {"Ingress"}


def _other_policies(snapshot: Snapshot) -> bool:
    return any(text(crd, "spec", "group") in _OTHER_CNI for crd in snapshot.list(kinds.CRD))


def _actions(binding: Obj) -> list[str]:
    value = get(binding, "spec", "validationActions")
    return [str(each) for each in value] if isinstance(value, list) else []


_ENGINES = ("kyverno", "gatekeeper", "kubewarden", "jspolicy", "datree", "polaris")


@check("CP-03", Severity.WARNING, Layer.RISK, reads=(kinds.VALIDATING_WEBHOOK,),
       whole=(kinds.ADMISSION_POLICY, kinds.ADMISSION_BINDING),
       remedy="kubectl get validatingadmissionpolicy,validatingadmissionpolicybinding",
       source="Kubernetes docs (ValidatingAdmissionPolicy)")  # fmt: skip
def policies_are_enforced(case: Case) -> Iterator[Finding]:
    """Admission policies exist and are enforced.

    A policy without a binding, or whose bindings only warn, lets everything through; one whose expressions do
    not type-check may fail at the first object. One that is only to advise says so by the annotation
    `plimsoll.dev/advice`. And where there is none at all, nothing refuses a pod that takes GPUs past the
    scheduler: that alone is reported as worth knowing.
    """
    snapshot = case.snapshot
    bindings: dict[str, list[Obj]] = {}
    for each in snapshot.list(kinds.ADMISSION_BINDING):
        bindings.setdefault(text(each, "spec", "policyName"), []).append(each)
    for policy in snapshot.list(kinds.ADMISSION_POLICY):
        own = bindings.get(name(policy), [])
        actions = {action for each in own for action in _actions(each)}
        warned = items(policy, "status", "typeChecking", "expressionWarnings")
        if not own:
            what = "has no binding, so it is never asked"
        elif "Deny" not in actions and _ADVICE not in annotations_of(policy):
            what = f"refuses nothing: its bindings only {', '.join(sorted(actions)).lower() or 'exist'}"
        elif warned:
            what = f"does not type-check: {brief(text(warned[0], 'warning'), 120)}"
        else:
            continue
        yield case.finding(
            policy,
            f"ValidatingAdmissionPolicy {name(policy)} {what}",
            "status.typeChecking.expressionWarnings",
            seen={"bindings": ", ".join(map(name, own)) or "none", "actions": ", ".join(sorted(actions)) or "none"},
            remedy=f"kubectl get validatingadmissionpolicybinding -o yaml | grep -B3 -A8 'policyName: {name(policy)}'\n"
            "set validationActions: [Deny] once its warnings are clean",
        )
    obj = cluster_policy(snapshot) or next((home for home, _ in homes(snapshot)), None)
    guards = [name(each) for each in snapshot.list(kinds.VALIDATING_WEBHOOK) if any(e in name(each) for e in _ENGINES)]
    if obj is not None and not snapshot.list(kinds.ADMISSION_POLICY) and not guards:
        yield case.finding(
            obj,
            "No admission policy guards the GPUs: nothing refuses a privileged pod, a /dev/nvidia mount or an "
            "NVIDIA_VISIBLE_DEVICES of its own",
            "metadata.name",
            seen={"ValidatingAdmissionPolicies": 0, "policy engines": 0},
            severity=Severity.INFO,
            remedy="add ValidatingAdmissionPolicies for pods: GPUs only in allowed namespaces, NVIDIA_VISIBLE_DEVICES "
            "only void or none, no device host paths, the nvidia RuntimeClass only with a GPU request",
        )
