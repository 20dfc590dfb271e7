"""The price of engines divided among those whom they served: tenants, or single requests.

An hour of an engine is divided by the work of the tokens of that hour. Time in which it did nothing is nobody's, and
so is an hour in which nobody is known to have asked for anything: both stay with the tenant "".

Who asked comes from a gateway, request by request, or from sums per tenant; how much was answered in all, from the
engines' own counters. These are one traffic seen twice, and not added: what the counters hold beyond what was told of
tenants is nobody's.
"""

from __future__ import annotations

from plimsoll.cost import engines, merge, weigh
from plimsoll.cost.cuts import CUTS, By
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import CLASSES, SUMS, own
from plimsoll.cost.request import Weights, whole
from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import TOKENS, USAGE
from plimsoll.cost.store import Store

PARTS = 2**36  # of an hour's price: what one of a million requests pays is right to 1 in 70,000
VIEWS = ("b_traffic", "b_told")  # that `traffic` makes
_COUNTS = TOKENS.sums
_MONEY = ("cost", *CLASSES, "starting")


def divide(ledger: Ledger, by: By, began: int, ended: int, weights: Weights | None) -> tuple[weigh.Weighed, ...]:
    """What holders pay by node, model, tenant and request: b_whose; requests and tokens: b_tokens.

    But for a cut by model, those who were served take the place of the engines that served them.

    weights: of every model's tokens; None: as fitted. Returns what tokens of each model weigh.
    """
    store = ledger.store
    store.run(engines.named())
    _seen(ledger, by, began, ended)
    for sql in {"model": _by_model, "request": _by_request}.get(by, _by_tenant)():
        store.run(sql)
    store.run(f"CREATE TEMP VIEW b_tokens AS SELECT {CUTS[by].key} AS k, requests, prompt, output FROM b_traffic r")
    weighed: tuple[weigh.Weighed, ...] = ()
    kept = "TRUE"
    if by != "model":
        pending = ledger.pending(USAGE, began, ended)
        store.run(engines.used("b_used", began, ended, pending=pending))
        weighed = weigh.models(ledger, began, ended, weights)
        _weigh(store, weighed)
        # An engine that works for one tenant is that tenant's; one of which nothing is known stays as it is.
        lone = "" if by == "request" else "tenant <> '' OR "
        kept = f"{lone}model NOT IN (SELECT model FROM b_part)"
    store.run(f"CREATE TEMP TABLE b_kept AS SELECT * FROM b_engine WHERE {kept}")
    store.run("DELETE FROM b_engine WHERE pod IN (SELECT pod FROM b_kept)")
    store.run(own(by))
    every = "SELECT * FROM b_own"
    if by != "model":
        engines.spans(store)
        engines.hours(store)
        for sql in (*_parts(), *_nobody()):
            store.run(sql)
        every += f" UNION ALL {_served()}"
    store.run(f"CREATE TEMP VIEW b_whose AS {every}")
    return weighed


def traffic(ledger: Ledger, began: int, ended: int) -> None:
    """Requests and tokens of each model, tenant and hour, each counted once: b_traffic."""
    ledger.store.run(engines.named())
    _seen(ledger, "tenant", began, ended)
    for sql in _by_tenant():
        ledger.store.run(sql)


