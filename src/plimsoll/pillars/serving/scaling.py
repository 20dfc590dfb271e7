"""What keeps a service from being scaled now: V00, V21, V45, V51, V53 to V56."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.control import keda_parts
from plimsoll.kube.objects import Obj, condition, get, items, labels, name, namespace, number, text
from plimsoll.kube.served import find_target, hpas_by_target, scaled_by_target, scaled_object_of, target, target_token
from plimsoll.pillars.serving.state import (
    STARTING,
    broken_trigger,
    down,
    first_trouble,
    paused,
    pod_tokens,
    replicas,
    says,
    scaling_services,
    starting,
    unavailable,
    young,
)

METRICS_API = "v1beta1.external.metrics.k8s.io"
_GET = re.compile(r'Get "[^"]*": ')  # the whole query, encoded; the evidence keeps it


_GROUPS = {  # metrics APIs other than KEDA's, and the types of HPA metrics they serve
    "metrics.k8s.io": ("Resource", "ContainerResource"),
    "custom.metrics.k8s.io": ("Pods", "Object"),
}


@check("V00", Severity.CRITICAL, Layer.CLUSTER, reads=(kinds.DEPLOYMENT, kinds.API_SERVICE, kinds.HPA),
       remedy="kubectl -n keda get deploy,pods; kubectl get apiservice v1beta1.external.metrics.k8s.io",
       source="KEDA docs (architecture; troubleshooting: FailedDiscoveryCheck behind a proxy)")  # fmt: skip
def keda_runs(case: Case) -> Iterator[Finding]:
    """KEDA's operator and every metrics API that autoscalers read are up.

    The operator reads every trigger and the metrics server hands the values to the autoscalers. With
    either gone, every service KEDA scales stays at the replicas it has: it does not grow under load
    and nothing wakes one that sleeps at 0. Their ScaledObjects keep showing the last state.
    So it is with autoscalers that read CPU use from metrics-server or pod metrics from an adapter.
    """
    yield from _mute(case)
    snapshot = case.snapshot
    parts = keda_parts(snapshot)
    found = False
    for each in (*parts["operator"], *parts["metrics"]):
        if unavailable(each) is not True:
            continue
        found = True
        if starting(case, each):
            continue  # nor is what stands on it to blame yet
        why = "it is scaled to 0" if replicas(each) == 0 else says(first_trouble(snapshot, each))
        yield _down(case, each, f"KEDA's {namespace(each)}/{name(each)} has no available replica: {why}")
    service = snapshot.get(kinds.API_SERVICE, METRICS_API)
    if found or service is None or condition(service, "Available").get("status") != "False" or _foreign(case, service):
        return
    said = condition(service, "Available")
    yield case.finding(
        service,
        f"The API server cannot reach KEDA's metrics: {text(said, 'reason')}: {brief(text(said, 'message'), 160)}",
        "status.conditions[Available].reason",
        "status.conditions[Available].message",
        "spec.service.namespace",
        affects=scaling_services(snapshot),
        remedy=f"kubectl get apiservice {METRICS_API} -o yaml\n"
        f"kubectl -n {text(service, 'spec', 'service', 'namespace')} get endpointslices\n"
        "if the API server goes through a proxy, put the Service range and .svc into its no_proxy; if a NetworkPolicy "
        "or firewall stands between, open the adapter's port (6443 of the pod)",
    )


def _mute(case: Case) -> Iterator[Finding]:
    """Metrics APIs other than KEDA's that the API server cannot reach, while HPAs read from them."""
    services = case.snapshot.list(kinds.API_SERVICE)
    for group, types in _GROUPS.items():
        own = sorted((each for each in services if text(each, "spec", "group") == group), key=name)
        readers = [hpa for hpa in case.snapshot.list(kinds.HPA) if _metric_types(hpa) & set(types)]
        affects = {target_token(hpa) for hpa in readers} - set(down(case.snapshot))
        if not own or not affects or any(condition(each, "Available").get("status") != "False" for each in own):
            continue
        said = condition(own[0], "Available")
        here, title = text(own[0], "spec", "service", "namespace"), text(own[0], "spec", "service", "name")
        yield case.finding(
            own[0],
            f"The API server cannot reach {group}, which {many(len(affects), 'autoscaled workload')} "
            f"need{'s' if len(affects) == 1 else ''}: {text(said, 'reason')}: {brief(text(said, 'message'), 160)}",
            "status.conditions[Available].reason",
            "status.conditions[Available].message",
            "spec.service.namespace",
            "spec.service.name",
            affects=affects,
            severity=Severity.ERROR,
            remedy=f"kubectl get apiservice {name(own[0])} -o yaml\n"
            f"kubectl -n {here} get service {title}; kubectl -n {here} get endpointslices,pods -o wide\n"
            f"kubectl -n {here} describe service {title}   # its selector must match pods that are ready",
        )


