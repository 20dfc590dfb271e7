"""Names as kube-state-metrics writes them, back to what they were: every character but letters, digits and `_` is `_`.

That cannot be undone in general. Labels come back by the keys that somebody asks for, resources by their form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from plimsoll.agents.meter import nodes, pods
from plimsoll.spec.model import Platform

_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_PROFILE = re.compile(r"([1-9]g)_([0-9]+gb)(.*)\Z")
_LABEL = "label_"
GPUS = "nvidia_com_(?:gpu|mig_).*"  # resource names, as a regular expression


def sanitised(name: str) -> str:
    return _NO_NAME.sub("_", name)


def keys(platform: Platform | None) -> dict[str, str]:
    """Labels that mean something to us, by what kube-state-metrics makes of their keys."""
    wanted = {*pods.LABELS, *nodes.LABELS}
    wanted |= {key for pool in (platform.pools if platform else ()) for key in pool.selector}
    return {_LABEL + sanitised(key): key for key in sorted(wanted)}


def labels(series: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The labels of an object, of the series `kube_…_labels`: those whose keys are known."""
    return {known[name]: value for name, value in series.items() if name in known and value}


@lru_cache(maxsize=1024)
def resource(name: str) -> str:
    """`nvidia_com_mig_1g_10gb_shared` to `nvidia.com/mig-1g.10gb.shared`; others as they are."""
    if name.startswith("nvidia_com_mig_"):
        shared = name.endswith("_shared")
        found = _PROFILE.match(name.removeprefix("nvidia_com_mig_").removesuffix("_shared"))
        if found:
            rest = found[3].replace("_", ".")
            return f"nvidia.com/mig-{found[1]}.{found[2]}{rest}{'.shared' * shared}"
    if name.startswith("nvidia_com_gpu"):
        return "nvidia.com/gpu" + name.removeprefix("nvidia_com_gpu").replace("_", ".")
    return name
