"""The command line as people and programs meet it: a process, its output and its exit code."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAB = ROOT / "examples" / "lab"


def run(*args: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll", *map(str, args)]
    base = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, input=stdin, env=base | (env or {}), timeout=120)


def test_findings_go_to_stdout_and_decide_the_exit_code() -> None:
    done = run("check", LAB / "device-plugin-crash.json.gz", "-o", "json")
    assert done.returncode == 1
    assert done.stderr == ""
    assert json.loads(done.stdout)["summary"]["verdict"] == "fail"
    assert run("check", LAB / "device-plugin-crash.json.gz", "--fail-on", "never").returncode == 0
    assert run("check", LAB / "healthy.json.gz").returncode == 0


def test_several_reports_in_one_run(tmp_path: Path) -> None:
    done = run(
        "check", LAB / "healthy.json.gz", "-o", f"html={tmp_path / 'r.html'}", "-o", f"sarif={tmp_path / 'r.sarif'}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "r.sarif").read_text())["version"] == "2.1.0"


def test_a_report_that_cannot_be_written_is_one_error() -> None:
    done = run("check", LAB / "healthy.json.gz", "-o", "json=/nonexistent/dir/report.json")
    assert done.returncode == 2
    assert "/nonexistent/dir/report.json" in done.stderr


def test_selection() -> None:
    only = json.loads(run("check", LAB / "healthy.json.gz", "-o", "json", "--only", "gpu07*").stdout)
    assert only["checks"]
    assert all(id_.startswith("GPU07") for id_ in only["checks"])
    rest = json.loads(
        run("check", LAB / "healthy.json.gz", "-o", "json", "--pillar", "partition", "--skip", "GPU075").stdout
    )
    assert "GPU075" not in rest["checks"]
    assert {each["pillar"] for each in rest["findings"]} <= {"partition"}
    wrong = run("check", LAB / "healthy.json.gz", "--only", "GPU0755")
    assert wrong.returncode == 2
    assert "did you mean" in wrong.stderr
    assert "GPU075" in wrong.stderr


def test_incomplete_data_is_exit_3_only_if_asked(tmp_path: Path) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}
    path = tmp_path / "node.json"
    path.write_text(json.dumps(node))
    assert run("check", path).returncode == 0
    done = run("check", path, "--require-complete", "-o", "json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["summary"]["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("check", "no-such-file"), "no-such-file"),
        (("check", "-o", "pdf", "x"), "pdf"),
        (("explain", "GPU9999"), "GPU9999"),
        (("explain",), "--list"),
        (("nonsense",), "nonsense"),
        (("check", LAB / "healthy.json.gz", "--context", "prod"), "not both"),
        (("check", LAB / "healthy.json.gz", "-f", "no-such-platform.yaml"), "no-such-platform.yaml"),
    ],
)
def test_usage_errors_are_exit_2_and_one_message(args: tuple[str | Path, ...], says: str) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_cluster_is_exit_4(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {"token": "very-secret-token"}}],
            }
        )
    )  # fmt: skip
    done = run("check", "--kubeconfig", config)
    assert done.returncode == 4, done.stderr
    assert "very-secret-token" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_not_an_error() -> None:
    shell = f"{sys.executable} -m plimsoll check {LAB / 'healthy.json.gz'} -o json | head -c 10"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, plimsoll.cli.main; print([m for m in ('rich', 'lightkube', 'jinja2', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_capture_and_check_agree(tmp_path: Path) -> None:
    out = tmp_path / "cluster.plimsoll"
    done = run("capture", "--from", LAB / "mig-config-failed.json.gz", "-o", out)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_mode & 0o077 == 0
    again = run("capture", "--from", LAB / "healthy.json.gz", "-o", out)
    assert again.returncode == 2
    assert "--force" in again.stderr
    first = json.loads(run("check", LAB / "mig-config-failed.json.gz", "-o", "json").stdout)
    second = json.loads(run("check", out, "-o", "json").stdout)
    assert first["findings"] == second["findings"]


def test_no_color_by_default_in_a_pipe() -> None:
    assert "\x1b" not in run("check", LAB / "healthy.json.gz").stdout


def test_a_pipe_is_read_like_a_file() -> None:
    listed = gzip.decompress((LAB / "mig-config-failed.json.gz").read_bytes()).decode()
    piped = run("check", "-", "-o", "json", stdin=listed)
    assert piped.returncode == 1, piped.stderr
    document = json.loads(piped.stdout)
    assert document["read"]["place"] == "-"
    assert (
        document["findings"]
        == json.loads(run("check", LAB / "mig-config-failed.json.gz", "-o", "json").stdout)["findings"]
    )
    broken = run("check", "/dev/stdin", stdin="{")
    assert broken.returncode == 2
    assert "/dev/stdin" in broken.stderr
    assert "/tmp" not in broken.stderr


def test_who_waives_a_cause_waives_what_follows(tmp_path: Path) -> None:
    declared = (LAB / "platform.yaml").read_text()
    waiver = "{check: GPU054, target: node/h100-1, owner: sre, reason: RMA, until: 2027-01-31}"
    idle = "{check: GPU055, target: node/h100-9, owner: sre, reason: RMA, until: 2027-01-31}"
    path = tmp_path / "platform.yaml"
    path.write_text(f"{declared}\nwaivers:\n  - {waiver}\n  - {idle}\n")
    done = run("check", LAB / "device-plugin-crash.json.gz", "-f", path, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert "GPU055" in done.stderr
    document = json.loads(done.stdout)
    assert {each["id"] for each in document["findings"] if each["verdict"] == "waived"} >= {
        "GPU054",
        "GPU056",
        "GPU010",
    }
    assert document["summary"]["findings"]["error"] == 0
    assert document["affected"] == []


@pytest.mark.parametrize(
    "args",
    [("--skip", "*"), ("--only", "GPU084"), ("-o", "table", "-o", "json"), ("--only", "GPU054", "--skip", "GPU054")],
)
def test_what_cannot_be_answered_is_refused(args: tuple[str, ...]) -> None:
    done = run("check", LAB / "healthy.json.gz", *args)
    assert done.returncode == 2
    assert done.stdout == ""
