"""From a ledger to the dashboard of money: the meter's own page, the rules, the panels' queries, in promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from plimsoll.pillars.observability.pack.model import one_line
from plimsoll.pillars.observability.pack.pack import rules
from plimsoll.pillars.observability.render_rules import rule_file
from tests.unit.pillars.test_observability_render import BOARDS, METERED, filled, told_page
from tests.unit.pillars.test_observability_rules import promtool

__all__ = ["promtool"]  # a fixture
SERIES = re.compile(r"^(plimsoll_\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


def test_every_panel_shows_what_the_meter_tells(promtool: Path, tmp_path: Path) -> None:
    (board,) = [each for each in BOARDS if each.uid == "plimsoll-cost"]
    queries = [(panel.title, one_line(filled(query.expr))) for panel in board.panels for query in panel.queries]
    told = [{"series": name, "values": f"{value}x90"} for name, value in SERIES.findall(told_page())]
    assert len(told) > 20
    assert len(queries) >= 25
    groups = rules(METERED)["plimsoll-cost"]
    (tmp_path / "rules.yml").write_text(rule_file(groups))
    shown = [
        {"expr": f"count({expr}) > bool 0", "eval_time": "60m", "exp_samples": [{"labels": "{}", "value": 1}]}
        for _, expr in queries
    ]
    nothing = [{"expr": "count(plimsoll:cost_last_hour:nothing) > bool 0", "eval_time": "60m", "exp_samples": []}]
    path = tmp_path / "test.yml"
    tests = [{"interval": "1m", "input_series": told, "promql_expr_test": shown + nothing}]
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
