"""Files of every form: the objects arrive as they are wanted, in an order in which they can."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.kube import helm
from plimsoll.kube.objects import Obj, Ref, namespace
from plimsoll.kube.yamldocs import documents
from plimsoll.pillars.render import render
from plimsoll.plan import deliver
from plimsoll.plan.deliver import manifests, yamltext
from plimsoll.plan.deliver.source import Source
from plimsoll.plan.deliver.steps import FIRST, in_order, short, steps
from plimsoll.plan.model import Chart, NodeRule, Part, Wanted, thing
from plimsoll.plan.order import wave
from plimsoll.spec.load import load

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/platform.yaml"))
FORMS = ("apply", "argocd", "flux", "helmfile")
SOURCE = Source.of("https://git.example.com/platform.git", "main", "clusters/production")


class Core(yaml.SafeLoader):
    """The core schema of YAML 1.2, to the letter."""


Core.yaml_implicit_resolvers = {}
for tag, pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}.items():
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), None)


def platform_of(example: str) -> Wanted:
    file = ROOT / "examples" / example / "platform.yaml"
    return render(load(file.read_bytes(), str(file)))


@pytest.fixture(scope="module", params=EXAMPLES)
def wanted(request: pytest.FixtureRequest) -> Wanted:
    return platform_of(request.param)


def read(text: str) -> list[Any]:
    return [found for _, found in documents(text, "text")]


# What somebody takes for something other than text: YAML 1.1, YAML 1.2, Go's reader, or an older one.
ODD = [
    "", "~", "null", "Null", "none", "y", "Y", "n", "yes", "No", "on", "OFF", "true", "TRUE", "false", "=", "<<", "?",
    "-", "0", "-0", "+1", "012", "08", "0o17", "0x1F", "0b11", "1_000", "1e3", "1E-3", ".5", "5.", "-.5e+3", ".inf",
    "-.INF",
    ".nan", "NaN", "inf", "1:30", "190:20:30", "1:2:3.5", "2026-11-25", "2026-11-25T10:00:00Z", "2026-11-25 10:00:00",
    "1.2.3", "10.0.0.0", "10.0.0.0/8", "80Gi", "24h", "0.5m", "1d", "500e", "123456789012345678901234567890",
    "- a", "a: b", "a #b", "#b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "{a}", "[a]", "a,b", "'a'", '"a"', "\\n",
    " a", "a ", "\ta", "a\tb", "a\nb", "a\n", "a\n\n", "\na", " a\nb", "a \nb", "a\n b", "a\n\tb", "a\rb", "a\r\nb",
    "---", "--- a", "...", "a\n---\nb\n", "\x00", "\x07", "\x7f", "\x85", "a\x85b", "\u2028", "a\u2029b", "\ufeff", "é",
    "日本", "😀", "a\n😀", "\xa0", "{{ $labels.pod }}", "${x}", "$(x)", "x" * 300, "x " * 200, ":", "a:", ":8443",
    "a\\\nb",
]  # fmt: skip
texts = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text("0123456789abcdefxo_.:-+eE tTZ,", max_size=12),
    st.lists(st.sampled_from(ODD), min_size=2, max_size=4).map("\n".join),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(texts, st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(values)
def test_any_value_is_the_same_for_readers_of_yaml_1_1_and_1_2(value: Any) -> None:
    text = yamltext.document({"value": value})
    for reader in (yaml.SafeLoader, Core):
        assert yaml.load(text, reader) == {"value": value}, text  # noqa: S506  safe ones
    assert read(text) == [{"value": value}], text


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_odd_words_are_text_for_every_reader_as_a_value_a_key_and_an_entry(text: str) -> None:
    value = {text: text, "list": [text, [text]], "map": {"k": {text: text}}}
    written = yamltext.document(value)
    for reader in (yaml.SafeLoader, yaml.CSafeLoader, Core):
        assert yaml.load(written, reader) == value, written  # noqa: S506  safe ones


@pytest.mark.skipif(find_spec("helm_python") is None, reason="needs `pip install helm-python-sdk`")
def test_gos_reader_takes_odd_words_for_text_too(tmp_path: Path) -> None:
    """Helm reads YAML with the library that Kubernetes has."""
    value = {"odd": ODD, "keys": {each: each for each in ODD}, "deep": [[{"a": ODD}]]}
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: odd\nversion: 1.0.0\n")
    (tmp_path / "odd.yaml").write_text(yamltext.document(value), encoding="utf-8")
    (tmp_path / "templates" / "all.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\n"
        'data: {odd: {{ .Files.Get "odd.yaml" | fromYaml | toJson | b64enc }}}\n'
    )
    [found] = helm.render(tmp_path, name="odd", namespace="default", values={}, kube_version="1.36.0")
    assert json.loads(base64.b64decode(found["data"]["odd"])) == value


def test_text_of_many_lines_is_a_block_that_people_can_read() -> None:
    assert yamltext.document({"a": "if x {\n  y\n}\n", "b": ["c"]}) == "a: |\n  if x {\n    y\n  }\nb:\n  - c\n"


@pytest.mark.parametrize("form", FORMS)
def test_objects_arrive_as_wanted_each_of_them_once(wanted: Wanted, form: str) -> None:
    files = deliver.files(wanted, form, SOURCE)
    found = [
        obj
        for path, text in files.items()
        if path.endswith("/objects.yaml") and "/templates/" not in path
        for obj in read(text)
    ]
    for obj in found:  # the one thing that a form adds to objects
        if obj["metadata"].get("annotations", {}).pop("helm.sh/resource-policy", None) == "keep":
            assert (form, obj["kind"]) == ("helmfile", "Namespace")
            if not obj["metadata"]["annotations"]:
                del obj["metadata"]["annotations"]
    assert sorted(found, key=Ref.of) == sorted(wanted.objects, key=Ref.of)
    assert [list(each)[:3] for each in found] == [["apiVersion", "kind", "metadata"]] * len(found)


@pytest.mark.parametrize("form", FORMS)
def test_every_file_is_yaml_or_for_people(wanted: Wanted, form: str) -> None:
    for path, text in deliver.files(wanted, form, SOURCE).items():
        assert text.endswith("\n"), path
        if path.endswith(".yaml") and "/templates/" not in path:
            assert read(text) == list(yaml.load_all(text, yaml.SafeLoader)), path
        else:
            assert path.endswith(".md") or "/templates/" in path


@pytest.mark.parametrize("form", FORMS)
def test_values_of_charts_arrive_as_wanted(wanted: Wanted, form: str) -> None:
    files = deliver.files(wanted, form, SOURCE)
    for pillar, part in wanted.parts.items():
        for chart in part.charts:
            if form in ("apply", "helmfile"):
                [found] = read(files[f"{pillar}/{chart.name}.values.yaml"])
            elif form == "flux":
                found = read(files[f"{pillar}/{chart.name}/release.yaml"])[1]["spec"]["values"]
            else:
                [application] = read(files[f"argocd/{pillar}-chart-{chart.name}.yaml"])
                found = application["spec"]["source"]["helm"]["valuesObject"]
            assert found == chart.values


def test_the_stream_has_all_objects_in_the_order_of_their_waves(wanted: Wanted) -> None:
    found = read(manifests.one_stream(wanted))
    assert found == list(in_order(wanted.objects))
    assert [number for number, _ in groupby(map(wave, found))] == sorted({wave(each) for each in found})
    for chart in wanted.charts:
        assert f"# Needs chart {chart.chart} {chart.version} of {chart.repository}" in manifests.one_stream(wanted)


def spaces(draw: st.DrawFn) -> Iterator[Obj]:
    kinds = (
        ("v1", "Namespace"), ("v1", "ConfigMap"), ("kueue.x-k8s.io/v1beta2", "LocalQueue"), ("apps/v1", "Deployment"),
        ("keda.sh/v1alpha1", "ScaledObject"), ("nvidia.com/v1", "NVIDIADriver"), ("karpenter.sh/v1", "NodePool"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    )  # fmt: skip
    for api, kind in draw(st.lists(st.sampled_from(kinds), max_size=8)):
        bare = kind in ("Namespace", "NVIDIADriver", "NodePool", "CustomResourceDefinition")
        yield thing(api, kind, draw(st.sampled_from("abc")), "" if bare else draw(st.sampled_from("xyz")))


@st.composite
def platforms(draw: st.DrawFn) -> Wanted:
    """Parts with objects of any kind anywhere, and charts that bring some of the kinds."""
    brings = {"kueue": "localqueues.kueue.x-k8s.io", "keda": "scaledobjects.keda.sh", "gpu": "nvidiadrivers.nvidia.com"}
    parts, seen = {}, set()
    for pillar in draw(st.lists(st.sampled_from(("operator", "queueing", "serving", "security")), unique=True)):
        objects = [each for each in spaces(draw) if not (Ref.of(each) in seen or seen.add(Ref.of(each)))]  # type: ignore[func-returns-value]
        charts = [
            Chart(name=name, namespace=draw(st.sampled_from("xyz")), chart=name, repository="https://charts.example.com",
                  version="1.0.0", values={}, crds=(brings.pop(name),))
            for name in draw(st.lists(st.sampled_from(("kueue", "keda", "gpu")), unique=True, max_size=2))
            if name in brings
        ]  # fmt: skip
        parts[pillar] = Part(objects=tuple(objects), charts=tuple(charts))
    return Wanted(platform=draw(st.sampled_from(("p", "p" * 63))), parts=parts)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(platforms())
def test_steps_have_everything_once_and_come_after_all_they_stand_on(wanted: Wanted) -> None:
    order = steps(wanted)
    assert sorted(Ref.of(each) for step in order for each in step.objects) == sorted(map(Ref.of, wanted.objects))
    assert sorted(step.chart.name for step in order if step.chart) == sorted(each.name for each in wanted.charts)
    behind: dict[str, set[str]] = {}
    for step in order:
        assert set(step.needs) <= behind.keys()  # those that come before
        behind[step.name] = {*step.needs, *(far for each in step.needs for far in behind[each])}
        for near in step.needs:
            assert near not in {far for each in step.needs if each != near for far in behind[each]}  # none said twice
    for step in order:
        used = {step.chart.namespace} if step.chart else {namespace(each) for each in step.objects}
        groups = {each["apiVersion"].partition("/")[0] for each in step.objects}
        for other in order:
            makes = {each["metadata"]["name"] for each in other.objects if each["kind"] == "Namespace"}
            brings = {each.partition(".")[2] for each in other.chart.crds} if other.chart else set()
            if step.name != other.name and ((used & makes) or (groups & brings)):
                assert other.name in behind[step.name]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(platforms(), st.sampled_from(FORMS))
def test_names_fit_where_they_are_put_and_every_need_is_there(wanted: Wanted, form: str) -> None:
    files = deliver.files(wanted, form, SOURCE)
    objects = [obj for path, text in files.items() if path.startswith((f"{form}/", f"{form}.")) for obj in read(text)]
    names = [(each["kind"], each["metadata"]["name"]) for each in objects if "metadata" in each]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)
    for each in objects:
        for need in each.get("spec", {}).get("dependsOn", []):
            assert ("Kustomization", need["name"]) in names
    if form == "helmfile":
        [found] = objects
        releases = {f"{each['namespace']}/{each['name']}" for each in found["releases"]}
        assert len(releases) == len(found["releases"])
        assert all(need in releases for each in found["releases"] for need in each.get("needs", []))
        assert all(len(each["name"]) <= 53 for each in found["releases"])


@pytest.mark.parametrize("form", ["argocd", "flux"])
def test_every_folder_is_read_by_one_controller_object_and_each_reads_one(wanted: Wanted, form: str) -> None:
    files = deliver.files(wanted, form, SOURCE)
    folders = sorted({path.rpartition("/")[0] for path in files} - {""})
    paths = []
    for path, text in files.items():
        for obj in read(text) if path.startswith((f"{form}/", f"{form}.")) else []:
            place = obj["spec"].get("path") or obj["spec"].get("source", {}).get("path")
            paths += [place.removeprefix("./").removeprefix("clusters/production/")] if place else []
    assert sorted(paths) == folders


def test_what_holds_others_is_never_taken_away() -> None:
    wanted = platform_of("05-everything")
    argocd, flux = deliver.files(wanted, "argocd", SOURCE), deliver.files(wanted, "flux", SOURCE)
    for step in steps(wanted):
        [application], [kustomization] = read(argocd[f"argocd/{step.name}.yaml"]), read(flux[f"flux/{step.name}.yaml"])
        stays = step.name == FIRST or step.chart is not None
        assert ("finalizers" not in application["metadata"]) is stays
        assert application["spec"]["syncPolicy"]["automated"]["prune"] is (step.name != FIRST)
        assert kustomization["spec"]["prune"] is not stays


def test_a_number_of_replicas_that_keda_sets_is_no_drift() -> None:
    wanted = platform_of("04-serving")
    [found] = read(deliver.files(wanted, "argocd", SOURCE)["argocd/serving-workloads.yaml"])
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in wanted.objects if each["kind"] == "ScaledObject"}
    assert scaled
    assert {each["name"] for each in found["spec"]["ignoreDifferences"]} == scaled
    assert "RespectIgnoreDifferences=true" in found["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.skipif(find_spec("helm_python") is None, reason="needs `pip install helm-python-sdk`")
@pytest.mark.parametrize("step", ["first", "observability/resources"])
def test_helm_hands_out_objects_as_they_stand(tmp_path: Path, step: str) -> None:
    """Braces of alerts are no templates of Helm's."""
    wanted = platform_of("05-everything")
    files = deliver.files(wanted, "helmfile")
    for path, text in files.items():
        if path.startswith(f"{step}/"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
    found = helm.render(tmp_path / step, name="x", namespace="default", values={}, kube_version="1.36.0")
    assert sorted(found, key=Ref.of) == sorted(read(files[f"{step}/objects.yaml"]), key=Ref.of)
    assert step == FIRST or any("{{ " in json.dumps(each) for each in found)


def test_labels_of_nodes_are_lines_that_can_be_typed() -> None:
    rule = NodeRule(pool="a", selector={"b": "c", "a/b": "d e"}, labels={"y": None, "x": "1"}, disruptive=("y",))
    text = deliver.files(Wanted(platform="p", parts={"partition": Part(nodes=(rule,))}), "apply")["nodes.md"]
    assert "\nkubectl label nodes --overwrite -l 'a/b=d e,b=c' x=1 y-\n" in text
    assert "A change of `y` takes the GPUs from running pods" in text


def test_notes_are_in_the_order_of_the_pillars_with_the_order_of_the_steps() -> None:
    text = deliver.files(platform_of("05-everything"), "apply")["NOTES.md"]
    lines = [line for line in text.splitlines() if line.startswith(("kubectl ", "helm "))]
    assert lines[0].endswith("-f first/")
    chart = next(number for number, line in enumerate(lines) if line.startswith("helm upgrade --install kueue "))
    assert chart < next(number for number, line in enumerate(lines) if line.endswith(" -f queueing/resources/"))


def test_a_form_that_reads_from_git_asks_where() -> None:
    for form in ("argocd", "flux"):
        with pytest.raises(InputError, match=f"{form} reads the files from a Git repository"):
            deliver.files(Wanted(platform="p", parts={}), form)


@pytest.mark.parametrize(
    ("repository", "revision", "path", "said"),
    [
        ("https://git.example.com/a b", "main", "", "no word"),
        ("-x", "main", "", "no word"),
        ("https://git.example.com/a.git", "", "", "no word"),
        ("https://me:secret@git.example.com/a.git", "main", "", "holds a password"),
        ("https://git.example.com/a.git", "main", "/a", "no path"),
        ("https://git.example.com/a.git", "main", "a/../b", "no path"),
        ("https://git.example.com/a.git", "main", "a b", "no path"),
    ],
)
def test_a_source_that_is_none_is_refused(repository: str, revision: str, path: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Source.of(repository, revision, path)


def test_flux_takes_no_address_without_a_scheme() -> None:
    source = Source.of("git@git.example.com:acme/platform.git", "main", "")
    assert deliver.files(Wanted(platform="p", parts={}), "argocd", source)
    with pytest.raises(InputError, match="Flux takes no repository"):
        deliver.files(Wanted(platform="p", parts={}), "flux", source)


@pytest.mark.parametrize(
    ("revision", "ref"),
    [
        ("main", {"branch": "main"}),
        ("refs/tags/v1", {"name": "refs/tags/v1"}),
        ("0123456789abcdef0123456789abcdef01234567", {"commit": "0123456789abcdef0123456789abcdef01234567"}),
    ],
)
def test_flux_reads_branches_tags_and_commits(revision: str, ref: Obj) -> None:
    source = Source.of("https://git.example.com/a.git", revision, "./clusters//prod/")
    [repository, root] = read(deliver.files(Wanted(platform="p", parts={}), "flux", source)["flux.yaml"])
    assert repository["spec"]["ref"] == ref
    assert root["spec"]["path"] == "./clusters/prod/flux"


def test_the_same_bytes_in_every_process() -> None:
    """However sets are ordered there."""
    code = (
        "import sys; from tests.unit.plan.test_deliver import FORMS, SOURCE, deliver, platform_of\n"
        "for form in FORMS: sys.stdout.write(repr(deliver.files(platform_of('05-everything'), form, SOURCE)))"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=120,
                       env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}).stdout
        for seed, zone in (("1", "Asia/Tokyo"), ("4242", "America/Lima"))
    }  # fmt: skip
    assert len(found) == 1


@given(st.text("ab-", min_size=1, max_size=200).map(lambda text: f"x{text}x"), st.integers(20, 63))
def test_a_shortened_name_fits_and_is_its_own(name: str, longest: int) -> None:
    cut = short(name, longest)
    assert len(cut) <= longest
    assert cut == name or cut != short(f"{name}y", longest)
    assert not cut.endswith("-")
