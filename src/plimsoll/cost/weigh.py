"""What tokens of each model weigh: fitted to how busy its engines were, where that tells."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from plimsoll.cost import engines, merge
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.request import ANGLE_MIN, Fit, Interval, Weights, fitted
from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import TOKENS, USAGE

BACK = 7 * 24 * HOUR  # a short window does not tell: as much before its end is looked at, at least
_WHOLE = 0.95  # of an hour: an engine that was not measured or not asked for that long did more than we know


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """The weights of a model's tokens, and where they are from.

    source: `given`, `fitted`, or `default` where a fit was not possible or not good. intervals, residual: of the fit,
    good or not: hours of an engine, and what part of the variance of its busy time tokens do not explain.
    """

    model: str
    weights: Weights
    source: str
    intervals: int = 0
    residual: float | None = None


def models(ledger: Ledger, began: int, ended: int, given: Weights | None) -> tuple[Weighed, ...]:
    """The weights of every model in b_part. given: of all of them."""
    names = [row[0] for row in ledger.store.rows("SELECT DISTINCT model FROM b_part ORDER BY model")]
    if given is not None:
        return tuple(Weighed(model=name, weights=given, source="given") for name in names)
    seen = _intervals(ledger, min(began, ended - BACK), ended)
    return tuple(_weighed(name, seen.get(name, [])) for name in names)


def _weighed(model: str, intervals: list[Interval]) -> Weighed:
    found: Fit | None = fitted(intervals, ANGLE_MIN)
    if found is None or not found.good:
        residual = found.residual if found else None
        return Weighed(model=model, weights=Weights(), source="default", intervals=len(intervals), residual=residual)
    return Weighed(model=model, weights=found.weights, source="fitted", intervals=found.intervals,
                   residual=found.residual)  # fmt: skip


def _intervals(ledger: Ledger, began: int, ended: int) -> dict[str, list[Interval]]:
    """Hours of engines that were measured, and counted, for all of it: by model."""
    store = ledger.store
    store.run(engines.used("b_worked", began, ended, pending=ledger.pending(USAGE, began, ended)))
    tokens = merge.within(TOKENS, began, ended, pending=ledger.pending(TOKENS, began, ended))
    whole = int(_WHOLE * HOUR)
    rows = store.rows(f"""
        SELECT e.model, w.busy, t.prompt, t.output FROM (
            SELECT pod, hour, SUM(busy) AS busy FROM b_worked GROUP BY pod, hour HAVING MIN(seen) >= {whole}) w
        JOIN (SELECT pod, div(began, {HOUR}) AS hour, GREATEST(SUM(prompt - cached), 0) AS prompt, SUM(output) AS output
              FROM ({tokens}) k WHERE tenant = '' GROUP BY pod, div(began, {HOUR})
              HAVING SUM(ended - began) >= {whole} AND SUM(prompt + output) > 0) t ON t.pod = w.pod AND t.hour = w.hour
        JOIN b_engine e ON e.pod = w.pod ORDER BY e.model, w.pod, w.hour""")
    found: dict[str, list[Interval]] = defaultdict(list)
    for model, *values in rows:
        found[model].append(Interval(*map(float, values)))
    return found
