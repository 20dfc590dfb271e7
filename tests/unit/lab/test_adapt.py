"""What the lab changes in a declaration, and that it changes nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from plimsoll.cli.lab_adapt import command
from plimsoll.lab.adapt import adapt
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/platform.yaml"))
FIELDS = (
    ("cluster", "kubernetes"), ("operator", "version"), ("operator", "namespace"), ("queueing", "version"),
    ("observability", "prometheus", "url"),
)  # fmt: skip


def without(platform: Platform) -> object:
    """All of it but what may change."""
    plain = msgspec.to_builtins(load(to_yaml(platform), "again"), enc_hook=str)
    for *path, last in FIELDS:
        place = plain
        for step in path:
            place = place[step]
        place.pop(last, None)
    return plain


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_only_versions_and_the_address_of_metrics_change(file: Path) -> None:
    platform = load(file.read_text(), str(file))
    adapted, said = adapt(platform)
    assert without(adapted) == without(platform)
    assert adapted.operator.version.removeprefix("v").startswith("25.3")
    assert adapted.observability.prometheus.url == "http://127.96.0.90:9090"
    assert len(said) == sum(line.partition(":")[0] in {".".join(each) for each in FIELDS} for line in said)
    assert adapt(adapted) == (adapted, [])


def test_a_minor_of_kubernetes_is_kept_as_it_is_written() -> None:
    source = EXAMPLES[0].read_text()
    platform = load(source, "platform.yaml")
    for written, kept in (("1.36", True), ("v1.36.9", True), ("1.3", False), ("1.360", False), ("1.35.1", False)):
        cluster = msgspec.structs.replace(platform.cluster, kubernetes=written)
        adapted, said = adapt(msgspec.structs.replace(platform, cluster=cluster))
        assert adapted.cluster.kubernetes == (written if kept else "1.36")
        assert any(line.startswith("cluster.kubernetes: 1.36 instead of") for line in said) != kept
    unsaid = msgspec.structs.replace(platform, cluster=msgspec.structs.replace(platform.cluster, kubernetes=None))
    assert adapt(unsaid)[0].cluster.kubernetes is None


def test_the_command_prints_a_declaration_and_tells_beside_it_what_changed() -> None:
    done = CliRunner().invoke(command, ["-f", str(EXAMPLES[-1])])
    assert done.exit_code == 0, done.output
    assert load(done.stdout, "printed") == adapt(load(EXAMPLES[-1].read_text(), "it"))[0]
    assert "observability" in done.stderr or "as it is" in done.stderr
