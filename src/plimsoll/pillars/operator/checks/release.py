"""Checks on the release of the operator and of its parts: GPU118, GPU119, GPU120."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import annotations_of, get, labels, name, namespace, pod_template, text
from plimsoll.kube.operands import cluster_policy, operand_daemonsets, operator_deployment, operator_namespace
from plimsoll.pillars.operator.checks.versions import UPGRADE, operator_version, release, upgrade
from plimsoll.units import version

_ENDED = (25, 10)  # the newest release that gets no fixes, as of 2026-08 (platform support page)
_CURRENT = "26.7"
_LAST = {
    23: "23.9",
    24: "24.9",
    25: "25.10",
    26: _CURRENT,
}  # of each major release; upgrades go to the next one
_DEFAULTS: dict[
    tuple[int, ...], dict[str, str]
] = {  # what each release's chart installs, by ClusterPolicy field; source: values.yaml of its tag
    (25, 3): {"toolkit": "1.17", "devicePlugin": "0.17", "gfd": "0.17", "migManager": "0.12", "driver.manager": "0.8"},
    (25, 10): {"toolkit": "1.18", "devicePlugin": "0.18", "gfd": "0.18", "migManager": "0.13", "driver.manager": "0.9"},
    (26, 3): {"toolkit": "1.19", "devicePlugin": "0.19", "gfd": "0.19", "migManager": "0.14"},
    (26, 7): {"toolkit": "1.20", "devicePlugin": "0.20", "gfd": "0.20", "migManager": "0.15", "driver.manager": "0.12"},
}


@check("GPU118", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY,),
       remedy=f"{UPGRADE}operator.upgradeCRD=true --version '~26.7.0'   # one major release at a time",
       source="NVIDIA GPU Operator platform support, life cycle (2026-08)")  # fmt: skip
def operator_supported(case: Case) -> Iterator[Finding]:
    """The GPU Operator is of a release that still gets fixes.

    Releases up to 25.10 are out of support: no fix for a new kernel, a security hole in the
    toolkit or a new GPU will come. Upgrades are supported within a major release and to the
    next one, so that waiting makes the way longer.
    """
    policy = cluster_policy(case.snapshot)
    subject, path, said = release(case.snapshot)
    have = operator_version(case.snapshot)
    if policy is None or not have or have[:2] > _ENDED:
        return
    yield case.finding(
        policy,
        f"GPU Operator {said} is out of support: releases up to {_ENDED[0]}.{_ENDED[1]} get no fixes (2026-08)",
        *([path] if subject is policy else []),
        seen={f"{text(subject, 'kind')}/{name(subject or policy)} {path}": said, "current release": _CURRENT},
        remedy="one major release at a time, each with its CRDs; the next only once the operands are ready:\n"
        "helm repo update\n"
        + "".join(
            f"{upgrade(case.snapshot, 'operator.upgradeCRD=true', to=f'~{last}.0')}\n"
            for major, last in _LAST.items()
            if major > have[0]
        )
        + "kubectl get nodes -L nvidia.com/gpu-driver-upgrade-state   # it upgrades drivers too",
    )


@check(
    "GPU119",
    Severity.WARNING,
    Layer.RISK,
    reads=(kinds.DEPLOYMENT, kinds.DAEMON_SET),
    remedy="helm list -A | grep gpu-operator",
    source="gpu-operator chart (cluster-scoped ClusterPolicy)",
)
def one_operator(case: Case) -> Iterator[Finding]:
    """The GPU Operator is installed once.

    Its CRDs, ClusterPolicy and node labels belong to the cluster, not to a namespace. Two
    releases undo each other's changes, and uninstalling one takes the CRDs, and with them
    every operand, from the other.
    """
    home = operator_namespace(case.snapshot)
    operators = [each for each in case.snapshot.list(kinds.DEPLOYMENT)
                 if labels(pod_template(each)).get("app") == "gpu-operator"]  # fmt: skip
    policy = cluster_policy(case.snapshot)
    for extra in sorted(operators, key=lambda each: (namespace(each) != home, namespace(each)))[1:]:
        yield case.finding(
            extra,
            f"A second GPU Operator runs in namespace {namespace(extra)} beside {home}",
            "metadata.creationTimestamp",
            "spec.replicas",
            remedy="helm list -A | grep gpu-operator\n"
            f"stop it first: kubectl -n {namespace(extra)} scale deploy {name(extra)} --replicas=0\n"
            "uninstall it only with operator.cleanupCRD=false, or the other loses its CRDs",
        )
    strays = {namespace(each): each for sets in operand_daemonsets(case.snapshot).values() for each in sets
              if home and namespace(each) != home}  # fmt: skip
    for here, stray in sorted(strays.items()):
        if here not in {namespace(each) for each in operators}:
            yield case.finding(
                stray,
                f"Operands of another GPU Operator run in namespace {here}; the operator works in {home}",
                "metadata.namespace",
                remedy=f"kubectl -n {here} get ds,deploy\nhelm list -n {here}",
            )
    owner = annotations_of(policy).get("meta.helm.sh/release-namespace", "") if policy else ""
    operator = operator_deployment(case.snapshot)
    if policy and operator and owner and owner != namespace(operator) and len(operators) == 1:
        yield case.finding(
            policy,
            f"ClusterPolicy {name(policy)} is of a Helm release in {owner}, the operator runs in {namespace(operator)}",
            "metadata.annotations[meta.helm.sh/release-namespace]",
            remedy="helm list -A | grep gpu-operator",
        )


@check("GPU120", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY,),
       remedy="helm get values gpu-operator -n gpu-operator",
       source="gpu-operator values.yaml of releases 25.3 to 26.7")  # fmt: skip
def operands_of_one_release(case: Case) -> Iterator[Finding]:
    """The operands are of the operator's own release.

    A chart tests its operands together. A version pinned in values stays behind at the next
    upgrade: an old MIG manager that does not know a new GPU, a feature discovery that
    writes other labels than the plugin expects. The driver version is yours to choose.
    """
    policy, have = cluster_policy(case.snapshot), operator_version(case.snapshot)
    if policy is None:
        return
    usual = _DEFAULTS.get(have[:2], {})
    odd = {}
    for field, wanted in usual.items():
        said = get(policy, "spec", *field.split("."), "version")
        mine = version(said)
        if mine and mine[:2] != version(wanted)[:2]:
            odd[field] = f"{said} (this release brings {wanted})"
    plugin, gfd = (get(policy, "spec", field, "version") for field in ("devicePlugin", "gfd"))
    if not odd and version(plugin) and version(gfd) and version(plugin)[:2] != version(gfd)[:2]:
        odd["gfd"] = f"{gfd} (the device plugin is {plugin})"
    if odd:
        yield case.finding(
            policy,
            f"Operands are not of one release{' with operator ' + '.'.join(map(str, have)) if usual else ''}: "
            + ", ".join(f"{field} {said}" for field, said in odd.items()),
            *(f"spec.{field}.version" for field in odd),
            remedy="helm get values gpu-operator -n "
            f"{operator_namespace(case.snapshot) or 'gpu-operator'}   # which versions are pinned?\n"
            f"take them out of your values, then: {upgrade(case.snapshot)} -f values.yaml",
        )
