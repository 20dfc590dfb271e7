"""Who owns driver and toolkit on the nodes of each provider, and what the chart has to be told of it.

Sources: NVIDIA's pages on the GPU Operator with EKS, AKS, GKE and OpenShift; the node images' own documentation.
"""

from __future__ import annotations

import msgspec

from plimsoll.kube.objects import Obj
from plimsoll.spec.model import Platform

_GKE_INSTALLS = "/home/kubernetes/bin/nvidia"  # where Google's installer puts the driver, on a read-only system
_OWN_TOOLKIT = (
    "The container toolkit is that of the node image. Take the environment's say from it there: in "
    "/etc/nvidia-container-runtime/config.toml accept-nvidia-visible-devices-envvar-when-unprivileged = false."
)


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator finds on nodes, or has to bring.

    driver, toolkit: whether the operator brings them. toolkit_dir: where its toolkit goes, "" for the usual place.
    values: what else the chart must say. notes: what only a person can do.
    """

    driver: bool = True
    toolkit: bool = True
    toolkit_dir: str = ""
    values: Obj = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ground(platform: Platform) -> Ground:
    """What holds for the declared provider and the declared owner of the driver."""
    own = platform.operator.driver.managed_by == "operator"
    match platform.cluster.provider:
        case "eks":
            return _eks(own)
        case "aks":
            return _aks(own)
        case "gke":
            return _gke(own)
        case "openshift":
            return _openshift(own)
        case _:
            return Ground(driver=own)


def _eks(own: bool) -> Ground:
    if own:
        note = (
            "Give GPU nodes an image without a driver, such as Ubuntu's for EKS: the accelerated images of Amazon "
            "Linux and Bottlerocket bring their own, and the operator's then steps aside."
        )
        return Ground(notes=(note,))
    return Ground(driver=False, toolkit=False, notes=(_OWN_TOOLKIT,))


def _aks(own: bool) -> Ground:
    if own:
        note = (
            "Make GPU node pools with --gpu-driver none: AKS else installs a driver that the operator steps aside for."
        )
        return Ground(notes=(note,))
    runtime = {"operator": {"runtimeClass": "nvidia-container-runtime"}}  # as AKS calls it in containerd
    return Ground(driver=False, toolkit=False, values=runtime, notes=(_OWN_TOOLKIT,))


def _gke(own: bool) -> Ground:
    plugin = (
        "Make GPU node pools with --node-labels=gke-no-default-nvidia-gpu-device-plugin=true: "
        "GKE's device plugin and the operator's must not both offer the GPUs."
    )
    if own:
        note = (
            "Make GPU node pools with --image-type=UBUNTU_CONTAINERD and gpu-driver-version=disabled: the operator "
            "cannot install a driver on Container-Optimized OS (managedBy: cloud leaves it to Google's installer)."
        )
        return Ground(notes=(plugin, note))
    paths = {"hostPaths": {"driverInstallDir": _GKE_INSTALLS}}
    return Ground(driver=False, toolkit_dir=_GKE_INSTALLS, values=paths, notes=(plugin,))


def _openshift(own: bool) -> Ground:
    note = (
        "Install the Node Feature Discovery Operator with a NodeFeatureDiscovery first: on OpenShift it labels the "
        "nodes, not the chart's own."
    )
    values: Obj = {"platform": {"openshift": True}, "nfd": {"enabled": False}}
    if own:
        values["operator"] = {"use_ocp_driver_toolkit": True}  # kernel headers come with the cluster's release
    return Ground(driver=own, values=values, notes=(note,))
