"""The Helm engine on a chart that the test writes: offline, with a stand-in for the program, on a real cluster."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import ClusterError, InputError, LabError
from plimsoll.kube import helm, helm_binary
from plimsoll.kube.answers import Refused, Unreachable
from plimsoll.kube.client import Client
from tests.unit.kube.realserver import MISSING, real_api_server

LIBRARY = find_spec("helm_python") is not None
ENGINES = [
    pytest.param("library", marks=pytest.mark.skipif(not LIBRARY, reason="needs `pip install helm-python-sdk`")),
    pytest.param("program", marks=pytest.mark.skipif(not shutil.which("helm"), reason="needs `helm` on PATH")),
]

FILES = {
    "Chart.yaml": "apiVersion: v2\nname: tiny-chart\nversion: 0.1.0\nappVersion: '1.2'\nkubeVersion: '>=1.20.0-0'\n",
    "values.yaml": "count: 1\nwords: {on: 'yes', size: 5Gi}\n",
    "values.schema.json": '{"type": "object", "properties": {"count": {"type": "integer"}}}',
    "crds/things.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
""",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-a}
data:
  count: "{{ .Values.count }}"
  kube: {{ .Capabilities.KubeVersion.Version | quote }}
  has: {{ .Capabilities.APIVersions.Has "kueue.x-k8s.io/v1beta2" | quote }}
{{- if eq (int .Values.count) 9 }}{{ fail "nine is no good" }}{{ end }}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: {{ .Release.Name }}-thing}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: {{ .Release.Name }}-role}
rules: []
{{- if eq (int .Values.count) 8 }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: Bad_Name}
{{- end }}
""",
    "templates/hook.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}
""",
    "templates/tests/test.yaml": """
apiVersion: v1
kind: Pod
metadata: {name: test, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: c, image: i}]}
""",
    "templates/NOTES.txt": "Thanks.",
}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "chart"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Either engine, in a home that stays empty."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HELM_NAMESPACE", "from-the-environment")
    monkeypatch.setenv("HELM_DRIVER", "nonsense")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "program":
        monkeypatch.setattr("plimsoll.kube.helm.find_spec", lambda _name: None)
    yield request.param
    assert list(home.rglob("*")) == []


def rendered(chart: Path, **values: Any) -> list[dict[str, Any]]:
    return helm.render(
        chart, name="x", namespace="q", values=values, kube_version="v1.33.0", api_versions=["kueue.x-k8s.io/v1beta2"]
    )


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_render(chart: Path, engine: str) -> None:
    found = rendered(chart, count=3)
    assert [(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace", "")) for each in found] == [
        ("CustomResourceDefinition", "things.example.com", ""),
        ("ClusterRole", "x-role", ""),
        ("ConfigMap", "x-a", "q"),
        ("Thing", "x-thing", "q"),
    ]
    assert found[2]["data"] == {"count": "3", "kube": "v1.33.0", "has": "true"}
    assert rendered(chart)[2]["data"]["count"] == "1"
    bare = helm.render(chart, name="x", namespace="q", values={}, kube_version="1.30", include_crds=False)
    assert [each["kind"] for each in bare] == ["ClusterRole", "ConfigMap", "Thing"]
    assert bare[1]["data"]["has"] == "false"


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_what_the_chart_does_not_take(chart: Path, engine: str) -> None:
    for values, says in (({"count": "x"}, "got string, want integer"), ({"count": 9}, "nine is no good")):
        with pytest.raises(InputError, match=says) as caught:
            rendered(chart, **values)
        assert caught.value.where == str(chart)
        assert caught.value.what.startswith("Helm: ")
        assert "FAILED" not in caught.value.what
        assert "--debug" not in caught.value.what
    with pytest.raises(InputError, match="kubeVersion"):
        helm.render(chart, name="x", namespace="q", values={}, kube_version="1.10.0")
    with pytest.raises(InputError, match="release name"):
        helm.render(chart, name="X_", namespace="q", values={}, kube_version="1.33.0")
    (chart / "templates" / "broken.yaml").write_text("a: {{ .Values.")
    with pytest.raises(InputError, match=r"broken\.yaml"):
        rendered(chart)
    (chart / "templates" / "broken.yaml").write_text("a: [")
    with pytest.raises(InputError):
        rendered(chart)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_cluster_that_is_not_there(chart: Path, tmp_path: Path, engine: str) -> None:
    config = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {}}]
    config.write_text(
        json.dumps({"clusters": [cluster], "contexts": [context], "current-context": "x", "users": users})
    )
    with pytest.raises(Unreachable, match="unreachable"):
        helm.install(chart, name="x", namespace="q", values={}, kubeconfig=config)
    with pytest.raises(Unreachable):
        helm.releases("q", config)


