"""Which fault explains which: the deepest one is the root cause, the rest is hidden behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from plimsoll.check.model import Layer, Severity

Fault = tuple[Layer, Severity, frozenset[str]]


def explain(faults: Sequence[Fault]) -> list[tuple[int, ...]]:
    """For each fault the indices of the root causes that explain it; () for a root cause.

    A fault is explained by another that sits deeper, is at least as severe, and affects
    something this one affects too. Explanations chain: what is hidden behind a fault that
    is itself hidden, is hidden behind the same root causes. A milder fault never hides a
    worse one, so a warning cannot make an error disappear.

    Cost: O(faults × tokens × explainers), with wildcards looked up apart.
    """
    roots: list[tuple[int, ...]] = [()] * len(faults)
    seen: dict[str, list[int]] = defaultdict(list)  # token, and `class/*` for every token of a class
    order = sorted((i for i, fault in enumerate(faults) if fault[0] is not Layer.RISK), key=lambda i: faults[i][0])
    for index in order:
        layer, severity, affects = faults[index]
        above = {
            other
            for token in affects
            for other in _touching(token, seen)
            if faults[other][0] < layer and faults[other][1] >= severity
        }
        roots[index] = tuple(sorted({root for other in above for root in (roots[other] or (other,))}))
        for token in affects:
            seen[token].append(index)
            seen[f"{token.partition('/')[0]}/?"].append(index)
    return roots


def _touching(token: str, seen: dict[str, list[int]]) -> list[int]:
    """Indices of the faults so far that share a token, wildcards on either side counted."""
    kind, _, rest = token.partition("/")
    if rest == "*":
        return seen.get(f"{kind}/?", [])
    return seen.get(token, []) + seen.get(f"{kind}/*", [])
