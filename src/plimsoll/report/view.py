"""What every report shows, in the order people want to read it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from plimsoll.check.model import Check, Layer, Severity, Verdict
from plimsoll.check.run import Judgement, Review
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import name, namespace, text
from plimsoll.kube.snapshot import Coverage

# Only a review that asked all of them may say that a cluster is fit.
_PILLARS = frozenset({"operator", "partition", "queueing", "spot", "serving", "observability", "security"})


class Group(NamedTuple):
    """The findings of one check that share a verdict, and what is hidden behind them."""

    check: Check
    severity: Severity
    members: tuple[Judgement, ...]
    hidden: tuple[Judgement, ...] = ()

    @property
    def evidence_of(self) -> Judgement:
        """The member whose evidence stands for all: the first."""
        return self.members[0]


class View(NamedTuple):
    """A review sorted for reading."""

    faults: tuple[Group, ...]  # root causes of what does not work now
    risks: tuple[Group, ...]  # what works now and will not keep working
    unknown: tuple[Judgement, ...]
    waived: tuple[Judgement, ...]
    hidden: int


def view(review: Review) -> View:
    """Group a review's judgements. Order: worst first, then by check id."""
    behind: dict[int, list[Judgement]] = defaultdict(list)
    for each in review.judgements:
        for root in each.hidden_behind:
            behind[root].append(each)
    roots: dict[tuple[bool, int, str], list[int]] = defaultdict(list)
    for index, each in enumerate(review.judgements):
        if each.verdict is Verdict.FAIL and each.root_cause:
            roots[is_risk(each), -each.severity, each.check.id].append(index)
    faults: list[Group] = []
    risks: list[Group] = []
    for key in sorted(roots):
        members = tuple(review.judgements[index] for index in roots[key])
        hidden = {id(each): each for index in roots[key] for each in behind[index]}
        group = Group(members[0].check, members[0].severity, members, tuple(hidden.values()))
        (risks if key[0] else faults).append(group)
    return View(
        faults=tuple(faults),
        risks=tuple(risks),
        unknown=tuple(each for each in review.judgements if each.verdict is Verdict.UNKNOWN),
        waived=tuple(each for each in review.judgements if each.verdict is Verdict.WAIVED),
        hidden=sum(each.verdict is Verdict.FAIL and not each.root_cause for each in review.judgements),
    )


def is_risk(each: Judgement) -> bool:
    layer = each.finding.layer if each.finding.layer is not None else each.check.layer
    return layer is Layer.RISK


def sentence(review: Review) -> str:
    """The answer in one sentence."""
    seen = view(review)
    broken = [each for group in seen.faults for each in group.members if group.severity >= Severity.ERROR]
    groups = (*seen.faults, *seen.risks)
    warnings = sum(len(group.members) for group in groups if group.severity is Severity.WARNING)
    grave = sum(len(group.members) for group in seen.risks if group.severity > Severity.WARNING)
    if broken:
        answer = (
            f"Not fit for production: {amount(len(broken), 'root cause breaks', 'root causes break')} something now"
        )
        if seen.hidden:
            answer += f"; {amount(seen.hidden, 'more finding is', 'more findings are')} hidden behind"
    elif grave:
        answer = f"Not fit for production: {amount(grave, 'risk', 'risks')} of severity error or above"
    elif warnings:
        where = " in what was read" if seen.unknown else ""
        answer = f"Nothing is down{where}; {amount(warnings, 'warning stands', 'warnings stand')}"
    elif seen.unknown:
        answer = "Nothing is wrong in what was read"
    elif {check.pillar for check in review.asked} >= _PILLARS:
        answer = "Fit for production: every check passed"
    else:
        answer = f"{amount(len(review.asked), 'check was', 'checks were')} asked, and nothing is wrong"
    if seen.unknown:
        answer += f"; {amount(len(seen.unknown), 'question', 'questions')} could not be answered"
    return answer


def amount(count: int, one: str, many: str) -> str:
    """A count with its noun: `1 risk`, `3 risks`."""
    return f"{count} {one if count == 1 else many}"


