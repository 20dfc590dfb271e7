"""Cohorts: who may borrow from whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, get, name, text
from plimsoll.pillars.queueing.closed import closed, cohort_cycles, cycle_members
from plimsoll.pillars.queueing.facts import (
    cohort_of,
    near,
    queue_tokens,
    waiting_by_cluster_queue,
    workload_token,
)


@check(
    "Q16", Severity.ERROR, Layer.QUOTA, reads=(kinds.COHORT,),
    remedy="kubectl get cohorts -o custom-columns=COHORT:.metadata.name,PARENT:.spec.parentName",
    source="kueue Cohort.spec.parentName: a cycle stops every member ClusterQueue",
)  # fmt: skip
def cohorts_form_a_tree(case: Case) -> Iterator[Finding]:
    """No cohort is its own ancestor.

    Where the parents of cohorts form a cycle, Kueue stops every ClusterQueue in the whole tree and
    says so nowhere but in its log.
    """
    members = cycle_members(case.snapshot)
    for cycle in cohort_cycles(case.snapshot):
        cohort = case.snapshot.get(kinds.COHORT, cycle[0])
        if cohort is None:
            continue
        queues = [
            name(each)
            for each in case.snapshot.list(kinds.CLUSTER_QUEUE)
            if members.get(cohort_of(each)) == cycle and closed(case.snapshot)[name(each)].check == "Q16"
        ]
        chain = " → ".join((*cycle, cycle[0]))
        yield case.finding(
            cohort,
            f"Cohorts form a cycle ({chain}): {', '.join(queues) or 'every member queue'}"
            f" {'admit' if len(queues) > 1 else 'admits'} nothing",
            "spec.parentName",
            seen={"cycle": chain, "ClusterQueues": ", ".join(queues)},
            affects=set().union(*(queue_tokens(case.snapshot, each) for each in queues)),
            remedy="Take the wrong parent off one of them:\n"
            + "\n".join(f"kubectl edit cohort {each}   # spec.parentName" for each in cycle),
        )


@check(
    "Q17", Severity.WARNING, Layer.RISK, whole=(kinds.CLUSTER_QUEUE,),
    remedy="kubectl get clusterqueues -o custom-columns=QUEUE:.metadata.name,COHORT:.spec.cohortName",
    source="kueue ClusterQueue.spec.cohortName: an unknown name makes a cohort of its own",
)  # fmt: skip
def cohort_is_shared(case: Case) -> Iterator[Finding]:
    """No ClusterQueue is alone in a cohort whose name looks like another's.

    A cohort needs no object of its own: a misspelt `cohortName` makes a new cohort with one member,
    which has nobody to borrow from and lends to nobody. Nothing reports it; workloads that used to
    borrow now wait for ever.
    """
    members: dict[str, list[Obj]] = defaultdict(list)
    for queue in case.snapshot.list(kinds.CLUSTER_QUEUE):
        members[cohort_of(queue)].append(queue)
    members.pop("", None)
    known = {name(each) for each in case.snapshot.list(kinds.COHORT)}
    parents = {text(each, "spec", "parentName") for each in case.snapshot.list(kinds.COHORT)}
    said: set[str] = set()
    for cohort, queues in sorted(members.items(), key=lambda pair: -_edits(pair[1])):
        guess = near(cohort, set(members) | known)
        if len(queues) > 1 or cohort in known | parents or not guess or guess in said:
            continue
        said.add(cohort)
        queue = queues[0]
        hurt = [each for each in waiting_by_cluster_queue(case.snapshot).get(name(queue), []) if _beyond(each)]
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} is alone in cohort {cohort}; cohort {guess} has"
            f" {', '.join(map(name, members.get(guess, []))) or 'an object'}",
            "spec.cohortName" if text(queue, "spec", "cohortName") else "spec.cohort",
            seen={"workloads that would have to borrow": len(hurt)},
            affects={f"queue/{name(queue)}", *map(workload_token, hurt)} if hurt else (),
            severity=Severity.ERROR if hurt else None,
            layer=Layer.QUOTA if hurt else None,
            remedy=f"If {guess} was meant:\nkubectl patch clusterqueue {name(queue)} --type merge"
            f' -p \'{{"spec":{{"cohortName":"{guess}"}}}}\'',
        )


def _edits(queues: list[Obj]) -> int:
    """How often the most edited of these was edited: of two look-alikes the later edit is the likelier typo."""
    return max(
        generation if isinstance(generation := get(each, "metadata", "generation"), int) else 0 for each in queues
    )


def _beyond(workload: Obj) -> bool:
    """Whether Kueue says that a Workload is more than its queue can ever give: it would have to borrow."""
    waits = condition(workload, "QuotaReserved")
    return waits.get("reason") == "ExceedsMaxQuota" or "maximum capacity" in text(waits, "message")
