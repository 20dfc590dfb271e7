"""`plimsoll cost backfill` as people type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.backfill.past import HOUR, START
from tests.unit.backfill.test_backfill import pod, small
from tests.unit.kube.answering import answering
from tests.unit.kube.promserver import serving

WINDOW = "2025-12-01,2025-12-01T03:00:00Z"  # from START
PLATFORM = """
apiVersion: plimsoll.dev/v1
kind: Platform
pools:
  - name: odd
    gpu: H100-SXM5-80GB
    gpusPerNode: 2
    nodes: {min: 1, max: 2}
    price: {perNodeHour: 8, asOf: 2025-11-30, source: contract}
teams:
  - {name: blue, quota: {odd: 2}}
"""


def run(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll", "cost", *map(str, args)]
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}
    return subprocess.run(command, capture_output=True, text=True, env=base, timeout=120)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    past = small(pod("one", 0.5, 1.5, "GPU-0"), pod("two", 1, 2, "GPU-1"), hours=3)
    past.labelled = False
    with serving(tmp_path_factory.mktemp("backfill"), past.samples(START, START + 3 * HOUR)) as address:
        yield address


def test_the_past_is_billed(url: str, tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text(PLATFORM)
    ledger = tmp_path / "state" / "ledger.duckdb"
    more = ("-f", tmp_path / "platform.yaml", "--ledger", ledger, "--window", WINDOW)
    done = run("backfill", "--prometheus", url, *more)
    assert done.returncode == 0, done.stderr
    assert f"2025-12-01T00:00:00Z to 2025-12-01T03:00:00Z is in {ledger}:" in done.stdout
    assert "missing kube_pod_labels" in done.stdout
    assert "pools were told by GPU model and number" in done.stderr
    billed = run("--by", "job", *more, "-o", "json")
    assert billed.returncode == 0, billed.stderr
    # 8 a node and hour, two GPUs, two pods of an hour each, one hour of a team's namespace that nobody owns.
    lines = {line["key"]: line["cost"] for line in json.loads(billed.stdout)["lines"]}
    assert lines == {"": 16.0, "blue/one": 4.0, "blue/two": 4.0}
    again = run("backfill", "--prometheus", url, *more, "-o", "json")
    told = json.loads(again.stdout)
    assert told["resumed"] == told["ended"] == "2025-12-01T03:00:00Z"
    assert not any(told["records"].values())
    assert run("--by", "job", *more, "-o", "json").stdout == billed.stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((), 2, "Missing option '--prometheus'"),
        (("--prometheus", "prometheus:9090"), 2, "not the address of a Prometheus"),
        (("--prometheus", "http://127.0.0.1:9", "--step", "1s"), 2, "is not from 5s to 1h"),
        (("--prometheus", "http://127.0.0.1:9", "--step", "soon"), 2, "soon is not from 5s to 1h"),
        (("--prometheus", "http://127.0.0.1:9", "--cluster-label", "prod"), 2, "LABEL=VALUE"),
        (("--prometheus", "http://127.0.0.1:9", "--since", "1h", "--window", "a,b"), 2, "not both"),
        (("--prometheus", "http://127.0.0.1:9"), 4, "cannot reach"),
        (("--prometheus", "http://u:secret@127.0.0.1:9"), 4, "cannot reach"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, args: tuple[str, ...], code: int, words: str) -> None:
    done = run("backfill", *args, "--ledger", tmp_path / "ledger.duckdb")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_server_without_kube_state_metrics_is_incomplete(tmp_path: Path) -> None:
    empty = b'{"status":"success","data":[]}'
    with answering(lambda *_: (200, empty)) as (address, _):
        done = run("backfill", "--prometheus", address, "--since", "1h", "--ledger", tmp_path / "ledger.duckdb")
    assert done.returncode == 3, done.stderr
    assert "kube_node_info" in done.stderr