def _metric_types(hpa: Obj) -> set[str]:
    """The types of metrics an HPA reads; CPU use where it names none."""
    return {text(metric, "type") for metric in items(hpa, "spec", "metrics")} or {"Resource"}


def _down(case: Case, part: Obj, title: str) -> Finding:
    here = namespace(part)
    return case.finding(
        part,
        title,
        "status.availableReplicas",
        "status.conditions[Available].reason",
        "spec.replicas",
        affects=scaling_services(case.snapshot) | pod_tokens(case.snapshot, part),
        remedy=(f"kubectl -n {here} scale deploy {name(part)} --replicas=1\n" if replicas(part) == 0 else "")
        + f"kubectl -n {here} describe deploy {name(part)}\nkubectl -n {here} logs deploy/{name(part)} --previous",
    )


@check("V56", Severity.WARNING, Layer.CLUSTER, reads=(kinds.DEPLOYMENT,),
       remedy="kubectl -n keda logs deploy/keda-admission-webhooks",
       source="KEDA docs (troubleshooting: context deadline exceeded on apply)")  # fmt: skip
def keda_webhook_runs(case: Case) -> Iterator[Finding]:
    """KEDA's admission webhook is up.

    It refuses two scalers on one workload and bounds that cannot hold. Without it, applying a
    ScaledObject either times out or is let through unchecked, as its failure policy says.
    """
    for each in keda_parts(case.snapshot)["webhook"]:
        if unavailable(each) is True and not starting(case, each):
            why = "it is scaled to 0" if replicas(each) == 0 else says(first_trouble(case.snapshot, each))
            yield case.finding(
                each,
                f"KEDA's admission webhook {namespace(each)}/{name(each)} has no available replica: {why}",
                "status.availableReplicas",
                "spec.replicas",
                affects=pod_tokens(case.snapshot, each),
                remedy=f"kubectl -n {namespace(each)} describe deploy {name(each)}\n"
                "where it runs but times out: open port 9443 from the control plane to the pod",
            )


@check("V45", Severity.ERROR, Layer.CLUSTER, reads=(kinds.SCALED_OBJECT,), whole=(kinds.API_SERVICE,),
       remedy="kubectl get apiservice v1beta1.external.metrics.k8s.io -o yaml",
       source="kedacore/keda#6475")  # fmt: skip
def keda_owns_the_metrics_api(case: Case) -> Iterator[Finding]:
    """The external metrics API leads to KEDA.

    Kubernetes has one provider of `external.metrics.k8s.io`. When another adapter (Datadog, a cloud's,
    prometheus-adapter) registers itself, every HPA that KEDA made asks that one, finds nothing and
    keeps its replicas. KEDA's own fallback does not fire, because KEDA is never asked.
    """
    snapshot = case.snapshot
    if not snapshot.list(kinds.SCALED_OBJECT):
        return
    service = snapshot.get(kinds.API_SERVICE, METRICS_API)
    remedy = (
        f"kubectl get apiservice {METRICS_API} -o yaml   # who owns it?\n"
        "uninstall the other adapter or switch its external metrics off, then restart keda-operator"
    )
    if service is None:
        yield case.finding(
            next(iter(keda_parts(snapshot)["metrics"]), snapshot.list(kinds.SCALED_OBJECT)[0]),
            f"Nobody serves {METRICS_API}, so no HPA of KEDA can read its metric",
            seen={f"APIService {METRICS_API}": "absent"},
            affects=scaling_services(snapshot),
            remedy="reinstall KEDA's chart: it creates the APIService",
        )
    elif _foreign(case, service):
        here, title = text(service, "spec", "service", "namespace"), text(service, "spec", "service", "name")
        yield case.finding(
            service,
            f"The external metrics API belongs to {here}/{title}, not to KEDA",
            "spec.service.namespace",
            "spec.service.name",
            affects=scaling_services(snapshot),
            remedy=remedy,
        )


def _foreign(case: Case, service: Obj) -> bool:
    """Whether the metrics API is served by something that is not KEDA."""
    said = f"{text(service, 'spec', 'service', 'namespace')} {text(service, 'spec', 'service', 'name')}"
    marks = " ".join([said, *map(str, labels(service).values())])
    homes = {namespace(each) for parts in keda_parts(case.snapshot).values() for each in parts}
    return bool(said.strip()) and "keda" not in marks.lower() and said.partition(" ")[0] not in homes


