"""Jobs on spot: do they survive a reclaim, and with their work?"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, annotations_of, containers, items, mapping, name, namespace, number, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.pillars.spot.facts import Batch, batches

_WORDS = ("checkpoint", "ckpt", "resume")
_REMOTE = ("s3://", "gs://", "az://", "abfs", "https://", "oci://", "hf://")
_LASTING = ("persistentVolumeClaim", "nfs", "csi", "ephemeral", "cephfs", "glusterfs", "azureFile", "flexVolume")
_FLEETING = ("emptyDir", "hostPath")


def _title(batch: Batch) -> str:
    return f"{text(batch.obj, 'kind')} {namespace(batch.obj)}/{name(batch.obj)}"


def _edit(batch: Batch) -> str:
    return f"kubectl -n {namespace(batch.obj)} get {text(batch.obj, 'kind').lower()} {name(batch.obj)} -o yaml"


def _ignores_disruption(spec: Obj) -> bool:
    return any(
        rule.get("action") in ("Ignore", "FailJob", "FailIndex")
        and any(each.get("type") == "DisruptionTarget" for each in items(rule, "onPodConditions"))
        for rule in items(spec, "podFailurePolicy", "rules")
    )


@check(
    "S11", Severity.WARNING, Layer.RISK, reads=(kinds.JOB,),
    remedy="podFailurePolicy: rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]",
    source="Kubernetes Job podFailurePolicy, condition DisruptionTarget",
)  # fmt: skip
def reclaims_are_no_failures(case: Case) -> Iterator[Finding]:
    """A spot job does not count a reclaim as a failure of its own.

    Without a podFailurePolicy every reclaimed pod uses up `backoffLimit` (6 by default); after that
    many the Job is Failed for good, though nothing is wrong with it.
    """
    for batch in batches(case.snapshot):
        kind = text(batch.obj, "kind")
        if (
            kind == "JobSet"
            or _ignores_disruption(batch.spec)
            or text(batch.template, "spec", "restartPolicy") != "Never"
        ):
            continue
        limit = number(batch.spec, "backoffLimit") if "backoffLimit" in batch.spec else 6  # Kubernetes' default
        yield case.finding(
            batch.obj,
            f"{_title(batch)} fails for good after {many(limit, 'reclaim')}: it has no podFailurePolicy for them",
            "spec.backoffLimit",
            "spec.podFailurePolicy",
            seen={"spot by": batch.key},
            remedy=f"{_edit(batch)}   # a Job's policy cannot be changed: submit it anew with\n"
            "podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}",
        )


@check(
    "S12", Severity.WARNING, Layer.RISK, reads=(kinds.JOB,),
    remedy="restartPolicy: Never with a podFailurePolicy",
    source="Kubernetes Job podFailurePolicy needs restartPolicy Never",
)  # fmt: skip
def spot_jobs_restart_as_pods(case: Case) -> Iterator[Finding]:
    """A spot job uses restartPolicy Never, so that it may have a podFailurePolicy.

    With `OnFailure` the API refuses a podFailurePolicy, so reclaims cannot be told from failures.
    """
    for batch in batches(case.snapshot):
        if text(batch.template, "spec", "restartPolicy") == "OnFailure":
            yield case.finding(
                batch.obj,
                f"{_title(batch)} runs on spot with restartPolicy OnFailure: reclaims count as its failures",
                "spec.template.spec.restartPolicy",
                seen={"spot by": batch.key},
                remedy=f"{_edit(batch)}   # submit it anew with restartPolicy: Never and\n"
                "podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}",
            )


@check(
    "S15", Severity.WARNING, Layer.RISK, reads=(kinds.JOB_SET,),
    remedy="failurePolicy.rules: [{action: RestartJobSetAndIgnoreMaxRestarts,"
    " onJobFailureReasons: [PodFailurePolicy]}]",
    source="JobSet failurePolicy; kubernetes-sigs/jobset#262",
)  # fmt: skip
def gangs_restart_without_limit(case: Case) -> Iterator[Finding]:
    """A JobSet on spot restarts after a reclaim without using up maxRestarts.

    A gang dies whenever one of its nodes goes. `maxRestarts` is meant for its own failures; with the
    pair of rules (FailJob on DisruptionTarget below, RestartJobSetAndIgnoreMaxRestarts above) a
    reclaim costs none of them.
    """
    for batch in batches(case.snapshot):
        if text(batch.obj, "kind") != "JobSet":
            continue
        rules = items(batch.obj, "spec", "failurePolicy", "rules")
        if any(rule.get("action") == "RestartJobSetAndIgnoreMaxRestarts" for rule in rules):
            continue
        most = number(batch.obj, "spec", "failurePolicy", "maxRestarts")
        yield case.finding(
            batch.obj,
            f"{_title(batch)} on spot ends for good after {many(most, 'restart')}, reclaims included",
            "spec.failurePolicy.maxRestarts",
            "spec.failurePolicy.rules",
            seen={"spot by": batch.key},
            remedy=f"{_edit(batch)}\n"
            "child Jobs: backoffLimit: 0 and podFailurePolicy FailJob on DisruptionTarget; above:\n"
            "failurePolicy: {rules: [{action: RestartJobSetAndIgnoreMaxRestarts,"
            " onJobFailureReasons: [PodFailurePolicy]}]}",
        )


def _says(template: Obj) -> list[str]:
    """Every word of a template that could name a checkpoint: arguments, environment, annotations."""
    found = [f"{key}={value}" for key, value in annotations_of(template).items()]
    for _, container in containers(template):
        for field in ("command", "args"):
            given = container.get(field)
            found += [each for each in (given if isinstance(given, list) else []) if isinstance(each, str)]
        found += [f"{text(env, 'name')}={text(env, 'value')}" for env in items(container, "env")]
    return found


def _paths(template: Obj, sources: tuple[str, ...]) -> list[str]:
    """Mount paths of the template's volumes of these types."""
    volumes = {text(v, "name") for v in items(template, "spec", "volumes") if any(each in v for each in sources)}
    return [
        text(mount, "mountPath").rstrip("/")
        for _, container in containers(template)
        for mount in items(container, "volumeMounts")
        if text(mount, "name") in volumes and text(mount, "mountPath")
    ]


