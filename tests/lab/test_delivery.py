"""What is rendered for Argo CD and Flux, judged by the real API server against their own definitions. No controller of
theirs acts on it here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.errors import ClusterError
from plimsoll.kube.objects import Obj, Ref
from plimsoll.kube.yamldocs import documents
from plimsoll.lab.build import found
from plimsoll.pillars.render import render
from plimsoll.plan import deliver
from plimsoll.plan.deliver.source import Source
from plimsoll.spec.load import load
from tests import goldens
from tests.lab.conftest import Lab

SOURCE = Source.of("https://git.example.com/platform.git", "main", "clusters/production")
SPACES = ("argocd", "flux-system")
KINDS = {
    "argocd": {"Application", "AppProject"},
    "flux": {"Kustomization", "HelmRelease", "HelmRepository", "OCIRepository", "GitRepository"},
}


@pytest.fixture(scope="module")
def spaces(lab: Lab) -> Iterator[None]:
    """A dry run needs the namespace, too."""
    for name in SPACES:
        lab.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield
    for name in SPACES:
        lab.client.delete("v1/Namespace", name)


def objects(example: str, form: str, source: Source = SOURCE) -> list[Obj]:
    """What a form adds to the objects of the platform."""
    file = goldens.ROOT / "examples" / example / "platform.yaml"
    files = deliver.files(render(load(file.read_bytes(), str(file))), form, source)
    own = (text for path, text in files.items() if path.startswith((f"{form}/", f"{form}.")) or "release.yaml" in path)
    return [each for text in own for each in yaml.safe_load_all(text)]


def judged(lab: Lab, obj: Obj) -> Any:
    return lab.client.apply(obj, dry_run=True, strict=True)


@pytest.mark.usefixtures("spaces")
@pytest.mark.parametrize("form", ["argocd", "flux"])
@pytest.mark.parametrize("example", ["01-first-cluster", "05-everything"])
def test_the_api_server_takes_what_a_gitops_controller_is_given(lab: Lab, example: str, form: str) -> None:
    given = objects(example, form)
    if example == "05-everything":
        assert {each["kind"] for each in given} == KINDS[form]
    for obj in given:
        judged(lab, obj)


@pytest.mark.usefixtures("spaces")
@pytest.mark.parametrize("revision", ["refs/tags/v1", "0123456789abcdef0123456789abcdef01234567"])
def test_every_kind_of_revision_is_taken(lab: Lab, revision: str) -> None:
    source = Source.of("https://git.example.com/platform.git", revision, "")
    for obj in objects("01-first-cluster", "flux", source):
        judged(lab, obj)


@pytest.mark.parametrize("example", goldens.NAMES)
def test_kustomize_takes_every_folder_for_what_it_is(programs: found.Programs, tmp_path: Path, example: str) -> None:
    """Flux builds folders with it. kubectl has the very library."""
    file = goldens.ROOT / "examples" / example / "platform.yaml"
    files = deliver.files(render(load(file.read_bytes(), str(file))), "flux", SOURCE)
    folders = {folder for path in files if (folder := path.rpartition("/")[0])}
    for folder in sorted(folders):
        names = [path.rpartition("/")[2] for path in files if path.rpartition("/")[0] == folder]
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "kustomization.yaml").write_text(json.dumps({"resources": names}))
        for name in names:
            (tmp_path / folder / name).write_text(files[f"{folder}/{name}"], encoding="utf-8")
        built = subprocess.run(
            [programs.path("kubectl"), "kustomize", tmp_path / folder],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        given = [obj for name in names for _, obj in documents(files[f"{folder}/{name}"], name)]
        made = [obj for _, obj in documents(built.stdout, folder)]
        assert sorted(made, key=Ref.of) == sorted(given, key=Ref.of)


@pytest.mark.usefixtures("spaces")
def test_a_field_that_is_none_is_refused(lab: Lab) -> None:
    """So the tests above can fail."""
    given = next(each for each in objects("01-first-cluster", "argocd") if each["kind"] == "Application")
    given["spec"]["syncPolicy"]["automatic"] = {}
    with pytest.raises(ClusterError, match="automatic"):
        judged(lab, given)