def test_files_that_are_not_there(chart: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Chart\.yaml"):
        rendered(tmp_path / "nowhere")
    with pytest.raises(InputError, match="kubeconfig"):
        helm.install(chart, name="x", namespace="q", values={}, kubeconfig=tmp_path / "nowhere")


def test_values_and_their_schema(chart: Path, tmp_path: Path) -> None:
    assert helm.default_values(chart) == {"count": 1, "words": {"on": "yes", "size": "5Gi"}}
    assert helm.values_schema(chart) == {"type": "object", "properties": {"count": {"type": "integer"}}}
    assert helm.default_values(tmp_path) == {}
    assert helm.values_schema(tmp_path) is None
    (chart / "values.schema.json").write_text("{")
    with pytest.raises(InputError, match="not a JSON schema"):
        helm.values_schema(chart)
    (chart / "values.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot read"):
        helm.default_values(chart)


# A stand-in for the program


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `helm` that does what the file says; its words and environment go to `said`."""
    monkeypatch.setattr("plimsoll.kube.helm.find_spec", lambda _name: None)
    script, folder = tmp_path / "does.py", tmp_path / "bin"
    folder.mkdir()
    program = folder / "helm"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/said\nenv > {tmp_path}/env\nexec {sys.executable} {script}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return script


def test_without_any_engine(chart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.kube.helm.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabError, match="no Helm engine") as caught:
        rendered(chart)
    assert "plimsoll[lab]" in caught.value.hint


def test_the_program_in_place_of_the_library(chart: Path, stand_in: Path, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{}")
    metadata = {"metadata": {"name": "tiny-chart", "version": "0.1.0"}}
    answer = {"name": "x", "namespace": "q", "version": 2, "info": {"status": "deployed"}, "chart": metadata}
    stand_in.write_text(f"print({json.dumps(json.dumps(answer))})")
    release = helm.upgrade(chart, name="x", namespace="q", values={"a": 1}, kubeconfig=config, wait=True, timeout=7)
    assert release == helm.Release("x", "q", 2, "deployed", "tiny-chart", "0.1.0")
    said = (tmp_path / "said").read_text()
    assert said.startswith(f"upgrade x {chart} --namespace q --kubeconfig {config} --timeout 7s --wait --values ")
    assert said.endswith("--create-namespace --install --output json\n")
    environment = (tmp_path / "env").read_text()
    for variable in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR"):
        assert f"{variable}=" in environment
    line = {"name": "x", "namespace": "q", "revision": "3", "status": "failed", "chart": "gpu-operator-v25.3.2-rc.1"}
    stand_in.write_text(f"print({json.dumps(json.dumps([line]))})")
    assert helm.releases("", config) == [helm.Release("x", "q", 3, "failed", "gpu-operator", "v25.3.2-rc.1")]
    assert "--all-namespaces" in (tmp_path / "said").read_text()
    stand_in.write_text("")
    assert helm.uninstall(name="x", namespace="q", kubeconfig=config) is True
    stand_in.write_text("import sys; sys.exit('Error: uninstall: Release not loaded: x: release: not found')")
    assert helm.uninstall(name="x", namespace="q", kubeconfig=config) is False


def test_words_of_the_program_for_each_request(tmp_path: Path) -> None:
    base = {"name": "x", "namespace": "q", "chart": "/c", "values": {"a": {"b": [1]}}}
    words = helm_binary.arguments(
        base | {"do": "render", "kube_version": "1.33", "api_versions": ["a/v1", "b/v1"], "include_crds": True},
        tmp_path,
    )
    assert words[:3] == ["template", "x", "/c"]
    assert words[words.index("--kube-version") + 1] == "1.33"
    assert words.count("--api-versions") == 2
    assert "--include-crds" in words
    assert json.loads((tmp_path / "values.json").read_text()) == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("said", "error", "hint"),
    [
        ("Error: INSTALLATION FAILED: cannot reuse a name that is still in use", Refused, "upgrade"),
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", Refused, "uninstall it"),
        ("W1125 19:00:00.0 1 warnings.go:70] x\nError: INSTALLATION FAILED: pods is forbidden", Refused, ""),
        ("Error: resource Deployment/q/x not ready\ncontext deadline exceeded", Refused, "get events"),
        ("Error: kubernetes cluster unreachable: connection refused", Unreachable, "running"),
        ("", Refused, ""),
    ],
)
def test_what_helm_says(
    chart: Path, stand_in: Path, tmp_path: Path, said: str, error: type[ClusterError], hint: str
) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{}")
    stand_in.write_text(f"import sys; sys.stderr.write({said!r}); sys.exit(1)")
    with pytest.raises(error) as caught:
        helm.install(chart, name="x", namespace="q", values={}, kubeconfig=config)
    assert hint in caught.value.hint
    assert caught.value.what.startswith("Helm")
    for part in ("Error:", "FAILED:", "warnings.go"):
        assert part not in caught.value.what


def test_a_helm_that_hangs_is_told_to_stop(
    chart: Path, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("{}")
    monkeypatch.setattr("plimsoll.kube.helm._GRACE", 1.0)
    stubborn = [
        "import pathlib, signal, time",
        f"signal.signal(signal.SIGTERM, lambda *_: pathlib.Path({str(tmp_path / 'told')!r}).touch())",
        "while True: time.sleep(60)",
    ]
    stand_in.write_text("\n".join(stubborn))
    began = time.monotonic()
    with pytest.raises(ClusterError, match="did not end within 1 s"):
        helm.install(chart, name="x", namespace="q", values={}, kubeconfig=config, timeout=1.0)
    assert time.monotonic() - began < 20
    assert (tmp_path / "told").exists()


# A real cluster


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_releases_on_a_real_api_server(chart: Path, tmp_path: Path, engine: str) -> None:
    with real_api_server(tmp_path / "server") as config, Client(config) as client:
        how: dict[str, Any] = {"namespace": "q", "kubeconfig": config}
        first = helm.install(chart, name="x", values={}, wait=True, timeout=60, **how)
        assert first == helm.Release("x", "q", 1, "deployed", "tiny-chart", "0.1.0")
        with pytest.raises(Refused, match="still in use"):
            helm.install(chart, name="x", values={}, **how)
        assert helm.upgrade(chart, name="x", values={"count": 2}, **how).revision == 2
        found = client.get("v1/ConfigMap", "x-a", "q")
        assert found
        assert found["data"]["count"] == "2"
        assert client.get("example.com/v1/Thing", "x-thing", "q")
        with pytest.raises(Refused, match="no deployed releases"):
            helm.upgrade(chart, name="y", values={}, install=False, **how)
        with pytest.raises(InputError, match="want integer"):
            helm.upgrade(chart, name="x", values={"count": "many"}, **how)
        with pytest.raises(Refused, match="Bad_Name"):
            helm.install(chart, name="z", values={"count": 8}, **how | {"namespace": "other"})
        states = {(each.name, each.status) for each in helm.releases("", config)}
        assert states == {("x", "deployed"), ("z", "failed")}
        assert helm.uninstall(name="x", **how) is True
        assert helm.uninstall(name="x", **how) is False
        assert client.get("v1/ConfigMap", "x-a", "q") is None
