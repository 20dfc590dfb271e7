"""Admission policies about spot: who may not go there, and what is asked of a job that does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from plimsoll.kube.objects import Obj
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.spot import SERVING

OFF_SPOT = "off-spot"
OFF_SPOT_JOBS = "off-spot-jobs"
PREPARED = "spot-jobs-are-prepared"
_PRIORITY = "kueue.x-k8s.io/priority-class"
ADVICE = "plimsoll.dev/advice"  # says of a policy that it is not meant to refuse anything
_API = "admissionregistration.k8s.io/v1"


def render(platform: Platform) -> list[Obj]:
    found = []
    jobs, pods = _kept(platform), _kept(platform)
    if derive.serving_stays_off_spot(platform):
        pods.insert(0, f"has(object.metadata.labels) && {_quoted(derive.SERVICE_LABEL)} in object.metadata.labels")
    if pods:
        found += _policy(platform, OFF_SPOT, "pods", _off(platform, "object.spec", pods), ["Deny", "Audit"])
    if jobs:  # a job's priority is on the job, not on its pods
        rules = _off(platform, "object.spec.template.spec", jobs)
        found += _policy(platform, OFF_SPOT_JOBS, "jobs", rules, ["Deny", "Audit"])
    return [*found, *_policy(platform, PREPARED, "jobs", _prepared(platform), ["Warn", "Audit"])]


def _policy(platform: Platform, name: str, what: str, rules: Obj, actions: list[str]) -> list[Obj]:
    """A policy on new objects of the teams, and its binding."""
    group, version = ("", "v1") if what == "pods" else ("batch", "v1")
    rule = {"apiGroups": [group], "apiVersions": [version], "resources": [what], "operations": ["CREATE"]}
    binding = {
        "policyName": name,
        "validationActions": actions,
        "matchResources": {"namespaceSelector": derive.home_selector(platform)},
    }
    return [
        thing(
            _API,
            "ValidatingAdmissionPolicy",
            name,
            annotations={} if "Deny" in actions else {ADVICE: "true"},
            spec={"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}, **rules},
        ),
        thing(_API, "ValidatingAdmissionPolicyBinding", name, spec=binding),
    ]


def _off(platform: Platform, spec: str, kept: list[str]) -> Obj:
    """Refuses a pod's spec that may come to stand on spot, of an object for which one of `kept` holds."""
    return {
        "variables": _choice(platform, spec, everything=True),
        "validations": [
            {
                "expression": f"!variables.spot || !({' || '.join(f'({each})' for each in kept)})",
                "reason": "Forbidden",
                "message": "services, and the teams and priorities of spot.never, stay off spot nodes: leave out the "
                "toleration of spot taints and the nodeSelector of spot nodes",
            }
        ],
    }


def _kept(platform: Platform) -> list[str]:
    """Conditions on an object that is kept off spot, by its namespace or its priority."""
    never = [name for name in platform.spot.never if name != SERVING]
    spaces = [space for team in platform.teams if team.name in never for space in team.spaces]
    ranks = [name for name in never if name in platform.queueing.priorities]
    found = [f"object.metadata.namespace in {_listed(spaces)}"] if spaces else []
    if ranks:
        label = _quoted(_PRIORITY)
        found.append(
            f"has(object.metadata.labels) && {label} in object.metadata.labels && "
            f"object.metadata.labels[{label}] in {_listed(ranks)}"
        )
    return found


def _choice(platform: Platform, spec: str, *, everything: bool) -> list[Obj]:
    """The variable `spot`: whether a pod's spec chooses spot nodes.

    everything: a toleration of every taint counts, too. It lets a pod onto spot nodes, though it does not ask for them.
    """
    pools = [pool for pool in platform.pools if pool.capacity == "spot"]
    keys = sorted({taint.key for pool in pools for taint in derive.spot_taints(platform, pool)})
    tolerated = f"{'!has(t.key) ||' if everything else 'has(t.key) &&'} t.key in {_listed(keys)}"
    return [
        {
            "name": "tolerates",
            "expression": f"has({spec}.tolerations) && {spec}.tolerations.exists(t, {tolerated})",
        },
        {
            "name": "selects",
            "expression": f"has({spec}.nodeSelector) && ({' || '.join(_selectors(platform, spec))})",
        },
        {"name": "spot", "expression": "variables.tolerates || variables.selects"},
    ]


def _selectors(platform: Platform, spec: str) -> list[str]:
    """Conditions on a nodeSelector that picks nodes of a spot pool, those of one label together."""
    single: dict[str, list[str]] = defaultdict(list)
    found = []
    for pool in platform.pools:
        if pool.capacity != "spot":
            continue
        if len(pool.selector) == 1:
            [(key, value)] = pool.selector.items()
            single[key].append(value)
        else:
            each = [_picks(spec, key, [value]) for key, value in pool.selector.items()]
            found.append(f"({' && '.join(each)})")
    return [*(_picks(spec, key, values) for key, values in single.items()), *found]


def _picks(spec: str, key: str, values: list[str]) -> str:
    name = _quoted(key)
    return f"({name} in {spec}.nodeSelector && {spec}.nodeSelector[{name}] in {_listed(values)})"


def _prepared(platform: Platform) -> Obj:
    """What a job on spot needs to lose no more than it did since its last checkpoint. Asked for, not enforced."""
    rules = platform.spot.checkpoint
    grace = int(rules.grace.seconds)
    pod = "object.spec.template.spec"
    saves = (
        f"{pod}.containers.exists(c, (has(c.env) && c.env.exists(e, e.name.startsWith('CHECKPOINT'))) || "
        "(has(c.envFrom) && c.envFrom.exists(e, has(e.configMapRef) && e.configMapRef.name == 'checkpoint-contract')))"
    )
    checks = (
        (
            "has(object.spec.podFailurePolicy) && object.spec.podFailurePolicy.rules.exists(r, r.action != 'Count' && "
            "has(r.onPodConditions) && r.onPodConditions.exists(c, c.type == 'DisruptionTarget'))",
            "a reclaimed node counts as a failure of this job: add podFailurePolicy: {rules: [{action: Ignore, "
            "onPodConditions: [{type: DisruptionTarget}]}]} and restartPolicy: Never",
        ),
        (
            f"has({pod}.terminationGracePeriodSeconds) && {pod}.terminationGracePeriodSeconds >= {grace}",
            f"this job has less than {grace} s to save when its node goes: set terminationGracePeriodSeconds: {grace}",
        ),
        (
            saves,
            "this job names no checkpoint and starts from zero after a reclaim: add envFrom: [{configMapRef: {name: "
            "checkpoint-contract}}] and save at CHECKPOINT_INTERVAL",
        ),
    )
    return {
        "variables": _choice(platform, pod, everything=False),
        "validations": [
            {"expression": f"!variables.spot || ({expression})", "message": message} for expression, message in checks
        ],
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(_quoted(each) for each in dict.fromkeys(texts))}]"