_REMEDY = {
    "target": "kubectl -n {ns} get deploy,statefulset\nset spec.scaleTargetRef of ScaledObject {name} to one of them; "
              "it needs a /scale subresource",
    "address": "kubectl -n {ns} get scaledobject {name} -o yaml\nset triggers[].metadata.serverAddress, for example "
               "http://prometheus-operated.monitoring.svc:9090 (an empty template variable is the usual cause)",
    "parameter": "kubectl -n {ns} describe scaledobject {name}\nadd the parameter KEDA names; Prometheus triggers need "
                 "serverAddress, query and threshold",
    "bounds": "kubectl -n {ns} edit scaledobject {name}\nidleReplicaCount < minReplicaCount <= maxReplicaCount",
    "dns": "kubectl get svc -A | grep -i prometheus   # does {address} exist?\ncorrect serverAddress of ScaledObject "
           "{name}; if the name is right, look at the cluster's DNS",
    "connect": "kubectl get svc,endpointslices -A | grep -i prometheus\nkubectl -n keda run probe --rm -it "
               "--image=curlimages/curl -- curl -m5 {address}/-/ready\nthe server is down, its port is wrong, or a "
               "NetworkPolicy stops KEDA",
    "auth": "kubectl -n {ns} get triggerauthentication\nrenew the token or CA that the trigger's authenticationRef "
            "names, and check the server's certificate",
    "multiple": "wrap the query in sum(...) or max(...): KEDA takes exactly one series, and every new pod adds one",
    "query": "try the query on {address}; Prometheus refuses it\nkubectl -n {ns} edit scaledobject {name}",
    "empty": "try the query on {address}: no series matches it\nkubectl get servicemonitor,podmonitor -A   # are the "
             "pods scraped?\ncheck the metric's name against the engine's version and its labels (model_name)",
    "server": "try the query on {address}; Prometheus answers with an error of its own",
}  # fmt: skip


@check("V51", Severity.ERROR, Layer.SCALER, reads=(kinds.SCALED_OBJECT,),
       remedy="kubectl -n <namespace> describe scaledobject <name>",
       source="keda pkg/scaling, pkg/scalers/prometheus_scaler; llm-d-benchmark#1724")  # fmt: skip
def triggers_work(case: Case) -> Iterator[Finding]:
    """Every ScaledObject finds its target and can read its triggers.

    When KEDA cannot read a trigger the service keeps the replicas it has, or those of its fallback: load
    rises and nothing grows, and a service that sleeps at 0 never wakes. The event on the ScaledObject
    says what the metric's server answered; the HPA behind it only repeats that there is no metric.
    """
    for scaled in case.snapshot.list(kinds.SCALED_OBJECT):
        broken = broken_trigger(case.snapshot, scaled)
        if broken is None:
            continue
        trigger = items(scaled, "spec", "triggers")[:1]
        address = text(trigger[0], "metadata", "serverAddress") if trigger else ""
        fallback = " (its fallback holds)" if condition(scaled, "Fallback").get("status") == "True" else ""
        remedy = _REMEDY.get(broken.kind, "kubectl -n {ns} describe scaledobject {name}\nkubectl -n keda logs "
                             "deploy/keda-operator | grep {name}")  # fmt: skip
        yield case.finding(
            scaled,
            f"ScaledObject {namespace(scaled)}/{name(scaled)} cannot scale {target(scaled)[2]}{fallback}: "
            f"{brief(_GET.sub('', broken.message), 200)}",
            *([f"{broken.path}.reason", f"{broken.path}.message"] if broken.path else []),
            "spec.scaleTargetRef.name",
            "spec.triggers[0].metadata.serverAddress",
            seen={"last failure": broken.message},
            affects=[target_token(scaled)],
            remedy=remedy.format(ns=namespace(scaled), name=name(scaled), address=address or "the server"),
            layer=Layer.AUTOSCALER if broken.kind == "empty" else None,  # a server that is down has no series
        )


@check("V53", Severity.WARNING, Layer.SCALER, reads=(kinds.SCALED_OBJECT,),
       remedy="kubectl -n <namespace> describe scaledobject <name>", source="keda pkg/fallback")  # fmt: skip
