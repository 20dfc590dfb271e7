"""A lab for the tests of this folder: one for all of them, made once, put back where a test asks for it.

All of them run in one worker (`xdist_group`), since two cores hold one lab well.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plimsoll.errors import LabError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj
from plimsoll.lab.build import found
from plimsoll.lab.run import control, launch
from plimsoll.lab.run.settings import ADDONS, Folder, Settings
from plimsoll.lab.run.state import State

PRACTICE = Path(__file__).parents[2] / "examples" / "practice"


class Lab:
    """A running lab."""

    def __init__(self, folder: Folder, state: State) -> None:
        self.folder = folder
        self.state = state
        self.client = Client(folder.kubeconfig)

    def reset(self) -> None:
        """Put it back to how it was when it became ready."""
        control.ask(self.folder, "reset")

    def wait(
        self, kind: str, name: str, space: str, until: Callable[[Obj | None], bool], patience: float = 60.0
    ) -> Obj:
        """The object, once it is as wanted. Fails with what was last seen."""
        return self.client.wait(kind, name, space, until, timeout=patience)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker for everything that needs a lab, and that first: it takes longest."""
    here = str(Path(__file__).parent)
    own = [item for item in items if str(item.path).startswith(here)]
    for item in own:
        item.add_marker(pytest.mark.xdist_group("lab"))
    items.sort(key=lambda item: not str(item.path).startswith(here))


@pytest.fixture(scope="session")
def programs() -> found.Programs:
    """The lab's programs; without them nothing here can run."""
    try:
        return found.find()
    except LabError as error:
        if os.environ.get("CI"):
            raise  # `make test` builds them first: there nothing may be skipped unseen
        pytest.skip(f"{error}; {error.hint}")


@pytest.fixture(scope="session")
def labs(programs: found.Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the labs of this run, apart from the user's own."""
    before = os.environ.get("XDG_STATE_HOME")
    root = tmp_path_factory.mktemp("labs")
    os.environ["XDG_STATE_HOME"] = str(root)
    yield root
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session")
def lab(labs: Path) -> Iterator[Lab]:
    """The lab with everything on it and the nodes of examples/practice."""
    settings = Settings(name="tests", addons=ADDONS, platform=(PRACTICE / "platform.yaml").read_text())
    state = launch.up(settings)
    folder = launch.folder_of("tests")
    running = Lab(folder, state)
    yield running
    running.client.close()
    launch.down(folder)


@pytest.fixture
def space(lab: Lab) -> Iterator[str]:
    """A namespace for one test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    lab.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    lab.client.delete("v1/Namespace", name)
