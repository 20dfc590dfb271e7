"""New versions of a service that never take over: V58."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import condition, get, name, namespace
from plimsoll.kube.pods import finished, ready
from plimsoll.kube.served import pods_of, served
from plimsoll.pillars.serving.state import down, first_trouble, replicas, says, tokens


@check("V58", Severity.WARNING, Layer.SERVICE, reads=(kinds.DEPLOYMENT, kinds.POD),
       remedy="kubectl rollout status deploy", source="Kubernetes Deployment condition Progressing")  # fmt: skip
def rollouts_end(case: Case) -> Iterator[Finding]:
    """Every rollout of a served model comes to its end.

    A new version that crashes or finds no GPU never takes over: the old pods go on serving, so nobody
    notices. But what was to be mended is not, the two versions together hold more GPUs than meant, and
    when an old pod is lost its replacement is of the new version, which does not start.
    Kubernetes gives up waiting after `progressDeadlineSeconds` (ten minutes) and only notes it.
    """
    for each in served(case.snapshot):
        said = condition(each.obj, "Progressing")
        stuck = said.get("status") == "False" and said.get("reason") == "ProgressDeadlineExceeded"
        if not stuck or get(each.obj, "spec", "paused") is True:
            continue
        if each.token in down(case.snapshot) or not replicas(each.obj):
            continue  # V52 says so, or nobody waits for it
        here, title = namespace(each.obj), name(each.obj)
        waiting = [pod for pod in pods_of(case.snapshot, each.obj) if not finished(pod) and not ready(pod)]
        found = first_trouble(case.snapshot, each.obj)
        why = says(found) if found else "no pod of it says why"
        yield case.finding(
            each.obj,
            f"The rollout of Deployment {here}/{title} is stuck: {why}",
            "status.conditions[Progressing].reason",
            "status.conditions[Progressing].message",
            "status.conditions[Progressing].lastTransitionTime",
            "status.updatedReplicas",
            "status.readyReplicas",
            seen={"replicas asked for": replicas(each.obj)}
            | ({f"pod {name(found[0])}: {found[1].path}": found[1].reason} if found else {}),
            affects=tokens(case.snapshot, each, waiting),
            remedy=f"kubectl -n {here} rollout status deploy {title} --timeout=5s; kubectl -n {here} get pods -o wide\n"
            + (
                f"kubectl -n {here} logs {name(found[0])} --all-containers --previous --ignore-errors=true | tail -50\n"
                if found
                else ""
            )
            + f"back to the version that serves: kubectl -n {here} rollout undo deploy {title}",
        )
