"""GPU096-099: do the workloads on shared GPUs get along?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import drain, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import capacity, gpu_nodes
from plimsoll.kube.objects import Obj, items, labels, mapping, name, namespace, text
from plimsoll.kube.pods import gpu_pods_by_node, gpu_requests, gpus_held, pods_by_node, ready
from plimsoll.pillars.partition.change import some
from plimsoll.pillars.partition.nodes import PLUGIN, home, serves
from plimsoll.pillars.partition.sharestate import shared_resources
from plimsoll.pillars.partition.workloads import WORKLOADS, gpu_templates, last_words, memory_share, responsible
from plimsoll.units import count

_PRODUCT, _SHARED = "nvidia.com/gpu.product", "-SHARED"
_BUSY = re.compile(
    r"CUDA-capable devices? (is|are) busy|CUDA_ERROR_DEVICE_UNAVAILABLE|MPS client failed", re.IGNORECASE
)
_MEMORY = re.compile(r"CUDA (error: )?out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation", re.IGNORECASE)


def _strategy(node: Obj) -> str:
    return text(labels(node), "nvidia.com/gpu.sharing-strategy")


@check(
    "GPU096", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.POD),
    remedy="Request the GPU through its resource, so that the process is an MPS client; restart the daemon.",
    source="CUDA MPS guide (EXCLUSIVE_PROCESS); k8s-device-plugin README, sharing.mps",
)  # fmt: skip
def only_mps_clients_on_mps_gpus(case: Case) -> Iterator[Finding]:
    """Only MPS clients use the GPUs of an MPS node.

    MPS puts a GPU into EXCLUSIVE_PROCESS mode, where the MPS server is the one process allowed. A
    process that comes past the device plugin, through NVIDIA_VISIBLE_DEVICES in its environment,
    is refused with `all CUDA-capable devices are busy`, or takes the GPU first and locks the
    clients out.
    """
    reported: set[int] = set()
    for node in gpu_nodes(case.snapshot):
        if _strategy(node) != "mps":
            continue
        for pod in pods_by_node(case.snapshot).get(name(node), []):
            busy = [(path, said) for path, said in last_words(pod) if _BUSY.search(said)]
            past = [] if gpu_requests(pod) else _past_the_plugin(pod)
            if namespace(pod) in (home(case.snapshot), "kube-system") or not (busy or past):
                continue
            obj = responsible(case.snapshot, pod)
            if id(obj) in reported:
                continue
            reported.add(id(obj))
            what = "was refused a GPU that MPS holds" if busy else f"takes GPUs past MPS ({past[0]})"
            yield case.finding(
                obj,
                f"{namespace(pod)}/{name(pod)} on MPS node {name(node)} {what}",
                seen={"pod": f"{namespace(pod)}/{name(pod)}", **dict(busy[:1])},
                remedy=f"kubectl -n {namespace(pod)} get pod {name(pod)} -o yaml   # request nvidia.com/gpu instead\n"
                f"kubectl -n {home(case.snapshot)} delete pod -l app=nvidia-device-plugin-mps-control-daemon "
                f"--field-selector spec.nodeName={name(node)}   # restarts MPS: its clients end",
            )


def _past_the_plugin(pod: Obj) -> list[str]:
    return [
        f"NVIDIA_VISIBLE_DEVICES={text(env, 'value')} in container {text(container, 'name')}"
        for container in items(pod, "spec", "containers")
        for env in items(container, "env")
        if env.get("name") == "NVIDIA_VISIBLE_DEVICES" and text(env, "value") not in ("", "none", "void")
    ]


@check(
    "GPU097", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.POD),
    remedy="Lower the number of replicas, give each tenant a memory limit, or use MIG or MPS.",
    source="k8s-device-plugin README (time-slicing has no memory isolation); vLLM --gpu-memory-utilization",
)  # fmt: skip
def sharers_fit_in_memory(case: Case) -> Iterator[Finding]:
    """What runs on a time-sliced GPU fits into its memory together.

    Time-slicing divides time, not memory: each tenant sees all of it and the last to ask gets
    `CUDA out of memory`. A vLLM server takes 0.9 of the whole GPU at start unless told otherwise,
    so two of them on one GPU cannot both come up.
    """
    for node in gpu_nodes(case.snapshot):
        if _strategy(node) != "time-slicing":
            continue
        sharers = gpu_pods_by_node(case.snapshot).get(name(node), [])
        full = [pod for pod in sharers if not ready(pod) and any(_MEMORY.search(said) for _, said in last_words(pod))]
        gpus = count(labels(node).get("nvidia.com/gpu.count"))
        taken = {f"{namespace(pod)}/{name(pod)}": share for pod in sharers if (share := memory_share(pod))}
        what = (
            f"{some([f'{namespace(pod)}/{name(pod)}' for pod in full])} ran out of GPU memory"
            if full
            else f"vLLM servers want {sum(taken.values()):.1f} times the memory of a GPU, and there are {gpus}"
        )
        if full or (gpus and len(taken) > 1 and sum(taken.values()) > gpus):
            yield case.finding(
                node,
                f"{many(len(sharers), 'pod')} on the time-sliced GPUs of {name(node)}: {what}",
                "metadata.labels[nvidia.com/gpu.replicas]",
                "metadata.labels[nvidia.com/gpu.memory]",
                seen={"memory shares": taken, "pods": some([f"{namespace(pod)}/{name(pod)}" for pod in sharers])},
                affects=[f"pod/{namespace(pod)}/{name(pod)}" for pod in full],
                severity=Severity.ERROR if full else None,
                layer=Layer.CAPACITY if full else None,
            )


@check(
    "GPU098", Severity.WARNING, Layer.RISK, reads=(*WORKLOADS, kinds.POD), whole=(kinds.NODE,),
    remedy="Select by the product without -SHARED, and by nvidia.com/gpu.sharing-strategy.",
    source="gpu-feature-discovery (product gets -SHARED where sharing does not rename the resource)",
)  # fmt: skip
def product_selectors_match(case: Case) -> Iterator[Finding]:
    """No workload selects a GPU product by a name that sharing has changed.

    Without `renameByDefault` GFD appends `-SHARED` to the product of a shared node. Turning sharing
    on or off, or renaming, changes the label, and workloads that select the old value stay Pending,
    or an exclusive job that selected `-SHARED` by accident gets a slice.
    """
    products = {text(labels(node), _PRODUCT) for node in gpu_nodes(case.snapshot)} - {""}
    for obj, template, path in gpu_templates(case.snapshot):
        for wanted, where in _selected_products(template):
            other = wanted.removesuffix(_SHARED) if wanted.endswith(_SHARED) else wanted + _SHARED
            wants = sum(gpu_requests(template).values())
            if wanted not in products and other in products:
                what = f"selects product {wanted}, which no node has any more: they are {other}"
            elif wanted.endswith(_SHARED) and wanted in products and wants > 1:
                what = f"asks for {wants} devices of {wanted}: shares of a GPU, not GPUs"
            else:
                continue
            yield case.finding(
                obj,
                f"{obj.get('kind')} {namespace(obj)}/{name(obj)} {what}",
                f"{path}{where}",
                seen={"products of the nodes": sorted(products)},
                remedy=f"kubectl get nodes -L {_PRODUCT},nvidia.com/gpu.sharing-strategy\n"
                f"kubectl -n {namespace(obj)} edit {text(obj, 'kind').lower()} {name(obj)}",
            )


def _selected_products(template: Obj) -> Iterator[tuple[str, str]]:
    """Products a template is bound to, with their path. One of several affinity values binds to none of them."""
    if chosen := text(mapping(template, "spec", "nodeSelector"), _PRODUCT):
        yield chosen, f"spec.nodeSelector[{_PRODUCT}]"
    base = ("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = items(template, *base)
    for expression in items(terms[0], "matchExpressions") if len(terms) == 1 else []:
        values = expression.get("values")
        named = expression.get("key") == _PRODUCT and expression.get("operator") == "In"
        if named and isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):
            yield values[0], ".".join(base) + "[0].matchExpressions"


@check(
    "GPU099", Severity.WARNING, Layer.CAPACITY, reads=(kinds.NODE, kinds.POD),
    remedy="Drain the node, then change the number of replicas.",
    source="kubelet device manager (devices in use are not taken away); k8s-device-plugin sharing",
)  # fmt: skip
def shares_cover_what_is_held(case: Case) -> Iterator[Finding]:
    """No node offers fewer shares of its GPUs than its pods hold.

    Lowering the replicas while pods hold shares does not end them: the node is oversubscribed and
    the accounting negative until enough of them finish, and the pods that outlive a restart of
    the kubelet may be refused admission.
    """
    for node in gpu_nodes(case.snapshot):
        shared, held = shared_resources(node), gpus_held(case.snapshot).get(name(node), {})
        registered = capacity(node)
        for resource, offered in shared.items():
            short = held.get(resource, 0) > offered
            shrunk = registered.get(resource, 0) == offered  # fewer healthy devices is another fault
            if short and shrunk and offered and serves(case.snapshot, PLUGIN, name(node)):
                pods = [p for p in pods_by_node(case.snapshot)[name(node)] if resource in gpu_requests(p)]
                yield case.finding(
                    node,
                    f"{name(node)} offers {offered} × {resource}, but its pods hold {held[resource]}",
                    f"status.allocatable[{resource}]",
                    seen={"held": held[resource], "pods": some([f"{namespace(pod)}/{name(pod)}" for pod in pods])},
                    affects=[f"node/{name(node)}"],
                    remedy=f"kubectl get pods -A --field-selector spec.nodeName={name(node)}\n"
                    f"{drain(name(node))}\n"
                    f"lower the replicas now, while it is empty, then: kubectl uncordon {name(node)}",
                )
