"""Charts, rendered and installed by the real Helm engine.

The engine is the library of the package `helm-python-sdk` (the extra `lab`), else the program `helm` on PATH; this
module and `helm_engine` alone know them. Either runs as a process of its own, with its caches in a folder that goes
away with it, so that nothing is written to the user's home. A call takes half a second more than Helm's own work.

Errors are InputError where the chart or the values are at fault, ClusterError (Refused, Unreachable) where the cluster
is, LabError where there is no engine; each with Helm's own words.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from plimsoll.errors import ClusterError, InputError, LabError, PlimsollError
from plimsoll.kube import helm_binary, kinds
from plimsoll.kube.answers import Refused, Unreachable
from plimsoll.kube.objects import Obj, mapping, name, namespace, number, text
from plimsoll.kube.yamldocs import documents

Values = Mapping[str, Any]
Request = dict[str, Any]

_TIMEOUT = 300.0  # seconds; Helm's own default
_GRACE = 20.0  # seconds that Helm gets, after its own time limit and again after being told to stop
_WORDS_MAX = 2000  # characters of what Helm says
_PREFIX = re.compile(r"^(?:Error: )?(?:(?:INSTALLATION|UPGRADE) FAILED: )?")
# Lines of its log (slog's, klog's), and advice that fits only its own command line.
_LOGGED = ("level=", "time=", "I1", "I0", "W1", "W0", "WARNING: Kubernetes configuration file", "Use --debug flag")
_CHART = (  # parts of Helm's messages that blame what it was given
    "values don't meet the specifications",
    "execution error at",
    "chart requires kubeVersion",
    "template:",
    "parse error",
    "Chart.yaml",
    "invalid release name",
    "release name",
    "not a local path",
    "missing in charts/",
)
_FETCHING = ("pull:", "is not a valid chart repository", "failed to fetch", "failed to do request", "no such host")


class Release(msgspec.Struct, frozen=True):
    """A release as Helm recorded it. `status`: deployed, failed, pending-install, …"""

    name: str
    namespace: str
    revision: int
    status: str
    chart: str
    version: str


def render(
    chart: Path,
    *,
    name: str,
    namespace: str,
    values: Values,
    kube_version: str,
    api_versions: Iterable[str] = (),
    include_crds: bool = True,
) -> list[Obj]:
    """What an installation would create, without asking a cluster; hooks and tests, which do not stay, are left out.

    `kube_version` and `api_versions` ("group/version" or "group/version/Kind") stand in for the cluster. Objects of
    kinds known to be namespaced get the release's namespace where they name none, as Helm would put them there.
    Namespaces and CRDs come first.
    """
    found = _run(
        _request("render", chart, name, namespace)
        | {
            "values": dict(values),
            "kube_version": kube_version,
            "api_versions": list(api_versions),
            "include_crds": include_crds,
        },
        _TIMEOUT,
    )
    crds = [obj for each in found["crds"] for obj in _objects(each, chart)]
    objects = crds + _objects(found["manifest"], chart)
    return sorted((_placed(obj, objects, namespace) for obj in objects), key=_order)


def install(
    chart: Path,
    *,
    name: str,
    namespace: str,
    values: Values,
    kubeconfig: Path,
    create_namespace: bool = True,
    wait: bool = False,
    timeout: float = _TIMEOUT,
) -> Release:
    """`wait`: until everything in it is ready. `timeout` in seconds, for hooks and that."""
    request = _request("install", chart, name, namespace) | _cluster(kubeconfig, wait, timeout)
    return _release(_run(request | {"values": dict(values), "create_namespace": create_namespace}, timeout))


def upgrade(
    chart: Path,
    *,
    name: str,
    namespace: str,
    values: Values,
    kubeconfig: Path,
    install: bool = True,
    create_namespace: bool = True,
    wait: bool = False,
    timeout: float = _TIMEOUT,
) -> Release:
    """To `values` and nothing else: those of earlier revisions are forgotten. `install` it where it is not there."""
    request = _request("upgrade", chart, name, namespace) | _cluster(kubeconfig, wait, timeout)
    more = {"values": dict(values), "create_namespace": create_namespace, "install": install}
    return _release(_run(request | more, timeout))


def uninstall(*, name: str, namespace: str, kubeconfig: Path, wait: bool = False, timeout: float = _TIMEOUT) -> bool:
    """False: it was not there."""
    request = _request("uninstall", None, name, namespace) | _cluster(kubeconfig, wait, timeout)
    return bool(_run(request, timeout))


def releases(namespace: str, kubeconfig: Path) -> list[Release]:
    """In every state; of all namespaces for ""."""
    request = _request("releases", None, "", namespace) | _cluster(kubeconfig, False, _TIMEOUT)
    return [_release(each) for each in _run(request, _TIMEOUT)]


def pull(chart: str, *, repository: str, version: str, into: Path) -> Path:
    """Fetch a chart from a repository (https://… or oci://…) and unpack it into a folder. Raises InputError."""
    request: Request = {"do": "pull", "name": chart, "repository": repository, "version": version, "into": str(into)}
    _run(request, _TIMEOUT)
    found = into / chart
    if not (found / "Chart.yaml").is_file():
        raise InputError(f"version {version} came without a Chart.yaml", where=f"chart {chart}")
    return found


def default_values(chart: Path) -> Obj:
    """The chart's values.yaml; of its sub-charts only what it sets there."""
    path = chart / "values.yaml"
    if not path.is_file():
        return {}
    read = [found for _, found in documents(_text(path), str(path)) if found]
    return read[0] if read and isinstance(read[0], dict) else {}


def values_schema(chart: Path) -> Obj | None:
    """The chart's JSON schema of its values; None if it has none."""
    path = chart / "values.schema.json"
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(_text(path), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InputError(f"not a JSON schema: {error}", where=str(path)) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read it: {error}", where=str(path)) from None


def _request(do: str, chart: Path | None, name: str, namespace: str) -> Request:
    request: Request = {"do": do, "name": name, "namespace": namespace}
    if chart is not None:
        if not (chart / "Chart.yaml").is_file() and chart.suffix != ".tgz":
            raise InputError("there is no chart here: no Chart.yaml", where=str(chart))
        request["chart"] = str(chart.absolute())
    return request


def _cluster(kubeconfig: Path, wait: bool, timeout: float) -> Request:
    if not kubeconfig.is_file():  # Helm would go on to localhost:8080
        raise InputError("no such kubeconfig", where=str(kubeconfig))
    return {"kubeconfig": str(kubeconfig.absolute()), "wait": wait, "timeout": max(1, int(timeout))}


def _run(request: Request, timeout: float) -> Any:
    """What the engine finds. Raises PlimsollError with Helm's words."""
    where = request.get("chart", "") or request["name"]
    with tempfile.TemporaryDirectory(prefix="plimsoll-helm-") as folder:
        env = _environment(folder)
        if find_spec("helm_python"):
            words = [sys.executable, "-m", "plimsoll.kube.helm_engine"]
            output = _process(words, json.dumps(request), env, timeout, where)
            answer = _answer(output.stdout)
            if answer is None:
                raise LabError(f"the Helm engine broke: {_trimmed(output.stderr)}", where=where)
            if "failed" in answer:
                raise _failure(answer["failed"], where)
            return answer["found"]
        program = shutil.which("helm")
        if program is None:
            raise LabError(
                "there is no Helm engine",
                where=where,
                hint="`pip install 'plimsoll[lab]'` brings it; or put the program `helm` on PATH",
            )
        words = [program, *helm_binary.arguments(request, Path(folder))]
        output = _process(words, "", env, timeout, where)
        if output.returncode:
            if request["do"] == "uninstall" and "not found" in output.stderr:
                return False
            raise _failure(output.stderr, where)
        return helm_binary.found(request, output.stdout)


def _process(
    words: list[str], given: str, env: dict[str, str], timeout: float, where: str
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; if that does not come, tell it to stop, so that Helm notes the release as failed."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter, or the helm that the user has on PATH
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=env,
    ) as process:
        try:
            out, err = process.communicate(given, timeout=timeout + _GRACE)
        except BaseException as error:
            process.terminate()
            try:
                process.communicate(timeout=_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                hint = "`kubectl get pods -A` shows what is not ready"
                raise ClusterError(f"Helm did not end within {timeout:g} s", where=where, hint=hint) from None
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _environment(folder: str) -> dict[str, str]:
    """Ours, but for Helm's settings and caches (KUBECACHEDIR is where its Kubernetes client keeps discovery)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HELM_") or key == "HELM_C_LIB"}
    folders = {f"HELM_{which}_HOME": os.path.join(folder, which.lower()) for which in ("CACHE", "CONFIG", "DATA")}  # noqa: PTH118
    return kept | folders | {"KUBECACHEDIR": os.path.join(folder, "kube")}  # noqa: PTH118


def _answer(output: str) -> Obj | None:
    try:
        found = json.loads(output)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found else None


def _trimmed(words: str) -> str:
    """Helm's words without its own log lines and its prefix."""
    lines = [line.rstrip() for line in words.strip().splitlines() if line.strip() and not line.startswith(_LOGGED)]
    return _PREFIX.sub("", "\n".join(lines))[:_WORDS_MAX]


def _failure(said: str, where: str) -> PlimsollError:
    words = _trimmed(said) or "Helm failed without a word"
    if "unreachable" in words or "connection refused" in words:
        return Unreachable(f"Helm: {words}", where=where, hint="is the cluster of this kubeconfig running?")
    if "another operation" in words or "still in use" in words:
        hint = "upgrade it; if an earlier run was killed (pending-…), uninstall it first"
        return Refused(0, "", f"Helm: {words}", where=where, hint=hint)
    if any(part in words for part in _FETCHING):
        hint = "does a proxy or an air gap stand between? `--charts FOLDER` takes charts that are at hand"
        return InputError(f"Helm: {words}", where=where, hint=hint)
    if any(part in words for part in _CHART):
        return InputError(
            f"Helm: {words}", where=where, hint="its values.yaml and values.schema.json say what it takes"
        )
    late = "not ready" in words or "deadline exceeded" in words
    return Refused(0, "", f"Helm: {words}", where=where, hint="`kubectl get events -A` may say why" if late else "")


def _release(found: Obj) -> Release:
    return Release(
        name=text(found, "name"),
        namespace=text(found, "namespace"),
        revision=number(found, "revision"),
        status=text(found, "status"),
        chart=text(found, "chart_name"),
        version=text(found, "chart_version"),
    )


def _objects(manifest: str, chart: Path) -> list[Obj]:
    """The objects of a rendered text, those of a List one by one."""
    found: list[Obj] = []
    for _, each in documents(manifest, str(chart)):
        if not isinstance(each, dict) or not each:
            continue
        inner = each.get("items")
        found += inner if text(each, "kind").endswith("List") and isinstance(inner, list) else [each]
    return found


def _placed(obj: Obj, objects: list[Obj], release: str) -> Obj:
    group = text(obj, "apiVersion").rpartition("/")[0]
    known = kinds.BY_GROUP_KIND.get((group, text(obj, "kind")))
    namespaced = known.namespaced if known else _scope(objects, group, text(obj, "kind")) == "Namespaced"
    if not namespaced or namespace(obj):
        return obj
    return obj | {"metadata": dict(mapping(obj, "metadata")) | {"namespace": release}}


def _scope(objects: list[Obj], group: str, kind: str) -> str:
    """Of a kind that a CRD among the objects defines; "" if none does."""
    for each in objects:
        defined = (text(each, "spec", "group"), text(each, "spec", "names", "kind"))
        if text(each, "kind") == kinds.CRD.kind and defined == (group, kind):
            return text(each, "spec", "scope")
    return ""


def _order(obj: Obj) -> tuple[int, str, str, str]:
    first = {kinds.NAMESPACE.kind: 0, kinds.CRD.kind: 1}
    return first.get(text(obj, "kind"), 2), text(obj, "kind"), namespace(obj), name(obj)
