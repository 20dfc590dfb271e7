"""One job in Markdown."""

from __future__ import annotations

from plimsoll.cost.job import Job
from plimsoll.report.cost import job
from plimsoll.report.cost.markdown import table
from plimsoll.report.escape import text


def render(found: Job) -> str:
    lines = [f"# {text(job.title(found))}", "", f"{text(job.about(found))}.", ""]
    lines += [*(f"- **{text(each)}**" for each in job.sums(found)), ""]
    lines += [*table(job.PHASES, job.phases(found), texts=(0, 1, 2)), ""]
    lines += table(job.HEADS, job.rows(found), texts=job.TEXTS)
    return "\n".join([*lines, "", *(f"- {text(each)}" for each in job.notes(found))]) + "\n"
