"""Budgets in Markdown."""

from __future__ import annotations

from plimsoll.cost.month import Budgets
from plimsoll.report.cost import budget
from plimsoll.report.cost.markdown import table
from plimsoll.report.escape import text


def render(found: Budgets) -> str:
    lines = ["# Budgets", "", f"**{text(budget.sentence(found))}.**", ""]
    lines += table(budget.HEADS, budget.rows(found), texts=budget.TEXTS)
    return "\n".join([*lines, "", *(f"- {text(each)}" for each in budget.notes(found))]) + "\n"
