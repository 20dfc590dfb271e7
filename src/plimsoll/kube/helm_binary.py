"""The program `helm` (version 3 or 4) in place of the library: its words for a request, and what its output says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from plimsoll.kube.objects import Obj, mapping, number, text

Request = dict[str, Any]


def arguments(request: Request, folder: Path) -> list[str]:
    """The command line for a request, without the program. Values go through a file in `folder`."""
    do, name = request["do"], request["name"]
    if do == "releases":
        spaces = ["--namespace", request["namespace"]] if request["namespace"] else ["--all-namespaces"]
        states = ["--deployed", "--failed", "--pending", "--superseded", "--uninstalling"]
        return ["list", "--output", "json", *spaces, *states, "--kubeconfig", request["kubeconfig"]]
    if do == "pull":
        oci = request["repository"].startswith("oci://")
        source = [f"{request['repository']}/{name}"] if oci else [name, "--repo", request["repository"]]
        return ["pull", *source, "--version", request["version"], "--untar", "--untardir", request["into"]]
    more = ["--namespace", request["namespace"]]
    if do == "render":
        more += ["--no-hooks", "--skip-tests", "--kube-version", request["kube_version"]]
        more += [word for each in request["api_versions"] for word in ("--api-versions", each)]
        more += ["--include-crds"] if request["include_crds"] else []
    else:
        more += ["--kubeconfig", request["kubeconfig"], "--timeout", f"{request['timeout']}s"]
        more += ["--wait"] if request["wait"] else []
    if do == "uninstall":
        return ["uninstall", name, *more]
    values = folder / "values.json"
    values.write_bytes(msgspec.json.encode(request["values"]))
    more += ["--values", str(values)]
    if do == "render":
        return ["template", name, request["chart"], *more]
    more += ["--create-namespace"] if request["create_namespace"] else []
    more += ["--install"] if request.get("install") else []
    return [do, name, request["chart"], *more, "--output", "json"]


def found(request: Request, output: str) -> Any:
    """What the library would have answered. Raises msgspec.DecodeError for output that is not as promised."""
    do = request["do"]
    if do == "render":
        return {"crds": [], "manifest": output}
    if do in ("uninstall", "pull"):
        return True
    read = msgspec.json.decode(output)
    return [_listed(each) for each in read or []] if do == "releases" else _released(read)


def _released(release: Obj) -> Obj:
    chart = mapping(release, "chart", "metadata")
    return {
        "name": text(release, "name"),
        "namespace": text(release, "namespace"),
        "revision": number(release, "version"),
        "status": text(release, "info", "status"),
        "chart_name": text(chart, "name"),
        "chart_version": text(chart, "version"),
    }


def _listed(release: Obj) -> Obj:
    """One line of `helm list`, which joins chart and version by a dash; both may hold dashes, a version begins so."""
    words = text(release, "chart").split("-")
    cut = next((index for index, word in enumerate(words) if index and word.lstrip("v")[:1].isdigit()), len(words))
    return {
        "name": text(release, "name"),
        "namespace": text(release, "namespace"),
        "revision": int(text(release, "revision") or number(release, "revision")),
        "status": text(release, "status"),
        "chart_name": "-".join(words[:cut]),
        "chart_version": "-".join(words[cut:]),
    }