def _seen(ledger: Ledger, by: By, began: int, ended: int) -> None:
    """What engines counted and what was told of tenants and requests, by model and hour: b_counted, b_told.

    A request belongs to the hours over which it lasted, by time; it is counted in that in which it ended. But for a cut
    by request b_told is a view: it is summed as it is read.
    """
    store = ledger.store
    tokens = merge.within(TOKENS, began, ended, pending=ledger.pending(TOKENS, began, ended))
    hour = f"div(began, {HOUR})"
    own = ", ".join(f"CAST(SUM(t.{name}) AS BIGINT) AS {name}" for name in _COUNTS)
    store.run(f"""CREATE TEMP TABLE b_counted AS
        SELECT COALESCE(e.model, t.model) AS model, {hour} AS hour, COALESCE(e.tenant, '') AS tenant, {own}
        FROM ({tokens}) t LEFT JOIN b_engine e ON e.pod = t.pod WHERE t.tenant = '' GROUP BY 1, 2, 3""")
    last = "GREATEST(ended, began + 1)"
    asked = f"""SELECT id, model, tenant, 1 AS requests, prompt, cached, output, began, {last} - began AS span,
            div(GREATEST(began, {began}), {HOUR}) AS first,
            GREATEST(began, {began}) AS since, LEAST({last}, {ended}) AS till
        FROM requests WHERE ended >= {began} AND {last} > {began} AND began < {ended}"""
    whole = f"since = began AND till - since = span AND first = div(till - 1, {HOUR})"
    counts = ", ".join(_COUNTS)
    piece = "CAST(div(CAST({0} AS HUGEINT) * ({1} - began), span) AS BIGINT)"
    pieces = ", ".join(f"{piece.format(name, 'upto')} - {piece.format(name, 'since')}" for name in _COUNTS)
    each = store.series.format("CAST(first AS BIGINT)", f"CAST(div(till - 1, {HOUR}) AS BIGINT)")
    store.run(f"""CREATE TEMP {"TABLE" if by == "request" else "VIEW"} b_told AS
        SELECT model, {hour} AS hour, CAST(0 AS BIGINT) AS request, tenant, {counts}
        FROM ({tokens}) t WHERE tenant <> ''
        UNION ALL SELECT model, first, id, tenant, {counts} FROM ({asked}) a WHERE {whole}
        UNION ALL SELECT model, hour, id, tenant, {pieces} FROM (
            SELECT *, GREATEST(start, hour * {HOUR}) AS since, LEAST(till, (hour + 1) * {HOUR}) AS upto FROM (
                SELECT id, model, tenant, {counts}, began, span, till, since AS start, {each} AS hour
                FROM ({asked}) a WHERE NOT ({whole})) h) p""")


def _both() -> str:
    """What was told, and what engines counted, in columns beside each other."""
    told = ", ".join(f"{name} AS told_{name}, 0 AS own_{name}" for name in _COUNTS)
    own = ", ".join(f"0 AS told_{name}, {name} AS own_{name}" for name in _COUNTS)
    return f"""SELECT model, hour, request, tenant, {told} FROM b_told
        UNION ALL SELECT model, hour, 0, tenant, {own} FROM b_counted"""


def _by_model() -> list[str]:
    """Tokens of each model: b_traffic. Whoever saw more of an hour is right."""
    more = ", ".join(f"GREATEST(SUM(told_{name}), SUM(own_{name})) AS {name}" for name in _COUNTS)
    return [f"CREATE TEMP TABLE b_traffic AS SELECT model, {more} FROM ({_both()}) b GROUP BY model, hour"]


