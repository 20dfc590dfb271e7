"""By what a bill can be cut: whose a row of it is, in SQL."""

from __future__ import annotations

from typing import Literal, NamedTuple

By = Literal["team", "namespace", "job", "workload", "model", "tenant", "served", "request", "pool", "sku", "node"]
MANY = ("job", "workload", "request")  # cuts into as many lines as there are pods or requests
SERVED = ("model", "tenant", "served", "request")  # cuts by what engines did, not by who held what
_BETWEEN = "chr(31)"


class Cut(NamedTuple):
    """How rows become lines. r: b_paid, or b_whose of those SERVED; p: its pod, n: its node.

    key: what is grouped by. unused: the same where nobody holds. kind: of key. names: key and id of a line by its
    key, where the key is a number.
    """

    key: str
    unused: str
    kind: str = "VARCHAR"
    names: str = ""


def _of_pod(column: str) -> Cut:
    return Cut(f"COALESCE(p.{column}, '')", "''")


def _of_node(column: str) -> Cut:
    return Cut(f"COALESCE(n.{column}, '')", f"COALESCE(n.{column}, '')")


def _named(number: str, name: str, uid: str) -> str:
    """Names of the shown lines; a pod that belongs to nothing is its own."""
    return f"""SELECT {number} AS k, MIN(CASE WHEN {name} = '' THEN namespace || '/' || name ELSE {name} END) AS key,
        MIN(CASE WHEN {name} = '' THEN uid ELSE {uid} END) AS id
        FROM pods WHERE {number} IN (SELECT k FROM b_shown) GROUP BY {number}"""


CUTS: dict[By, Cut] = {
    "team": _of_pod("team"),
    "namespace": _of_pod("namespace"),
    "job": Cut("COALESCE(p.job_id, 0)", "0", "BIGINT", _named("job_id", "job", "job_uid")),
    "workload": Cut("COALESCE(p.workload_id, 0)", "0", "BIGINT", _named("workload_id", "workload", "''")),
    "model": Cut("r.model", "''"),
    "tenant": Cut("r.tenant", "''"),
    # A model and a tenant of it. No name has a control character in it.
    "served": Cut(f"r.model || {_BETWEEN} || r.tenant", _BETWEEN, names=f"""
        SELECT k, split_part(k, {_BETWEEN}, 1) AS key, split_part(k, {_BETWEEN}, 2) AS id FROM b_shown"""),
    "request": Cut("r.request", "0", "BIGINT", """SELECT id AS k, name AS key, model || ' ' || tenant AS id
        FROM requests WHERE id IN (SELECT k FROM b_shown)"""),
    "pool": _of_node("pool"),
    "sku": _of_node("sku"),
    "node": Cut("r.node", "r.node", "BIGINT", "SELECT id AS k, name AS key, uid AS id FROM nodes"),
}  # fmt: skip
