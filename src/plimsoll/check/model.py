"""The nouns of a production review: Check, Finding, Judgement, Review."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from types import ModuleType
from typing import Any

import msgspec

from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, Ref, get
from plimsoll.kube.snapshot import Snapshot


class Severity(IntEnum):
    """How much a finding matters. Compare with < and >."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


class Verdict(Enum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    WAIVED = "waived"


class Layer(IntEnum):
    """How deep a fault sits. A fault can only be explained by one that sits deeper (a smaller number).

    RISK is outside the order: a risk breaks nothing today, so it neither explains nor is explained.
    """

    RISK = 0
    HOST = 5  # a machine that the parts below run on
    CLUSTER = 10  # API, controllers and webhooks every other layer stands on
    NODE = 20  # the kubelet itself: NotReady, lost
    DISCOVERY = 30  # NFD sees the GPU, the operator adopts the node
    PLACEMENT = 40  # operand pods may be created and may run there: taints, labels, policy, images
    DRIVER = 50
    TOOLKIT = 60
    PLUGIN_INPUT = 65  # what the device plugin is given: a MIG change that keeps it away, its configuration file
    PLUGIN = 70
    PARTITION = 80  # MIG layout, sharing configuration
    VALIDATOR = 90  # what NVIDIA's own validator says
    CAPACITY = 100  # what the node offers in numbers
    OPERATOR_STATUS = 110  # what the operator says of itself: a summary, never a cause of the above
    QUOTA = 120  # flavors, cluster queues, cohorts
    QUEUE = 130  # local queues
    ADMISSION = 140  # workloads waiting for or holding quota
    SCHEDULING = 150  # pods without a node
    SCALER = 160  # triggers and their metrics
    AUTOSCALER = 170  # the HPA behind a scaler
    SERVICE = 180  # a workload that does not serve


class Evidence(msgspec.Struct, frozen=True):
    """One value that was seen, and where in the object it stands."""

    path: str
    value: str | int | float | bool | None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with one object.

    `affects` holds what stops working, as tokens `node/NAME`, `queue/NAME`,
    `localqueue/NS/NAME`, `workload/NS/NAME`, `pod/NS/NAME`, `service/NS/NAME`;
    a last part `*` stands for all of them. Two findings that share a token are
    about the same trouble: the deeper one explains the other.
    """

    object: Ref
    title: str  # one sentence: what is wrong with this object, with the value seen
    evidence: tuple[Evidence, ...]
    affects: frozenset[str] = frozenset()
    remedy: str = ""  # commands for this object; else the check's own remedy
    severity: Severity | None = None  # where it differs from the check's
    layer: Layer | None = None  # where it differs from the check's
    unknown: str = ""  # why this object could not be judged; then it is no fault


class Case(msgspec.Struct, frozen=True):
    """What a check is asked about. `platform` is None where no platform.yaml was given."""

    snapshot: Snapshot
    platform: Any = None  # Platform | None; the engine does not look inside
    now: datetime | None = None  # when the snapshot was taken; None if it does not say

    def finding(
        self,
        obj: Obj,
        title: str,
        *paths: str,
        seen: dict[str, Any] | None = None,
        affects: Iterable[str] = (),
        remedy: str = "",
        severity: Severity | None = None,
        layer: Layer | None = None,
    ) -> Finding:
        """A finding about `obj`. Each of `paths` becomes evidence read from the object; `seen` adds computed values."""
        evidence = [Evidence(path, plain(read(obj, path))) for path in paths]
        evidence += [Evidence(path, plain(value)) for path, value in (seen or {}).items()]
        return Finding(object=Ref.of(obj), title=title, evidence=tuple(evidence), affects=frozenset(affects),
                       remedy=remedy, severity=severity, layer=layer)  # fmt: skip

    def unknown(self, obj: Obj, why: str) -> Finding:
        """Say that this object could not be judged, and why."""
        return Finding(object=Ref.of(obj), title=why, evidence=(), unknown=why)


Question = Callable[[Case], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """One question of the production checklist."""

    id: str
    severity: Severity
    layer: Layer
    ask: Question
    reads: tuple[Kind, ...]
    whole: tuple[Kind, ...]
    remedy: str
    source: str
    needs_platform: bool
    pillar: str = ""

    @property
    def title(self) -> str:
        """The check's first docstring line: what is true of a healthy cluster."""
        return said(self.ask)[0]

    @property
    def why(self) -> str:
        """The rest of its docstring: why it matters."""
        return said(self.ask)[1]


def said(ask: Callable[..., object]) -> tuple[str, str]:
    """The first line of a docstring, without its full stop, and the rest of it."""
    first, _, rest = (inspect.getdoc(ask) or "").partition("\n")
    return first.rstrip("."), rest.strip()


def check(
    id: str,
    severity: Severity,
    layer: Layer,
    *,
    reads: tuple[Kind, ...] = (),
    whole: tuple[Kind, ...] = (),
    remedy: str,
    source: str,
    needs_platform: bool = False,
) -> Callable[[Question], Check]:
    """Make a function a Check. Its docstring is the check's page: first line the title, the rest the why.

    reads: kinds it looks at object by object; where only part of one was read it still runs,
        and finding nothing is then `unknown`.
    whole: kinds it concludes from the absence of; where one is not whole it is `unknown`.
    remedy: the command or change that mends it, for a finding that does not bring its own.
    source: where the rule comes from (upstream document, issue, field).
    """

    def make(ask: Question) -> Check:
        return Check(id, severity, layer, ask, reads, whole, remedy, source, needs_platform)

    return make


def checks_in(*modules: ModuleType, pillar: str) -> tuple[Check, ...]:
    """Every Check defined in these modules, in order of definition, stamped with its pillar."""
    found = (value for module in modules for value in vars(module).values() if isinstance(value, Check))
    return tuple(Check(**{**vars(each), "pillar": pillar}) for each in found)


_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")


def read(obj: Obj, path: str) -> Any:
    """The value at a written path: `status.allocatable[nvidia.com/gpu]`, `spec.taints[0].key`.

    A bracket holds a list index, a map key that contains dots, or the `type` or `name` of a list entry.
    """
    value: Any = obj
    for plain_key, bracket in _STEP.findall(path):
        key = plain_key or bracket
        if isinstance(value, list) and not key.isdecimal():
            value = next(
                (e for e in value if isinstance(e, dict) and key in (e.get("type"), e.get("name"), e.get("key"))), None
            )
        else:
            value = get(value, int(key) if isinstance(value, list) else key)
    return value


def plain(value: Any) -> str | int | float | bool | None:
    """A value as evidence: scalars as they are, structures as compact JSON of at most 300 characters."""
    if value is None or isinstance(value, str | int | float | bool):
        shown = value
    else:
        shown = msgspec.json.encode(value).decode()
    return f"{shown[:299]}…" if isinstance(shown, str) and len(shown) > 300 else shown