def _by_tenant() -> list[str]:
    """Tokens of each tenant: as they are shown, b_traffic, and as they divide an hour of the engines of all, b_part.

    What a tenant's own engines counted is no part of what the others answered for it.
    """
    beyond = {name: f"GREATEST(told_{name} - own_{name}, 0)" for name in _COUNTS}
    others = ", ".join(f"CAST(SUM({of}) AS BIGINT) AS {name}" for name, of in beyond.items())
    nobody = ", ".join(f"GREATEST(b.own_{name} - COALESCE(o.{name}, 0), b.told_{name})" for name in _COUNTS)
    part = ", ".join(f"{of} AS {name}" for name, of in beyond.items())
    shown = ", ".join(f"GREATEST(told_{name}, own_{name})" for name in _COUNTS)
    counts = ", ".join(_COUNTS)
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in _COUNTS)
    names = ", ".join(f"COALESCE(t.{name}, 0) AS told_{name}, COALESCE(c.{name}, 0) AS own_{name}" for name in _COUNTS)
    keys = ("model", "hour", "tenant")
    key = ", ".join(f"COALESCE(t.{of}, c.{of}) AS {of}" for of in keys)
    same = " AND ".join(f"t.{of} = c.{of}" for of in keys)
    return [
        f"""CREATE TEMP TABLE b_both AS SELECT {key}, {names} FROM (
            SELECT model, hour, tenant, {sums} FROM b_told GROUP BY 1, 2, 3) t FULL JOIN b_counted c ON {same}""",
        _cached(
            "b_both",
            "told_",
            """SELECT model, hour, SUM(own_cached) AS of, SUM(own_prompt) AS every FROM b_both GROUP BY model, hour
            HAVING SUM(told_cached) = 0 AND SUM(own_cached) > 0 AND SUM(own_prompt) > 0""",
        ),
        f"""CREATE TEMP TABLE b_part AS
            SELECT model, hour, CAST(0 AS BIGINT) AS request, tenant, {part} FROM b_both WHERE tenant <> ''
            UNION ALL SELECT b.model, b.hour, 0, '', {nobody} FROM b_both b LEFT JOIN (
                SELECT model, hour, {others} FROM b_both WHERE tenant <> '' GROUP BY model, hour) o
                ON o.model = b.model AND o.hour = b.hour WHERE b.tenant = ''""",
        f"""CREATE TEMP VIEW b_traffic AS SELECT model, hour, request, tenant, {counts} FROM b_part WHERE tenant = ''
            UNION ALL SELECT model, hour, 0, tenant, {shown} FROM b_both WHERE tenant <> ''""",
    ]


def _cached(table: str, told: str, counted: str) -> str:
    """Where nobody told how many tokens were cached: as many of each as of all that the counters saw in that hour."""
    value = f"CAST(div(CAST({table}.{told}prompt AS HUGEINT) * c.of, c.every) AS BIGINT)"
    return f"""UPDATE {table} SET {told}cached = LEAST({table}.{told}prompt, {value}) FROM ({counted}) c
        WHERE c.model = {table}.model AND c.hour = {table}.hour"""


def _by_request() -> list[str]:
    """The same of single requests; what none of them explains is nobody's."""
    counts = ", ".join(_COUNTS)
    seen = ", ".join(f"GREATEST(SUM(own_{name}), SUM(told_{name})) AS {name}" for name in _COUNTS)
    told = ", ".join(f"SUM({name}) AS {name}" for name in _COUNTS)
    rest = ", ".join(f"CAST(GREATEST(s.{name} - COALESCE(r.{name}, 0), 0) AS BIGINT)" for name in _COUNTS)
    said = "SELECT 1 FROM b_told t WHERE t.model = c.model AND t.hour = c.hour AND t.cached > 0"
    return [
        _cached(
            "b_told",
            "",
            f"""SELECT model, hour, SUM(cached) AS of, SUM(prompt) AS every
            FROM b_counted c WHERE NOT EXISTS ({said}) GROUP BY model, hour
            HAVING SUM(cached) > 0 AND SUM(prompt) > 0""",
        ),
        f"""CREATE TEMP TABLE b_part AS
            SELECT model, hour, request, '' AS tenant, {counts} FROM b_told WHERE request <> 0""",
        f"""INSERT INTO b_part SELECT s.model, s.hour, 0, '', {rest} FROM (
                SELECT model, hour, {seen} FROM ({_both()}) b WHERE request = 0 GROUP BY model, hour) s
            LEFT JOIN (SELECT model, hour, {told} FROM b_told WHERE request <> 0 GROUP BY model, hour) r
                ON r.model = s.model AND r.hour = s.hour""",
        "CREATE TEMP VIEW b_traffic AS SELECT * FROM b_part",
    ]


def _weigh(store: Store, weighed: tuple[weigh.Weighed, ...]) -> None:
    """What a token of each model weighs, in whole numbers: b_weight."""
    store.run("CREATE TEMP TABLE b_weight (model VARCHAR, prompt BIGINT, output BIGINT)")
    if weighed:
        columns = zip(*((each.model, *whole(each.weights)) for each in weighed), strict=True)
        values = "UNNEST(CAST(? AS VARCHAR[])), UNNEST(CAST(? AS BIGINT[])), UNNEST(CAST(? AS BIGINT[]))"
        store.run(f"INSERT INTO b_weight SELECT {values}", [list(column) for column in columns])


