"""What is rendered for the examples is, to the byte, what was reviewed."""

from __future__ import annotations

import pytest

from tests import goldens

AGAIN = "look at the difference; if it is meant, run `make golden` and commit it"


@pytest.mark.parametrize(("name", "form"), goldens.CASES, ids=["-".join(filter(None, case)) for case in goldens.CASES])
def test_an_example_is_rendered_as_its_golden_files_say(name: str, form: str) -> None:
    found, kept = goldens.files(name, form), goldens.there(name, form)
    assert sorted(found) == sorted(kept), AGAIN
    for path, text in found.items():
        assert text == kept[path], f"{goldens.folder(name, form) / path}: {AGAIN}"


def test_no_golden_folder_is_left_of_what_is_no_example() -> None:
    there = {path.name for path in goldens.GOLDEN.iterdir()}
    assert there == {goldens.folder(name, form).name for name, form in goldens.CASES}