# The layers whose faults break a subject of this kind; deeper and shallower ones only mention it.
_BREAKS = {
    "node": (Layer.CLUSTER, Layer.OPERATOR_STATUS),
    "queue": (Layer.QUOTA, Layer.QUEUE),
    "service": (Layer.SCALER, Layer.SERVICE),
}


def affected(review: Review) -> dict[str, list[Judgement]]:
    """Every node, queue and service that does not work, with its root causes, worst first.

    Keys are tokens: `node/NAME`, `queue/CLUSTERQUEUE`, `service/NAMESPACE/NAME`.
    """
    direct: dict[str, set[int]] = defaultdict(set)  # root causes that break the subject themselves
    through: dict[str, set[int]] = defaultdict(set)  # those behind what breaks it
    for index, each in enumerate(review.judgements):
        if each.verdict is not Verdict.FAIL:
            continue
        layer = each.finding.layer if each.finding.layer is not None else each.check.layer
        for token in each.finding.affects:
            low, high = _BREAKS.get(token.partition("/")[0], (Layer.SERVICE, Layer.RISK))
            if low <= layer <= high or layer is Layer.CLUSTER:
                for subject in _expand(review, token):
                    through[subject].update(each.hidden_behind)
                    direct[subject].update(() if each.hidden_behind else (index,))
    return {
        subject: sorted(
            (review.judgements[root] for root in direct[subject] or through[subject]),
            key=lambda root: (-root.severity, root.check.id, str(root.finding.object)),
        )
        for subject in sorted(through)
    }


def _expand(review: Review, token: str) -> list[str]:
    """A token, or for a wildcard every subject it stands for."""
    kind, _, rest = token.partition("/")
    if rest != "*":
        return [token] if kind in _BREAKS else []
    if kind == "node":
        return [f"node/{name(node)}" for node in gpu_nodes(review.snapshot)]
    if kind == "queue":
        return [f"queue/{name(queue)}" for queue in review.snapshot.list(kinds.CLUSTER_QUEUE)]
    if kind == "service":
        scaled = review.snapshot.list(kinds.SCALED_OBJECT)
        return [f"service/{namespace(each)}/{text(each, 'spec', 'scaleTargetRef', 'name')}" for each in scaled]
    return []


_COMMAND = re.compile(r"(kubectl|helm|plimsoll|crane) ")
_SAID_FIRST = re.compile(r"(?P<words>[^'\"$]*?[:;?]) (?P<command>(kubectl|helm|plimsoll|crane) .+)")


def remedy(each: Judgement) -> str:
    """What to do, as lines a shell takes: commands, and everything else as comments."""
    return as_shell(each.finding.remedy or each.check.remedy)


def as_shell(text: str) -> str:
    """Advice as commands and comments. A line may say something first: `when it is mended: kubectl …`."""
    lines: list[str] = []
    goes_on = False  # a command that ends in a backslash continues
    for line in text.strip().splitlines():
        said = None if goes_on or _COMMAND.match(line) else _SAID_FIRST.fullmatch(line)
        if said:
            lines += [f"# {said['words'].rstrip(':;')}", said["command"]]
        elif goes_on or _COMMAND.match(line) or line.startswith("#") or not line.strip():
            lines.append(line)
        else:
            lines.append(f"# {line.strip()}")
        goes_on = not lines[-1].startswith("#") and lines[-1].endswith("\\")
    return "\n".join(lines)


def clean(raw: str) -> str:
    """Without control characters: an object's text must not drive the reader's terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in raw)


def shown(value: object) -> str:
    """A value of the evidence as people read it: JSON's words, and `absent` for what is not there."""
    if value is None:
        return "absent"
    return str(value).lower() if isinstance(value, bool) else str(value)


def not_read(review: Review) -> list[tuple[str, str]]:
    """(kind, why) of every kind that a check asked for and that is not whole in the snapshot."""
    snapshot = review.snapshot
    wanted = {kind for check in review.asked for kind in (*check.reads, *check.whole)}
    wanted |= {entry.kind for entry in snapshot.unread}
    missing = (kind for kind in kinds.ALL if kind in wanted and snapshot.coverage(kind) is not Coverage.WHOLE)
    return [(str(kind), snapshot.why_unread(kind)) for kind in missing]
