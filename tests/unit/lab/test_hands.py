"""Whatever a fault does, healing leaves every object as it was, also when either was killed half-way."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import LabError
from plimsoll.kube.objects import Obj, mapping, name, namespace, text
from plimsoll.lab.faults.hands import Hands, heal
from plimsoll.lab.faults.journal import Journal
from plimsoll.lab.hardware import conditions
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.run.settings import Folder

MAP = "v1/ConfigMap"
NAMES = ("a", "b", "c")


class Killed(BaseException):
    """The process ends here."""


class FakeServer:
    """The few calls that hands make, over a dict. Dies after `left` writes."""

    def __init__(self, left: int = 10_000) -> None:
        self.there: dict[tuple[str, str, str], Obj] = {}
        self.left = left

    def _write(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1

    def get(self, kind: str, named: str, space: str = "") -> Obj | None:
        return copy.deepcopy(self.there.get((kind, named, space)))

    def apply(self, obj: Obj) -> Obj:
        self._write()
        kind = f"{text(obj, 'apiVersion')}/{text(obj, 'kind')}"
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = "1"
        self.there[kind, name(obj), namespace(obj)] = stored
        return obj

    create = replace = apply

    def patch(self, kind: str, named: str, body: Obj, space: str = "", **_: Any) -> Obj:
        self._write()
        found = self.there[kind, named, space]
        found["data"] = {**mapping(found, "data"), **mapping(body, "data")}
        return found

    def delete(self, kind: str, named: str, space: str = "", **_: Any) -> bool:
        self._write()
        return self.there.pop((kind, named, space), None) is not None


def config(named: str, value: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": named, "namespace": "x"},
        "data": {"k": value},
    }


Step = Callable[[Hands], object]


def steps() -> st.SearchStrategy[list[Step]]:
    change = st.builds(
        lambda n, v: lambda h: h.change(MAP, n, {"data": {"k": v}}, "x"), st.sampled_from(NAMES), st.text()
    )
    edit = st.builds(
        lambda n, v: lambda h: h.change(MAP, n, lambda obj: obj["data"].update(more=v), "x"),
        st.sampled_from(NAMES),
        st.text(),
    )
    create = st.builds(lambda n, v: lambda h: h.create(config(n, v)), st.sampled_from((*NAMES, "new")), st.text())
    remove = st.builds(lambda n: lambda h: h.remove(MAP, n, "x"), st.sampled_from(NAMES))
    hardware = st.builds(
        lambda n: lambda h: h.condition(Condition(id=h.fault, node=n, gpus_lost=1)), st.sampled_from(NAMES)
    )
    return st.lists(st.one_of(change, edit, create, remove, hardware), max_size=8)


def plain(server: FakeServer) -> dict[tuple[str, str, str], Any]:
    return {key: mapping(obj, "data") for key, obj in server.there.items()}


@settings(max_examples=150, deadline=None)
@given(steps(), st.integers(0, 10), st.integers(0, 10))
def test_healing_undoes_everything(todo: list[Step], dies: int, dies_again: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(Path(root))
        server = FakeServer()
        for named in NAMES:
            server.apply(config(named, "before"))
        before = plain(server)
        server.left = dies
        try:
            hands = Hands(folder, server, "GPU054")  # type: ignore[arg-type]
            for step in todo:
                try:
                    step(hands)
                except LabError:  # it is not there any more
                    continue
        except Killed:
            pass
        server.left = dies_again
        try:
            heal(folder, server)  # type: ignore[arg-type]
        except Killed:
            server.left = 10_000
            heal(folder, server)  # type: ignore[arg-type]
        assert plain(server) == before
        assert conditions.read(folder.hardware) == ()
        assert not Journal(folder.faults).read().given


def test_one_fault_is_healed_and_the_other_stays(tmp_path: Path) -> None:
    folder, server = Folder(tmp_path), FakeServer()
    for named in NAMES:
        server.apply(config(named, "before"))
    Hands(folder, server, "A").change(MAP, "a", {"data": {"k": "1"}}, "x")  # type: ignore[arg-type]
    Hands(folder, server, "B").change(MAP, "b", {"data": {"k": "2"}}, "x")  # type: ignore[arg-type]
    assert heal(folder, server, "A") == ["A"]  # type: ignore[arg-type]
    assert mapping(server.get(MAP, "a", "x"), "data") == {"k": "before"}
    assert mapping(server.get(MAP, "b", "x"), "data") == {"k": "2"}


def test_a_fault_that_needs_what_is_not_there_says_so(tmp_path: Path) -> None:
    hands = Hands(Folder(tmp_path), FakeServer(), "GPU054")  # type: ignore[arg-type]
    with pytest.raises(LabError, match="GPU054 needs ConfigMap x/absent"):
        hands.change(MAP, "absent", {}, "x")
