"""Generate docs/reference from the code: a page per check, their index, the JSON Schemas, the help texts.

--check writes nothing and exits 1 where a page is not what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from plimsoll.cli.main import plimsoll
from plimsoll.pillars import PILLARS, all_checks
from plimsoll.report.cost.budget_json import schema as budget_schema
from plimsoll.report.cost.inference_json import schema as inference_schema
from plimsoll.report.cost.job_json import schema as job_schema
from plimsoll.report.cost.json import schema as cost_schema
from plimsoll.report.cost.monthly_json import schema as month_schema
from plimsoll.report.diagnose.json import schema as diagnosis_schema
from plimsoll.report.json import schema as report_schema
from plimsoll.report.page import page
from plimsoll.report.plan.json import schema as plan_schema
from plimsoll.spec.schema import json_schema as platform_schema

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
RECORDED = {REFERENCE / "faults.md"}  # tools/record.py writes it


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    found = {REFERENCE / "checks" / f"{check.id}.md": page(check) for check in all_checks()}
    found[REFERENCE / "checks" / "README.md"] = _index()
    found[REFERENCE / "report.schema.json"] = _json(report_schema())
    found[REFERENCE / "plan.schema.json"] = _json(plan_schema())
    found[REFERENCE / "budget.schema.json"] = _json(budget_schema())
    found[REFERENCE / "cost.schema.json"] = _json(cost_schema())
    found[REFERENCE / "diagnosis.schema.json"] = _json(diagnosis_schema())
    found[REFERENCE / "inference.schema.json"] = _json(inference_schema())
    found[REFERENCE / "month.schema.json"] = _json(month_schema())
    found[REFERENCE / "job.schema.json"] = _json(job_schema())
    found[REFERENCE / "platform.schema.json"] = _json(platform_schema())
    found[REFERENCE / "cli.md"] = _help()
    return found


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _index() -> str:
    checks = all_checks()
    lines = ["# Checks", "", f"{len(checks)} checks in {len(PILLARS)} pillars.", ""]
    for pillar in PILLARS:
        lines += [f"## {pillar}", "", "| check | severity | what is true of a healthy cluster |", "|---|---|---|"]
        own = (check for check in checks if check.pillar == pillar)
        lines += [f"| [{check.id}]({check.id}.md) | {check.severity} | {check.title} |" for check in own]
        lines.append("")
    return "\n".join(lines)


def _help() -> str:
    return "\n".join(["# Command line", "", *_help_of(plimsoll, "plimsoll", None)])


def _help_of(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
    """The help of a command and of its verbs."""
    context = click.Context(command, parent, info_name=name, max_content_width=100, terminal_width=100)
    lines = [f"## {context.command_path}", "", "```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None
            lines += _help_of(found, verb, context)
    return lines


def main() -> int:
    wanted = pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stray = [path for path in REFERENCE.rglob("*") if path.is_file() and path not in {*wanted, *RECORDED}]
    if "--check" in sys.argv:
        for path in (*stale, *stray):
            print(f"{path.relative_to(REFERENCE.parents[1])}: not what the code says; make docs", file=sys.stderr)
        return 1 if stale or stray else 0
    for path in stray:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    print(f"docs/reference: {len(wanted)} files, {len(stale)} written, {len(stray)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
