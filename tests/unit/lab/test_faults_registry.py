"""The registry of faults: what the live test gives, judged without a lab."""

from __future__ import annotations

import re

import pytest

from plimsoll.errors import InputError
from plimsoll.lab.faults import registry
from plimsoll.lab.faults.model import Fault
from plimsoll.pillars import all_checks

CHECKS = {each.id for each in all_checks()}


def test_no_id_is_given_twice() -> None:
    ids = [each.id.upper() for each in registry.ALL]
    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("fault", registry.ALL, ids=lambda fault: fault.id)
def test_a_fault_is_named_after_a_check_that_exists(fault: Fault) -> None:
    assert fault.check in CHECKS
    assert re.fullmatch(r"[A-Z0-9-]+(\+[a-z0-9-]+)?", fault.id)


@pytest.mark.parametrize("fault", registry.ALL, ids=lambda fault: fault.id)
def test_a_title_is_one_plain_clause(fault: Fault) -> None:
    assert 15 <= len(fault.title) <= 130
    assert not fault.title.endswith(".")
    assert fault.title.split()[0] not in ("A", "An", "The", "No", "One", "Two", "Every", "Some", "Nobody", "Somebody")


@pytest.mark.parametrize("fault", registry.ALL, ids=lambda fault: fault.id)
def test_what_a_fault_needs_of_a_node_is_asked_of_nodes_only(fault: Fault) -> None:
    assert fault.on == "" or fault.where == "node"
    assert 0 <= fault.later <= 24 * 60


def test_a_fault_is_found_however_its_id_is_written() -> None:
    for each in registry.ALL:
        assert registry.find(each.id.lower()) is each


def test_a_fault_that_does_not_exist_brings_near_ones() -> None:
    with pytest.raises(InputError) as caught:
        registry.find("GPU03")
    assert "GPU03" in caught.value.hint