def no_fallback_is_active(case: Case) -> Iterator[Finding]:
    """No service runs on the replicas of its fallback.

    The fallback holds a fixed number of replicas while a trigger cannot be read. That saves the
    service, hides that nothing is measured any more, and costs the fallback's GPUs day and night.
    """
    for scaled in case.snapshot.list(kinds.SCALED_OBJECT):
        if condition(scaled, "Fallback").get("status") != "True" or broken_trigger(case.snapshot, scaled):
            continue
        yield case.finding(
            scaled,
            f"ScaledObject {namespace(scaled)}/{name(scaled)} runs on its fallback of "
            f"{many(number(scaled, 'spec', 'fallback', 'replicas'), 'replica')}: a trigger cannot be read",
            "status.conditions[Fallback].message",
            "status.health",
            "spec.fallback",
            affects=[target_token(scaled)],
            remedy=f"kubectl -n {namespace(scaled)} get scaledobject {name(scaled)} -o jsonpath='{{.status.health}}'\n"
            f"kubectl -n {namespace(scaled)} describe scaledobject {name(scaled)}",
        )


@check("V54", Severity.ERROR, Layer.AUTOSCALER, reads=(kinds.HPA,),
       remedy="kubectl -n <namespace> describe hpa <name>",
       source="Kubernetes HPA conditions; k8s-ai-conformance v1.35 kops recording (FailedGetPodsMetric)")  # fmt: skip
def autoscalers_are_active(case: Case) -> Iterator[Finding]:
    """Every autoscaler can read its metric and its target.

    An HPA without a metric keeps the replicas it has, whatever the load. The metric is served by an
    adapter: KEDA, prometheus-adapter or metrics-server, and what is wrong sits there or in the name.
    """
    for hpa in case.snapshot.list(kinds.HPA):
        said, path = condition(hpa, "ScalingActive"), "status.conditions[ScalingActive]"
        if condition(hpa, "AbleToScale").get("status") == "False":
            said, path = condition(hpa, "AbleToScale"), "status.conditions[AbleToScale]"
        if said.get("status") != "False" or said.get("reason") == "ScalingDisabled" or young(case, hpa):
            continue
        scaled = scaled_object_of(case.snapshot, hpa)
        broken = broken_trigger(case.snapshot, scaled) if scaled else None
        yield case.finding(
            hpa,
            f"HPA {namespace(hpa)}/{name(hpa)} does not scale {target(hpa)[2]}: {text(said, 'reason')}: "
            f"{brief(text(said, 'message'), 200)}",
            f"{path}.reason",
            f"{path}.message",
            affects=[target_token(hpa)],
            remedy=_hpa_remedy(hpa, scaled, text(said, "reason")),
            layer=Layer.SERVICE if broken and broken.kind == "empty" else None,  # behind V51, which moved up
        )


def _hpa_remedy(hpa: Obj, scaled: Obj | None, reason: str) -> str:
    here = namespace(hpa)
    if scaled is not None:
        return f"kubectl -n {here} describe scaledobject {name(scaled)}"
    if reason == "FailedGetScale":
        return f"kubectl -n {here} get {target(hpa)[0].lower()} {target(hpa)[2]}   # the target must exist"
    api = {
        "FailedGetExternalMetric": "external.metrics.k8s.io/v1beta1",
        "FailedGetResourceMetric": "metrics.k8s.io/v1beta1",
    }.get(reason, "custom.metrics.k8s.io/v1beta1")
    return (
        f"kubectl -n {here} describe hpa {name(hpa)}\nkubectl get --raw /apis/{api}   # is the metric listed?\n"
        "add a rule for it to the adapter (vLLM writes vllm:num_requests_waiting), or let KEDA ask Prometheus"
    )


@check("V55", Severity.WARNING, Layer.SCALER, reads=(kinds.SCALED_OBJECT,),
       remedy="kubectl -n <namespace> annotate scaledobject <name> autoscaling.keda.sh/paused-",
       source="KEDA docs (pause autoscaling)")  # fmt: skip
def no_scaler_is_paused(case: Case) -> Iterator[Finding]:
    """No ScaledObject is paused.

    A pause is set by hand, for a migration or an incident, and nothing takes it back. The service
    then keeps its replicas through every peak and every quiet night.
    """
    for scaled in case.snapshot.list(kinds.SCALED_OBJECT):
        if not paused(scaled):
            continue
        fixed = get(scaled, "metadata", "annotations", "autoscaling.keda.sh/paused-replicas")
        yield case.finding(
            scaled,
            f"ScaledObject {namespace(scaled)}/{name(scaled)} is paused"
            + (f" at {fixed} replica{'' if str(fixed) == '1' else 's'}" if fixed is not None else ""),
            "metadata.annotations[autoscaling.keda.sh/paused]",
            "metadata.annotations[autoscaling.keda.sh/paused-replicas]",
            "status.conditions[Paused].status",
            affects=[target_token(scaled)],
            remedy=f"kubectl -n {namespace(scaled)} annotate scaledobject {name(scaled)} "
            "autoscaling.keda.sh/paused- autoscaling.keda.sh/paused-replicas-",
        )