def _parts() -> list[str]:
    """Of PARTS of an hour of a model's engines, those from `bottom` up to `top` are whose the row is: b_share.

    Where no token of an hour was any work, all who asked pay alike. Where one ends the next begins, rounded alike, and
    the last ends at PARTS: nothing is lost.
    """
    work = "GREATEST(p.prompt - p.cached, 0) * w.prompt + p.output * w.output"
    upto = f"CAST(FLOOR(CAST({{0}} AS FLOAT8) / every * {PARTS}) AS BIGINT)"
    return [
        f"""CREATE TEMP TABLE b_work AS SELECT p.model, hour, request, tenant, CAST({work} AS HUGEINT) AS work
            FROM b_part p JOIN b_weight w ON w.model = p.model WHERE p.requests + p.prompt + p.output > 0""",
        """CREATE TEMP TABLE b_every AS SELECT *, CAST(ROW_NUMBER() OVER () AS INTEGER) AS place FROM (
            SELECT model, hour, SUM(work) AS work, COUNT(*) AS many FROM b_work GROUP BY model, hour) w""",
        f"""CREATE TEMP TABLE b_share AS
            SELECT model, hour, request, tenant, {upto.format("upto - work")} AS bottom, {upto.format("upto")} AS top
            FROM (SELECT *, SUM(work) OVER (PARTITION BY place ORDER BY request, tenant
                                            ROWS UNBOUNDED PRECEDING) AS upto FROM (
                SELECT s.model, s.hour, e.place, request, tenant, CASE WHEN e.work = 0 THEN 1 ELSE s.work END AS work,
                    CAST(CASE WHEN e.work = 0 THEN e.many ELSE e.work END AS FLOAT8) AS every
                FROM b_work s JOIN b_every e ON e.model = s.model AND e.hour = s.hour) w) u""",
    ]


def _nobody() -> list[str]:
    """What is nobody's, into b_own; and what is left of each hour for those who were served: b_left.

    Of money a part is a whole number, and what parts leave is nobody's: less than a micro-unit in ten thousand hours.
    """
    columns = ", ".join(("node", "model", "request", "tenant", *SUMS))
    own = {"cost": "idle", "idle": "idle", "time": "idled", "known": "idled", "holds": "holds"}
    nobody = {name: own.get(name, "0") for name in SUMS}
    left = ", ".join(f"{name} - {nobody[name]} AS left_{name}" for name in SUMS)
    none = ", ".join(f"{nobody[name]} AS own_{name}" for name in SUMS)
    unit = ", ".join(f"quotient(left_{name}, {PARTS}) AS unit_{name}" for name in _MONEY)
    over = {name: f"left_{name} - unit_{name} * {PARTS}" if name in _MONEY else "0" for name in SUMS}
    rest = {name: f"own_{name} + CASE WHEN asked THEN {over[name]} ELSE left_{name} END" for name in SUMS}
    summed = ", ".join(f"CAST(SUM({rest[name]}) AS HUGEINT)" for name in SUMS)
    return [
        f"""CREATE TEMP TABLE b_left AS SELECT *, {unit} FROM (
            SELECT b.*, {none}, {left}, e.model IS NOT NULL AS asked FROM b_served b
            LEFT JOIN b_every e ON e.model = b.model AND e.hour = b.hour) l""",
        f"INSERT INTO b_own ({columns}) SELECT node, model, 0, '', {summed} FROM b_left GROUP BY node, model",
    ]


def _served() -> str:
    """The rows of those who were served: their parts of what is left of an hour."""
    part = {name: f"CAST(CAST(left_{name} AS FLOAT8) * (top - bottom) / {PARTS} AS HUGEINT)" for name in SUMS}
    part |= {name: f"unit_{name} * (top - bottom)" for name in _MONEY}
    parts = ", ".join(f"{of} AS {name}" for name, of in part.items())
    return f"""SELECT node, l.model, request, tenant, {parts}
        FROM b_share h JOIN b_left l ON l.model = h.model AND l.hour = h.hour"""
