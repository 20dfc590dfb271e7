"""Helm's own library behind one request: `python -m plimsoll.kube.helm_engine`, JSON on stdin, JSON on stdout.

A process of its own, and not a call, because the library is a Go runtime: it reads HELM_* and the place of its caches
from the environment once, as it is loaded; its threads and signal handlers stay for good, which no later fork of ours
would survive; its Kubernetes client writes warnings to the process's stderr; and an installation that hangs can be
ended only from outside.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import helm_python
from helm_python import _native as native

Request = dict[str, Any]


def main() -> int:
    """Answer {"found": …} or {"failed": Helm's words}; 0 in both cases."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    request: Request = json.load(sys.stdin)
    context = helm_python.HelmContext()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Helm then marks the release as failed; a killed one stays pending, and refuses the next upgrade.
        signal.signal(number, lambda *_: context.cancel())
    answer: dict[str, Any] = {}

    def work() -> None:
        try:
            answer["found"] = _OPERATIONS[request["do"]](request, context)
        except helm_python.HelmError as error:
            answer["failed"] = str(error)

    # Python runs signal handlers in the main thread only, and not while that is inside the library.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with os.fdopen(out, "w") as stream:
        json.dump(answer, stream)
    return 0


def _render(request: Request, _context: helm_python.HelmContext) -> dict[str, Any]:
    """What `helm template` shows: an installation that touches no cluster, without hooks and tests.

    Chart.render would leave out the check of kubeVersion, and the package's `install` does not hand on the versions
    that the library takes; so the call is made one level below, as the package makes it.
    """
    options = {"dry_run": "client", "kube_version": request["kube_version"], "api_versions": request["api_versions"]}
    with (
        helm_python.Config(
            kubeconfig_path=os.devnull, namespace=request["namespace"], storage_driver="memory"
        ) as config,
        helm_python.Chart.load(request["chart"]) as chart,
    ):
        nothing = native.HANDLE(0)
        values = json.dumps(request["values"])
        text = native.call_string(
            "helm_install", config._raw(), nothing, chart._raw(), None, request["name"], values, json.dumps(options)
        )
        crds = [each["data"] for each in chart.crds] if request["include_crds"] else []
        return {"crds": crds, "manifest": json.loads(text).get("manifest", "")}


def _install(request: Request, context: helm_python.HelmContext) -> dict[str, Any]:
    with _config(request) as config, helm_python.Chart.load(request["chart"]) as chart:
        return config.install(
            chart,
            request["name"],
            request["values"],
            context=context,
            create_namespace=request["create_namespace"],
            wait=_wait(request),
            timeout=request["timeout"],
        )


def _upgrade(request: Request, context: helm_python.HelmContext) -> dict[str, Any]:
    if request["install"] and not _there(request):
        return _install(request, context)
    with _config(request) as config, helm_python.Chart.load(request["chart"]) as chart:
        return config.upgrade(
            chart,
            request["name"],
            request["values"],
            context=context,
            wait=_wait(request),
            timeout=request["timeout"],
        )


def _there(request: Request) -> bool:
    with _config(request) as config:
        try:
            return bool(config.history(request["name"], max_revisions=1))
        except helm_python.HelmNotFoundError:
            return False


def _pull(request: Request, _context: helm_python.HelmContext) -> bool:
    """Unpacked into a folder of the chart's name."""
    oci = request["repository"].startswith("oci://")
    reference = f"{request['repository']}/{request['name']}" if oci else request["name"]
    try:
        helm_python.pull(
            reference,
            repo_url=None if oci else request["repository"],
            version=request["version"],
            destination=request["into"],
            untar=True,
            untar_dir=request["into"],
        )
    except helm_python.HelmError as error:
        raise helm_python.HelmRepoError(f"pull: {error}") from error
    return True


def _uninstall(request: Request, _context: helm_python.HelmContext) -> bool:
    with _config(request) as config:
        try:
            config.uninstall(request["name"], timeout=request["timeout"], wait=_wait(request))
        except helm_python.HelmNotFoundError:
            return False
        return True


def _releases(request: Request, _context: helm_python.HelmContext) -> list[dict[str, Any]]:
    with _config(request) as config:
        return config.list(all_states=True, all_namespaces=not request["namespace"])


def _config(request: Request) -> helm_python.Config:
    return helm_python.Config(kubeconfig_path=request["kubeconfig"], namespace=request["namespace"] or None)


def _wait(request: Request) -> str:
    return "watcher" if request["wait"] else "hookOnly"


_OPERATIONS: dict[str, Callable[[Request, helm_python.HelmContext], Any]] = {
    "render": _render,
    "install": _install,
    "upgrade": _upgrade,
    "uninstall": _uninstall,
    "releases": _releases,
    "pull": _pull,
}

if __name__ == "__main__":
    sys.exit(main())
