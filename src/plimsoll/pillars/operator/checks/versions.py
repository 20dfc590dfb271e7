"""Which release of the GPU Operator a cluster runs."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, labels, text
from plimsoll.kube.operands import cluster_policy, operator_deployment, operator_namespace
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import version


def tag(image: str) -> str:
    """The tag of an image reference; "" if it has none. A digest after the tag is dropped."""
    last = image.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2]


@fact
def release(snapshot: Snapshot) -> tuple[Obj | None, str, str]:
    """(object, evidence path, text) of what tells the operator's release; (None, "", "") if nothing does.

    The image of the operator, the chart label, then the validator, whose version is the
    operator's. `v1.0.0-devel`, the chart of a source checkout, tells nothing.
    """
    operator, policy = operator_deployment(snapshot), cluster_policy(snapshot)
    candidates: list[tuple[Obj | None, str, str]] = []
    if operator is not None:
        image = text(operator, "spec", "template", "spec", "containers", 0, "image")
        candidates.append((operator, "spec.template.spec.containers[0].image", tag(image)))
    for each in (operator, policy):
        if each is not None:
            chart = text(labels(each), "helm.sh/chart")
            candidates.append((each, "metadata.labels[helm.sh/chart]", chart.removeprefix("gpu-operator-")))
            said = text(labels(each), "app.kubernetes.io/version")
            candidates.append((each, "metadata.labels[app.kubernetes.io/version]", said))
    if policy is not None:
        candidates.append((policy, "spec.validator.version", str(get(policy, "spec", "validator", "version") or "")))
    return next((each for each in candidates if version(each[2])[:1] > (1,)), (None, "", ""))


def operator_version(snapshot: Snapshot) -> tuple[int, ...]:
    """The operator's release as numbers, (25, 3, 2); () where nothing tells."""
    return version(release(snapshot)[2])


UPGRADE = "helm upgrade gpu-operator nvidia/gpu-operator -n gpu-operator --reset-then-reuse-values --set "


def upgrade(snapshot: Snapshot, *settings: str, to: str = "") -> str:
    """The Helm command that changes settings of the operator's release, or moves it to a version.

    Without a version Helm takes the newest chart, and without --reset-then-reuse-values it forgets the
    user's own values. settings: `nfd.enabled=true`. to: a version constraint; default the release that runs.
    """
    have = operator_version(snapshot)
    wanted = f"'{to}'" if to else "v" + ".".join(map(str, have)) if len(have) == 3 else ""
    return (
        f"helm upgrade gpu-operator nvidia/gpu-operator -n {operator_namespace(snapshot) or 'gpu-operator'}"
        + (f" --version {wanted}" if wanted else "")
        + " --reset-then-reuse-values"
        + "".join(f" --set {each}" for each in settings)
    )