@check("V21", Severity.ERROR, Layer.SCALER, reads=(kinds.HPA, kinds.SCALED_OBJECT),
       remedy="kubectl get hpa,scaledobject -A",
       source="Kubernetes HPA docs (AmbiguousSelector); KEDA admission webhook")  # fmt: skip
def one_scaler_per_target(case: Case) -> Iterator[Finding]:
    """Every workload has one scaler.

    Two autoscalers on one workload set its replicas in turn, each undoing the other; Kubernetes stops
    both once it notices. With GPUs every swing is a model load of minutes.
    """
    scaled, hpas = scaled_by_target(case.snapshot), hpas_by_target(case.snapshot)
    for key in sorted({*scaled, *hpas}):
        owners = [*scaled.get(key, []), *hpas.get(key, [])]
        if len(owners) < 2:
            continue
        others = ", ".join(f"{text(each, 'kind')} {name(each)}" for each in owners[:-1])
        found = find_target(case.snapshot, owners[-1])
        yield case.finding(
            owners[-1],
            f"{text(owners[-1], 'kind')} {name(owners[-1])} scales {key[0]} {key[1]}/{key[2]}, as does {others}",
            "spec.scaleTargetRef.name",
            seen={"scalers": len(owners), "replicas now": replicas(found) if found else None},
            affects=[target_token(owners[-1])],
            remedy=f"kubectl -n {key[1]} delete {text(owners[-1], 'kind').lower()} {name(owners[-1])}   # keep one",
        )


@check("V52", Severity.ERROR, Layer.SCALER, reads=(kinds.DEPLOYMENT, kinds.STATEFUL_SET), whole=(kinds.POD,),
       remedy="kubectl -n <namespace> describe deploy <name>", source="Deployment and pod status")  # fmt: skip
def services_have_a_ready_replica(case: Case) -> Iterator[Finding]:
    """Every served model that asks for replicas has a ready one.

    A model server that crashes, cannot pull its image or finds no GPU answers nobody. Its autoscaler cannot
    help: it reads its metric from the same pods. A server that is still loading its weights is left alone
    for twenty minutes, and one that sleeps at 0 on purpose for ever.
    """
    for _, each in sorted(down(case.snapshot).items()):
        here, title, kind = namespace(each.what.obj), name(each.what.obj), text(each.what.obj, "kind")
        if each.first is None:
            if young(case, each.what.obj):
                continue
        else:
            pod, why = each.first
            patience = {"crash": None, "image": None, "unschedulable": young(case, pod)}
            if patience.get(why.state, _loading(case, pod)):
                continue
        yield case.finding(
            each.what.obj,
            f"{kind} {here}/{title} serves nobody: {_none_ready(replicas(each.what.obj))}, {says(each.first)}",
            "spec.replicas",
            "status.readyReplicas",
            seen={f"pod {name(each.first[0])}: {each.first[1].path}": each.first[1].reason} if each.first else {},
            affects=each.affects,
            remedy=_service_remedy(here, title, kind, each.first[1].state if each.first else "none"),
        )


def _none_ready(number: int) -> str:
    return "its one replica is not ready" if number == 1 else f"none of its {number} replicas is ready"


def _loading(case: Case, pod: Obj) -> bool:
    return case.now is None or young(case, pod, STARTING)


def _service_remedy(here: str, title: str, kind: str, state: str) -> str:
    look = f"kubectl -n {here} get pods -o wide; kubectl -n {here} describe {kind.lower()} {title}"
    return {
        "crash": f"kubectl -n {here} logs {kind.lower()}/{title} --previous | tail -50\n"
        "CUDA out of memory: lower --max-model-len or --gpu-memory-utilization; "
        "'No space left on device' under /dev/shm: delete the pod (a restart keeps the volume) and enlarge it; "
        "VLLM_PORT 'tcp://…': rename the Service vllm or set enableServiceLinks: false",
        "image": f"{look}\ncheck the image name, its tag and imagePullSecrets",
        "unschedulable": f"{look}\nthe scheduler says what is missing: free GPUs, or scale another service down",
    }.get(state, look)
