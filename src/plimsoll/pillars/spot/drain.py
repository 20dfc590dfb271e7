"""The minutes between a cloud's notice and the end of a node."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, annotations_of, containers, get, items, labels, name, namespace, selects, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.spot.facts import (
    SHORTEST_NOTICE,
    asks_for_spot,
    batches,
    grace,
    notice,
    on_spot,
    pool_of,
    spot_key,
    spot_nodes,
    spot_pools,
    templates,
)

_NOTICE = 120  # seconds; Karpenter acts on AWS's notice
_DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"


@check(
    "S03", Severity.WARNING, Layer.RISK,
    reads=(kinds.JOB, kinds.DEPLOYMENT, kinds.POD, kinds.NODE),
    remedy="Set terminationGracePeriodSeconds below the notice; save earlier",
    source="EC2 spot-instance-termination-notices; GCE preemption; AKS spot node pools",
)  # fmt: skip
def grace_fits_the_notice(case: Case) -> Iterator[Finding]:
    """A pod on spot asks for no more time to end than the cloud gives.

    AWS gives 120 seconds, Google and Azure 30 (GKE's kubelet only 15 for user pods unless
    extended). A longer `terminationGracePeriodSeconds` is not honoured: the machine goes in the
    middle of the save.
    """
    snapshot = case.snapshot
    seen = set()
    for kind in (
        kinds.JOB,
        kinds.CRON_JOB,
        kinds.JOB_SET,
        kinds.DEPLOYMENT,
        kinds.STATEFUL_SET,
        kinds.LEADER_WORKER_SET,
    ):
        for obj in snapshot.list(kind):
            who = (text(obj, "kind"), namespace(obj), name(obj))
            if items(obj, "metadata", "ownerReferences") or who in seen:
                continue
            longest = max(map(grace, templates(obj)), default=0)
            if longest <= SHORTEST_NOTICE:
                continue
            pods = on_spot(snapshot).get(who, [])
            key = next((k for each in templates(obj) if (k := asks_for_spot(each)[0])), "") or _node_key(snapshot, pods)
            if not key or longest <= notice(key).seconds:
                continue
            seen.add(who)
            yield case.finding(
                obj,
                f"{who[0]} {who[1]}/{who[2]} wants {longest} s to end, {notice(key).cloud} spot gives"
                f" {notice(key).seconds} s",
                "spec.template.spec.terminationGracePeriodSeconds",
                seen={"notice": notice(key).seconds, "grace": longest, "because of": key},
                remedy=f"kubectl -n {who[1]} edit {who[0].lower()} {who[2]}   # terminationGracePeriodSeconds:"
                f" {notice(key).seconds - 10}\n"
                "If a checkpoint takes longer, rely on periodic ones instead of one at the end",
            )


def _node_key(snapshot: Snapshot, pods: list[Obj]) -> str:
    return spot_key(labels(spot_nodes(snapshot)[text(pods[0], "spec", "nodeName")])) if pods else ""


@check(
    "S06", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.POD, kinds.PDB),
    remedy="Set terminationGracePeriod below 2m on spot NodePools; give jobs no blocking PDB",
    source="Karpenter disruption: drain by eviction; kubernetes-sigs/karpenter#2350, aws/karpenter-provider-aws#8160",
)  # fmt: skip
def nothing_blocks_the_drain(case: Case) -> Iterator[Finding]:
    """Nothing keeps pods from leaving a spot node in time.

    Draining goes through the Eviction API, so a PodDisruptionBudget that allows no disruption, or
    `karpenter.sh/do-not-disrupt`, holds a pod on the node until the machine is switched off under it.
    A NodePool's `terminationGracePeriod` below the notice overrules both.
    """
    snapshot = case.snapshot
    by_pool: dict[str, list[str]] = {}
    strict = [pdb for pdb in snapshot.list(kinds.PDB) if _allows_nothing(pdb)]
    blocking: dict[str, set[str]] = {}
    for pods in on_spot(snapshot).values():
        for pod in pods:
            kind, pool = pool_of(spot_nodes(snapshot)[text(pod, "spec", "nodeName")])
            holder = snapshot.get(kinds.NODE_POOL, pool) if kind == "karpenter.sh/nodepool" else None
            if (
                holder is not None
                and 0 < _seconds(get(holder, "spec", "template", "spec", "terminationGracePeriod")) <= _NOTICE
            ):
                continue
            guards = [f"PDB {name(pdb)}" for pdb in strict if _covers(pdb, pod)]
            if annotations_of(pod).get(_DO_NOT_DISRUPT) == "true" and holder is not None:
                guards.append(_DO_NOT_DISRUPT)
            if not guards:
                continue
            if holder is not None:
                by_pool.setdefault(pool, []).append(f"{namespace(pod)}/{name(pod)} ({', '.join(guards)})")
            else:
                for pdb in (pdb for pdb in strict if _covers(pdb, pod)):
                    blocking.setdefault(f"{namespace(pdb)}/{name(pdb)}", set()).add(name(pod))
    for pool, pods_here in sorted(by_pool.items()):
        bought_by = snapshot.get(kinds.NODE_POOL, pool)
        if bought_by is not None:
            yield case.finding(
                bought_by,
                f"{many(len(pods_here), 'pod', 'blocks', 'block')} the drain of spot nodes of NodePool {pool}, which"
                f" sets no terminationGracePeriod below {_NOTICE} s",
                "spec.template.spec.terminationGracePeriod",
                seen={"pods": "; ".join(pods_here[:5])},
                remedy=f"kubectl patch nodepool {pool} --type merge"
                ' -p \'{"spec":{"template":{"spec":{"terminationGracePeriod":"110s"}}}}\'   # new nodes only',
            )
    for key, names in sorted(blocking.items()):
        space, _, title = key.partition("/")
        budget = snapshot.get(kinds.PDB, title, space)
        if budget is not None:
            yield case.finding(
                budget,
                f"PodDisruptionBudget {key} allows no disruption and covers {many(len(names), 'pod')} on spot nodes",
                "spec.maxUnavailable",
                "spec.minAvailable",
                "status.disruptionsAllowed",
                seen={"pods": ", ".join(sorted(names)[:5])},
                remedy=f"kubectl -n {space} edit pdb {title}   # maxUnavailable: 1, or none for jobs that checkpoint",
            )


def _allows_nothing(pdb: Obj) -> bool:
    """Whether a PDB can never allow a disruption, by what it says or by the pods it counts."""
    if str(get(pdb, "spec", "maxUnavailable")) in ("0", "0%") or get(pdb, "spec", "minAvailable") == "100%":
        return True
    least, expected = get(pdb, "spec", "minAvailable"), get(pdb, "status", "expectedPods")
    return isinstance(least, int) and isinstance(expected, int) and 0 < expected <= least


def _covers(pdb: Obj, pod: Obj) -> bool:
    return namespace(pdb) == namespace(pod) and selects(get(pdb, "spec", "selector"), labels(pod))


def _seconds(duration: object) -> int:
    """Seconds of a Go duration such as `1m30s`; 0 if there is none."""
    if not isinstance(duration, str) or not re.fullmatch(r"(?:\d{1,6}[hms])+", duration):
        return 0
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([hms])", duration))


def _karpenters(snapshot: Snapshot) -> list[Obj]:
    """Deployments of Karpenter for AWS."""
    return [
        each
        for each in snapshot.list(kinds.DEPLOYMENT)
        if any("karpenter" in text(c, "image") and "/controller" in text(c, "image") for _, c in _all(each))
    ]


def _all(workload: Obj) -> list[tuple[str, Obj]]:
    return list(containers(get(workload, "spec", "template") or {}))


def _interruption_queue(deployment: Obj) -> str:
    """The SQS queue Karpenter listens to, by flag or environment; "" if none is set."""
    for _, container in _all(deployment):
        for field in ("args", "command"):
            given = container.get(field)
            for each in given if isinstance(given, list) else []:
                if isinstance(each, str) and each.startswith("--interruption-queue="):
                    return each.partition("=")[2]
        for env in items(container, "env"):
            if env.get("name") == "INTERRUPTION_QUEUE":
                return text(env, "value") or ("from elsewhere" if env.get("valueFrom") else "")
    return ""


@check(
    "S07", Severity.WARNING, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.NODE_POOL),
    remedy="Create the SQS queue and its EventBridge rules; set settings.interruptionQueue",
    source="Karpenter --interruption-queue, INTERRUPTION_QUEUE: off when unset",
)  # fmt: skip
def notices_are_heard(case: Case) -> Iterator[Finding]:
    """Karpenter listens for interruption notices where it buys spot nodes.

    On AWS Karpenter hears of a reclaim through an SQS queue, and only if it was given its name.
    Without it nothing is drained: pods die with the machine, and are missed minutes later.
    """
    pools = spot_pools(case.snapshot)
    aws = [p for p in pools if text(p, "spec", "template", "spec", "nodeClassRef", "kind") in ("", "EC2NodeClass")]
    for each in _karpenters(case.snapshot) if aws else []:
        if not _interruption_queue(each):
            yield case.finding(
                each,
                f"Karpenter buys spot nodes ({', '.join(map(name, aws))}) but listens to no interruption queue",
                "spec.template.spec.containers[0].env",
                seen={"--interruption-queue": None},
                remedy="Create the SQS queue with EventBridge rules for spot interruption, rebalance, state change,"
                " scheduled change, and give its name to settings.interruptionQueue of Karpenter's chart:\n"
                f"helm upgrade karpenter oci://public.ecr.aws/karpenter/karpenter -n {namespace(each)}"
                " --reset-then-reuse-values -f values.yaml",
            )


@check(
    "S08", Severity.WARNING, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.DAEMON_SET),
    remedy="Run either Karpenter's interruption handling or aws-node-termination-handler",
    source="Karpenter troubleshooting: do not run NTH beside it",
)  # fmt: skip
def one_handler_drains(case: Case) -> Iterator[Finding]:
    """Only one program drains a node that is being reclaimed.

    Karpenter with an interruption queue and aws-node-termination-handler both cordon and drain. With
    rebalance draining on they can replace nodes in a loop.
    """
    handlers = [
        each
        for kind in (kinds.DEPLOYMENT, kinds.DAEMON_SET)
        for each in case.snapshot.list(kind)
        if any("aws-node-termination-handler" in text(c, "image") for _, c in _all(each))
    ]
    both = [each for each in _karpenters(case.snapshot) if _interruption_queue(each)]
    for handler in handlers if both else []:
        yield case.finding(
            handler,
            f"{text(handler, 'kind')} {name(handler)} and Karpenter both drain reclaimed nodes",
            "spec.template.spec.containers[0].image",
            seen={"Karpenter's queue": _interruption_queue(both[0])},
            remedy=f"helm uninstall aws-node-termination-handler -n {namespace(handler)}"
            "   # only if no node group outside Karpenter needs it",
        )


@check(
    "S25", Severity.WARNING, Layer.RISK, reads=(kinds.NODE_POOL, kinds.JOB),
    remedy="kubectl patch nodepool <name> --type merge"
    " -p '{\"spec\":{\"disruption\":{\"consolidationPolicy\":\"WhenEmpty\"}}}'",
    source="Karpenter NodePool.spec.disruption; kubernetes-sigs/karpenter#701",
)  # fmt: skip
def consolidation_spares_jobs(case: Case) -> Iterator[Finding]:
    """Karpenter does not consolidate spot nodes with jobs on them.

    `WhenEmptyOrUnderutilized`, the default, evicts running pods to save nodes. For long jobs this
    costs more work than spot reclaims do: one recorded backfill lost 19 of its 21 evictions to it.
    """
    snapshot = case.snapshot
    running = [batch for batch in batches(snapshot) if annotations_of(batch.template).get(_DO_NOT_DISRUPT) is None]
    for pool in spot_pools(snapshot):
        policy = text(pool, "spec", "disruption", "consolidationPolicy") or "WhenEmptyOrUnderutilized"
        after = text(pool, "spec", "disruption", "consolidateAfter") or "0s"
        if policy == "WhenEmpty" or after == "Never" or _seconds(after) >= 3600 or not running:
            continue
        yield case.finding(
            pool,
            f"NodePool {name(pool)} consolidates nodes in use ({policy}, after {after}) while jobs run on spot",
            "spec.disruption.consolidationPolicy",
            "spec.disruption.consolidateAfter",
            seen={"jobs": ", ".join(f"{namespace(b.obj)}/{name(b.obj)}" for b in running[:5])},
            remedy=f"kubectl patch nodepool {name(pool)} --type merge"
            ' -p \'{"spec":{"disruption":{"consolidationPolicy":"WhenEmpty"}}}\'\n'
            f'or annotate the jobs\' pod templates: {_DO_NOT_DISRUPT}: "true"',
        )
