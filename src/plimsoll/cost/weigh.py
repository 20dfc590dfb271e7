"""What tokens of each model weigh: fitted to how busy its engines were, where that tells."""

from __future__ import annotations

import msgspec

from plimsoll.cost import engines, merge
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.request import ANGLE_MIN, Fit, Sums, Weights, fitted
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
    """The weights of every model in b_part, from b_used: what engines did. given: of all models."""
    names = [row[0] for row in ledger.store.rows("SELECT DISTINCT model FROM b_part ORDER BY model")]
    if given is not None:
        return tuple(Weighed(model=name, weights=given, source="given") for name in names)
    done, since = "b_used", min(began, ended - BACK)
    if since < began:
        done = "b_worked"
        ledger.store.run(engines.used(done, since, ended, pending=ledger.pending(USAGE, since, ended)))
    seen = _sums(ledger, since, ended, done)
    return tuple(_weighed(name, seen.get(name, Sums())) for name in names)


def _weighed(model: str, sums: Sums) -> Weighed:
    found: Fit | None = fitted(sums, ANGLE_MIN)
    if found is not None and found.good:
        return Weighed(model=model, weights=found.weights, source="fitted", intervals=sums.number,
                       residual=found.residual)  # fmt: skip
    return Weighed(model=model, weights=Weights(), source="default", intervals=sums.number,
                   residual=found.residual if found else None)  # fmt: skip


def _sums(ledger: Ledger, began: int, ended: int, done: str) -> dict[str, Sums]:
    """Of hours of engines that were measured, and counted, for all of it: by model. done: what engines did."""
    tokens = merge.within(TOKENS, began, ended, pending=ledger.pending(TOKENS, began, ended))
    whole = int(_WHOLE * HOUR)
    products = ("p * p", "p * o", "o * o", "p * b", "o * b", "b * b", "b")
    ledger.store.run(f"""CREATE TEMP TABLE b_spoken AS
        SELECT pod, CAST(div(began, {HOUR}) AS BIGINT) AS hour, CAST(GREATEST(SUM(prompt - cached), 0) AS FLOAT8) AS p,
            CAST(SUM(output) AS FLOAT8) AS o
        FROM ({tokens}) k WHERE tenant = '' GROUP BY 1, 2
        HAVING SUM(ended - began) >= {whole} AND SUM(prompt + output) > 0""")
    rows = ledger.store.rows(f"""
        SELECT model, COUNT(*), {", ".join(f"SUM({of})" for of in products)} FROM (
            SELECT pod, hour, CAST(SUM(busy) AS FLOAT8) AS b FROM {done}
            GROUP BY pod, hour HAVING MIN(seen) >= {whole}) w
        JOIN b_spoken t ON t.pod = w.pod AND t.hour = w.hour JOIN b_engine e ON e.pod = w.pod GROUP BY model""")
    return {model: Sums(int(count), *map(float, sums)) for model, count, *sums in rows}