def _checkpoints(template: Obj) -> list[str]:
    return [each for each in _says(template) if any(word in each.lower() for word in _WORDS)]


@check(
    "S16", Severity.WARNING, Layer.RISK, reads=(kinds.JOB,),
    remedy="Write checkpoints to storage that outlives the node, and resume from the newest",
    source="Young/Daly checkpoint interval",
)  # fmt: skip
def spot_jobs_keep_their_work(case: Case) -> Iterator[Finding]:
    """A GPU job on spot declares where its checkpoints go.

    Nothing of a reclaimed node is left. A job that mounts no lasting volume and names no checkpoint
    in its arguments or environment starts from zero each time, and on a bad day never ends.
    """
    for batch in batches(case.snapshot):
        template = batch.template
        if not gpu_requests(template) or _paths(template, _LASTING):
            continue
        if _checkpoints(template) or any(url in each for each in _says(template) for url in _REMOTE):
            continue
        yield case.finding(
            batch.obj,
            f"{_title(batch)} runs on spot and declares no checkpoint: a reclaim starts it from zero",
            "spec.template.spec.volumes",
            seen={"spot by": batch.key, "GPUs per pod": str(gpu_requests(template))},
            remedy=f"{_edit(batch)}\n"
            "Mount a ReadWriteMany volume or give an object-store path, save at an interval near"
            " sqrt(2 x save time x mean time between reclaims), and resume from the newest valid checkpoint",
        )


@check(
    "S17", Severity.WARNING, Layer.RISK, reads=(kinds.JOB,),
    remedy="Keep checkpoints on a PersistentVolumeClaim or in an object store",
    source="Kubernetes emptyDir, hostPath: gone with the pod or the node",
)  # fmt: skip
def checkpoints_outlive_the_node(case: Case) -> Iterator[Finding]:
    """Checkpoints of a spot job lie on storage that outlives its node.

    A checkpoint path on emptyDir, hostPath or local NVMe is lost with the node it was meant to
    insure against. Local first and uploaded after is fine: then the upload's address is named too.
    """
    for batch in batches(case.snapshot):
        named = _checkpoints(batch.template)
        if not named or any(url in each for each in _says(batch.template) for url in _REMOTE):
            continue
        lasting = _paths(batch.template, _LASTING)
        for each in named:
            value = each.partition("=")[2] or each
            lost = [path for path in _paths(batch.template, _FLEETING) if path and value.startswith(path)]
            if lost and not any(value.startswith(path) and len(path) > len(lost[0]) for path in lasting):
                volume = next(
                    v for v in items(batch.template, "spec", "volumes") if any(source in v for source in _FLEETING)
                )
                yield case.finding(
                    batch.obj,
                    f"{_title(batch)} keeps its checkpoints on {lost[0]}, which is lost with the spot node",
                    "spec.template.spec.volumes",
                    seen={"checkpoint": each, "volume": str(mapping(volume))[:200]},
                    remedy=f"{_edit(batch)}   # mount a PersistentVolumeClaim there, or upload to an object store",
                )
                break
