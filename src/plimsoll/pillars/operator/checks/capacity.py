"""Checks on the number of GPUs a node offers: GPU055 to GPU061."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import drain
from plimsoll.kube import kinds
from plimsoll.kube.nodes import dra_nodes, gpu_nodes, has_gpu, is_ready, selected
from plimsoll.kube.objects import Obj, labels, name, namespace, pod_template, text
from plimsoll.kube.operands import operand_states
from plimsoll.kube.snapshot import Coverage
from plimsoll.pillars.operator.checks.hints import fresh, hint, works
from plimsoll.pillars.operator.checks.offer import Shortfall, readable, shortfalls
from plimsoll.pillars.operator.checks.plugins import chooses, is_plugin, plugin_pods
from plimsoll.pillars.operator.checks.starting import SETTLING, younger
from plimsoll.units import moment

_LOOK = "kubectl describe node <node>; kubectl -n gpu-operator logs ds/nvidia-device-plugin-daemonset"
_TURN_ON = (
    "kubectl get clusterpolicy -o jsonpath='{.items[*].spec.devicePlugin.enabled}'\n"
    "set devicePlugin.enabled=true in the ClusterPolicy, or install a device plugin"
)
_SLICES = (
    "kubectl get resourceslices --field-selector spec.nodeName={node}\n"
    "kubectl get pods -A -o wide --field-selector spec.nodeName={node} | grep -i dra   # its kubelet plugin\n"
    "none there: kubectl get node {node} --show-labels | tr ',' '\\n' | grep -E 'dra|gpu'   # what must place it"
)
_BARE = (
    "on {node}: nvidia-smi   # no driver: install it\n"
    "its device plugin needs the nvidia runtime, by default or as its runtimeClassName: "
    "on {node}: containerd config dump | grep -A3 nvidia"
)
_SOURCE = "kubelet device manager; k8s-device-plugin #58, #1228"


def _wrong(case: Case, kind: str) -> Iterator[tuple[Obj, Shortfall | None]]:
    """GPU nodes with this kind of trouble; with None those that do not say."""
    found = shortfalls(case.snapshot)
    for node in gpu_nodes(case.snapshot):
        if not readable(node):
            yield node, None
        elif (wrong := found.get(name(node))) and wrong.kind == kind:
            yield node, wrong


def _finding(case: Case, node: Obj, wrong: Shortfall, says: str, look: str, layer: Layer | None = None) -> Finding:
    plugin = operand_states(case.snapshot).get(name(node), {}).get("device-plugin")
    title = f"{name(node)} {says}" + (f" ({wrong.excuse})" if wrong.excuse else "")
    return case.finding(
        node,
        title,
        f"status.capacity[{wrong.resource}]",
        f"status.allocatable[{wrong.resource}]",
        seen={"device plugin": plugin.state} if plugin else None,
        affects=[f"node/{name(node)}"],
        remedy=look,
        severity=wrong.severity,
        layer=layer,
    )


def _no_plugin(case: Case, node: Obj) -> bool:
    """Whether nothing is meant to register the GPUs of a node: the plugin is switched off or was never installed."""
    if plugin_pods(case.snapshot).get(name(node)) or not case.snapshot.whole(kinds.POD, kinds.DAEMON_SET):
        return False
    plugin = operand_states(case.snapshot).get(name(node), {}).get("device-plugin")
    return plugin is None or plugin.state == "not-expected"


def _unread(case: Case, node: Obj) -> Finding:
    return case.unknown(node, f"{name(node)} carries no status.capacity here")


def _restart(case: Case, node: Obj) -> str:
    """Commands that look at, then restart, the device plugin of a node."""
    pods = plugin_pods(case.snapshot).get(name(node), [])
    if not pods:
        return (
            f"kubectl get pods -A -o wide --field-selector spec.nodeName={name(node)} | grep device-plugin\n"
            f"kubectl get node {name(node)} --show-labels | tr ',' '\\n' | grep gpu.deploy"
        )
    return "\n".join(
        f"kubectl -n {namespace(pod)} logs {name(pod)} --all-containers --previous --ignore-errors=true\n"
        f"kubectl -n {namespace(pod)} delete pod {name(pod)}   # it comes back at once; jobs keep their GPUs"
        for pod in pods
    )


@check("GPU055", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), remedy=_LOOK, source=_SOURCE)
def gpu_resource_registered(case: Case) -> Iterator[Finding]:
    """Every GPU node has registered a GPU resource with its kubelet.

    A node whose hardware is seen but whose capacity has no nvidia.com key never had a
    working device plugin: no pod that asks for a GPU can run there, and nothing says so.
    The cause lies before it: driver, toolkit, a deploy label, a taint. Nodes that hand out
    GPUs through dynamic resource allocation or to virtual machines are left alone; where the
    others do so by DRA, a node without a ResourceSlice is the one whose DRA driver is missing.
    """
    for node, wrong in [*_wrong(case, "absent"), *_unseen(case)]:
        managed = "nvidia.com/gpu.deploy.device-plugin" in labels(node)
        off = _no_plugin(case, node)
        dra = off and bool(dra_nodes(case.snapshot) or case.snapshot.list(kinds.GPU_CLUSTER))
        if wrong is None:
            yield _unread(case, node)
        elif (dra or not managed) and case.snapshot.coverage(kinds.RESOURCE_SLICE) is not Coverage.WHOLE:
            yield case.unknown(node, f"{name(node)} may hand out its GPUs by ResourceSlices, which were not all read")
        elif dra:
            says = "has GPUs but hands out none: the DRA driver publishes no ResourceSlice here"
            yield _finding(case, node, wrong, says, _SLICES.format(node=name(node)), Layer.PLUGIN)
        elif off:
            says = "has GPUs but has registered no nvidia.com resource: no device plugin is meant to run"
            yield _finding(case, node, wrong, says, _TURN_ON, Layer.PLUGIN)
        elif has_gpu(node):
            says = "has GPUs but has registered no nvidia.com resource"
            yield _finding(case, node, wrong, says, _restart(case, node))
        else:
            told = hint(node) or "a label places the device plugin there"
            says = f"has GPUs ({told}) but has registered no nvidia.com resource"
            yield _finding(case, node, wrong, says, f"{_BARE.format(node=name(node))}\n{_restart(case, node)}")


def _unseen(case: Case) -> Iterator[tuple[Obj, Shortfall]]:
    """Nodes that only a device plugin, with their machine type or what places it there, tells to have GPUs.

    A plugin that finds no driver or no nvidia runtime stays Ready and registers nothing, and
    without node feature discovery no label speaks of GPUs.
    """
    placing = [template for each in case.snapshot.list(kinds.DAEMON_SET)
               if is_plugin(template := pod_template(each)) and chooses(template)]  # fmt: skip
    for title, pods in sorted(plugin_pods(case.snapshot).items()):
        node = case.snapshot.get(kinds.NODE, title)
        if node is None or has_gpu(node) or not readable(node) or works(case.snapshot, node):
            continue
        young = all(younger(moment(text(pod, "metadata", "creationTimestamp")), SETTLING, case.now) for pod in pods)
        if young or fresh(node, case.now) or is_ready(node) is False:
            continue
        if hint(node) or any(selected(node, template) for template in placing):
            yield node, Shortfall("absent", "nvidia.com/gpu", 0, 0, "", None)


@check("GPU056", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), remedy=_LOOK, source=_SOURCE)
def registered_gpus_allocatable(case: Case) -> Iterator[Finding]:
    """A node that has registered GPUs offers at least one of them.

    Capacity without allocatable means that the device plugin died within the last minutes
    or calls every GPU unhealthy. Nothing new can start on the node, while what runs there
    keeps running: the outage shows only when the next job waits.
    """
    for node, wrong in _wrong(case, "dead"):
        if wrong is None:
            yield _unread(case, node)
        else:
            says = f"has {wrong.wanted} {wrong.resource} but offers 0"
            yield _finding(case, node, wrong, says, _restart(case, node))


@check("GPU057", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), remedy=_LOOK, source=_SOURCE)
def gpus_still_registered(case: Case) -> Iterator[Finding]:
    """A node that once registered GPUs still has some.

    Capacity 0 with the key still there means that the plugin has been gone for more than
    five minutes, or that the kubelet restarted and a plugin that looks healthy never
    registered again. Deleting the plugin pod of the node makes it register.
    """
    for node, wrong in _wrong(case, "gone"):
        if wrong is None:
            yield _unread(case, node)
        else:
            yield _finding(
                case, node, wrong, f"has 0 {wrong.resource} left of what it once registered", _restart(case, node)
            )


@check("GPU058", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), remedy=_LOOK, source=_SOURCE)
def gpus_healthy(case: Case) -> Iterator[Finding]:
    """Every GPU a node has registered is healthy.

    Fewer allocatable than registered devices means that the device plugin saw a critical
    XID and withdrew a GPU. It stays withdrawn until the plugin restarts, even if the GPU
    recovers; and with some plugin versions every pod of the node then fails admission.
    """
    for node, wrong in _wrong(case, "unhealthy"):
        if wrong is None:
            yield _unread(case, node)
        else:
            lost = wrong.wanted - wrong.offered
            says = f"offers {wrong.offered} of {wrong.wanted} {wrong.resource}: {lost} unhealthy"
            look = (
                f"kubectl cordon {name(node)}\n"
                f"on {name(node)}: dmesg | grep -i xid; nvidia-smi -q -d ECC,PAGE_RETIREMENT,ROW_REMAPPER\n"
                "XID 79 or 48: open a hardware ticket. Else, once its jobs have ended:\n" + _restart(case, node)
            )
            yield _finding(case, node, wrong, says, look)


@check("GPU059", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), remedy=_LOOK, source=_SOURCE)
def capacity_matches_labels(case: Case) -> Iterator[Finding]:
    """A node registers as many devices as GPU feature discovery counted.

    The labels say count times replicas; less capacity means that a GPU fell off the bus
    after the labels were written, or that a new sharing configuration or MIG layout has
    not reached the device plugin. The missing devices are paid for and cannot be used.
    """
    for node, wrong in _wrong(case, "short"):
        if wrong is None:
            yield _unread(case, node)
            continue
        label = f"{wrong.resource}.count"
        finding = case.finding(
            node,
            f"{name(node)} has registered {wrong.offered} {wrong.resource} where its labels promise {wrong.wanted}"
            + (f" ({wrong.excuse})" if wrong.excuse else ""),
            f"status.capacity[{wrong.resource}]",
            f"metadata.labels[{label}]",
            seen={"promised by labels": wrong.wanted},
            affects=[f"node/{name(node)}"],
            remedy=f"on {name(node)}: nvidia-smi -L | wc -l; dmesg | grep -iE 'xid|fallen off'\n"
            f"a GPU is gone: {drain(name(node))}\n"
            "then reboot; if it stays away open a hardware ticket\n"
            f"it is back: kubectl uncordon {name(node)}\nall are there:\n" + _restart(case, node),
            severity=wrong.severity,
        )
        yield finding


@check("GPU061", Severity.WARNING, Layer.CAPACITY, reads=(kinds.NODE,), remedy=_LOOK,
       source="k8s-device-plugin #240; gpu-operator #637")  # fmt: skip
def no_left_over_resource(case: Case) -> Iterator[Finding]:
    """No node still counts GPUs under a resource name of an earlier layout.

    After a change of MIG layout, strategy or `renameByDefault` the kubelet can keep the
    old resource beside the new one. The scheduler then places pods on devices that are no
    longer there, and they fail on admission; the sum of GPUs in dashboards is wrong too.
    """
    for node, wrong in _wrong(case, "stale"):
        if wrong is None:
            yield _unread(case, node)
        else:
            key = wrong.resource.replace("/", "~1")
            yield _finding(
                case, node, wrong, f"still counts {wrong.resource} of an earlier layout beside its present one",
                f"on {name(node)}: systemctl restart kubelet   # or remove the key:\n"
                f"kubectl patch node {name(node)} --subresource=status --type=json "
                f"-p '[{{\"op\":\"remove\",\"path\":\"/status/capacity/{key}\"}}]'",
            )  # fmt: skip
