"""What was applied is read back from a snapshot, whose credentials are taken out: a declaration has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from plimsoll.kube.redact import redacted
from plimsoll.plan import record
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from tests.platforms import platforms

EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/*/platform.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_record_of_an_example_survives_redaction(path: Path) -> None:
    _survives(load(path.read_text(), path.name))


@given(platforms())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_record_of_any_declaration_survives_redaction(declared: Platform) -> None:
    _survives(declared)


def _survives(declared: Platform) -> None:
    (kept,) = record.objects(declared, ())
    assert redacted(kept)["data"] == kept["data"]
    assert load(record.read(redacted(kept)).declaration, "record") == declared
