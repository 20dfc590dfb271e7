"""SQL over intervals: unions, and sums in which every moment counts once however often it was reported."""

from __future__ import annotations

from collections.abc import Sequence

from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import Flow


def islands(source: str, keys: str) -> str:
    """The union of the intervals of `source` per key: as few rows as cover the same moments.

    Equal rows are peers of the outer window, whose frame holds them all: they get one number.
    """
    return f"""
        SELECT {keys}, MIN(began) AS began, MAX(ended) AS ended FROM (
            SELECT *, SUM(CASE WHEN began <= reach THEN 0 ELSE 1 END)
                OVER (PARTITION BY {keys} ORDER BY began, ended) AS island
            FROM ({_reach(source, keys, "began, ended")}) r) i
        GROUP BY {keys}, island"""


def _reach(source: str, keys: str, order: str) -> str:
    """The rows with how far those before them reach."""
    return f"""
        SELECT *, MAX(ended) OVER (PARTITION BY {keys} ORDER BY {order}
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
        FROM ({source}) s"""


def once(source: str, flow: Flow) -> str:
    """The rows of `source` without the moments that an earlier one of the same owner covers.

    A row that loses a part of its interval keeps as much of its sums. Rows lie within an hour each, so only those of
    one hour can meet. Of rows that begin together the longest goes first: what was merged already covers its parts,
    when they are sent once more, exactly. The order holds every column: who wrote first does not matter.
    """
    own, sums = ", ".join(flow.own), flow.sums
    cell = f"{own}, div(began, {HOUR})"
    kept = ", ".join(f"{name} * (ended - GREATEST(began, COALESCE(reach, began))) AS {name}" for name in sums)
    span = ", ".join(f"div({name}, span) AS {name}" for name in sums)
    return f"""
        SELECT {own}, began, ended, {span} FROM (
            SELECT {own}, GREATEST(began, COALESCE(reach, began)) AS began, ended, ended - began AS span, {kept}
            FROM ({_reach(source, cell, ", ".join(("began", "ended DESC", *sums)))}) r
            WHERE ended > COALESCE(reach, began)) k"""


def runs(source: str, flow: Flow) -> str:
    """Rows that follow one another without a gap, made one; `source` has no moment twice."""
    own = ", ".join(flow.own)
    hour = f"div(began, {HOUR})"
    window = f"(PARTITION BY {own}, {hour} ORDER BY began"
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in flow.sums)
    return f"""
        SELECT {own}, MIN(began) AS began, MAX(ended) AS ended, {sums} FROM (
            SELECT *, SUM(gap) OVER {window} ROWS UNBOUNDED PRECEDING) AS run FROM (
                SELECT *, {hour} AS hour, CASE WHEN began = LAG(ended) OVER {window}) THEN 0 ELSE 1 END AS gap
                FROM ({source}) s) g) r
        GROUP BY {own}, hour, run"""


def columns(flow: Flow) -> str:
    return ", ".join(flow.table.columns)


def met(flow: Flow, row: str, others: str) -> str:
    """A condition: `others` has a row of the same owner and hour as `row`."""
    same = " AND ".join(f"o.{name} = {row}.{name}" for name in flow.own)
    return f"EXISTS (SELECT 1 FROM {others} o WHERE {same} AND div(o.began, {HOUR}) = div({row}.began, {HOUR}))"


def within(flow: Flow, began: int, ended: int, *, pending: bool) -> str:
    """The rows of a flow between two moments, every moment once. pending: whether its inbox holds any of them."""
    span = f"ended > {began} AND began < {ended}"
    merged = f"SELECT {columns(flow)} FROM {flow.table.name} t WHERE {span}"
    if pending:
        inbox = f"(SELECT * FROM {flow.inbox.name} WHERE {span})"
        # What waits is of the last hours nearly always: nothing before them can meet it.
        first = f"(SELECT COALESCE(MIN(began) - {HOUR}, {ended}) FROM {inbox} f)"
        near = f"{merged} AND t.began > {first}"
        fresh = f"SELECT {columns(flow)} FROM {inbox} i UNION ALL {near} AND {met(flow, 't', inbox)}"
        far = f"{merged} AND t.began <= {first}"
        merged = f"{far} UNION ALL {near} AND NOT {met(flow, 't', inbox)} UNION ALL {once(fresh, flow)}"
    own = ", ".join(flow.own)
    inside = f"began >= {began} AND ended <= {ended}"
    part = f"div({{0}} * (LEAST(ended, {ended}) - GREATEST(began, {began})), ended - began)"
    cut = ", ".join(f"CASE WHEN {inside} THEN {name} ELSE {part.format(name)} END AS {name}" for name in flow.sums)
    return f"SELECT {own}, GREATEST(began, {began}) AS began, LEAST(ended, {ended}) AS ended, {cut} FROM ({merged}) m"


def totals(names: Sequence[str]) -> str:
    return ", ".join(f"SUM({name}) AS {name}" for name in names)
