"""The nouns of a question: Subject, Signals, Rule, Found.

A rule sees only the signals that it declares. Where one of them is missing, or was measured for too little of the
time, the rule is not asked and the answer is *unknown*: without telemetry there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, NamedTuple, Self

import msgspec

from plimsoll.check.model import Severity, said

Kind = Literal["workload", "team", "node", "gpu", "queue"]
Confidence = Literal["high", "medium", "low"]
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000  # milliseconds
MINUTES_MIN = 30  # of a hold: what a younger one does says nothing


class Subject(msgspec.Struct, frozen=True, order=True):
    """What is judged. name: `namespace/name` of a workload, `node/UUID` of a GPU, else a name."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Value(msgspec.Struct, frozen=True):
    """One signal. samples: how often it was seen (of a ledger: minutes). coverage: 0 to 1 of the time it speaks of."""

    value: float
    source: str  # ledger | prometheus | snapshot | declaration
    samples: int = 1
    coverage: float = 1.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject is: told by the cluster, not measured.

    owner: the kind of the outermost owner. interactive: a notebook or the like. serves: it answers requests.
    batch: it is a job that ends. sku, profile: of the devices it holds, "" where they differ; profile also where they
    are whole. cut: whether they are MIG instances. shared: several pods hold them. memory_mib: of one device.
    pod: one of its pods, for commands; "" where all have ended. nodes: where they are.
    """

    team: str = ""
    owner: str = ""
    interactive: bool = False
    serves: bool = False
    batch: bool = False
    sku: str = ""
    profile: str = ""
    cut: bool = False
    shared: bool = False
    memory_mib: int = 0
    pod: str = ""
    nodes: tuple[str, ...] = ()


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject cost in the window, micro-units, and the GPU time it is for (milliseconds of a whole GPU)."""

    cost: int
    gpu_ms: int
    idle: int = 0
    low: int = 0
    starting: int = 0
    unused: int = 0  # of a node: nobody held it

    def of_time(self, gpu_ms: float) -> int:
        """What so much of the GPU time cost."""
        return round(self.cost * min(gpu_ms / self.gpu_ms, 1)) if self.gpu_ms > 0 else 0


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known of one subject. tokens: what else it is about, such as the team of a workload."""

    subject: Subject
    facts: Facts = Facts()
    values: Mapping[str, Value] = {}
    money: Money | None = None
    tokens: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> float:
        return self.values[name].value

    def get(self, name: str) -> float | None:
        found = self.values.get(name)
        return None if found is None else found.value

    def only(self, names: Iterable[str]) -> Self:
        """The same subject with only these of its values."""
        return msgspec.structs.replace(self, values={each: self.values[each] for each in names if each in self.values})


class Limit(float):
    """A threshold that knows its origin.

    source: J job_defense_shield's example configuration, N NVIDIA's guidance on SM activity, D Datadog,
    S dstack, R our own reasoning, to be calibrated.
    """

    source: str
    says: str

    def __new__(cls, value: float, source: Literal["J", "N", "D", "S", "R"], says: str) -> Self:
        made = super().__new__(cls, value)
        made.source, made.says = source, says
        return made


class Found(NamedTuple):
    """What a rule answers where it finds its cause.

    title: one sentence with what was seen. fix: lines a shell takes, and comments.
    wasted: micro-units of the window that would not have been spent; None where that is no question of money.
    confidence: how sure the cause is when everything was measured. severity: where it differs from the rule's.
    """

    title: str
    fix: str
    wasted: int | None = None
    confidence: Confidence = "high"
    severity: Severity | None = None


Question = Callable[[Signals], Found | None]


def _always(_: Facts) -> bool:
    return True


@dataclass(frozen=True)
class Rule:
    """One cause of idle GPUs. needs: signals it cannot judge without, `a|b` for either; may: those it also looks at.

    depth: how deep the cause sits. explains: ids of rules whose findings on the same subject follow from this one, `*`
    for all that sit less deep. do: the remedy in a few words. applies: whether it can be asked of such a subject.
    """

    id: str
    name: str
    severity: Severity
    depth: int
    about: Kind
    do: str
    ask: Question
    needs: tuple[str, ...]
    may: tuple[str, ...]
    limits: tuple[Limit, ...]
    explains: frozenset[str]
    applies: Callable[[Facts], bool]

    @property
    def title(self) -> str:
        """The rule's first docstring line: the cause."""
        return said(self.ask)[0]

    @property
    def why(self) -> str:
        return said(self.ask)[1]

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of all it may see."""
        return (*(name for need in self.needs for name in need.split("|")), *self.may)


def rule(
    id: str,
    name: str,
    severity: Severity,
    depth: int,
    about: Kind,
    *,
    do: str,
    needs: tuple[str, ...],
    may: tuple[str, ...] = (),
    limits: tuple[Limit, ...],
    explains: str = "",
    applies: Callable[[Facts], bool] = _always,
) -> Callable[[Question], Rule]:
    """Make a function a Rule. Its docstring is its page: first line the cause, the rest why it wastes GPUs."""

    def make(ask: Question) -> Rule:
        return Rule(id, name, severity, depth, about, do, ask, needs, may, limits, frozenset(explains.split()), applies)

    return make


def rules_in(*modules: ModuleType) -> tuple[Rule, ...]:
    """Every Rule of these modules in order of definition."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Rule))
