"""What differs between releases of the GPU Operator's chart, as far as rendering has to know it.

Read from values.yaml, the templates and the CRDs of the tags v25.3.0 to v25.3.4, v25.10.0, v25.10.1, v26.3.0 to v26.3.3
and v26.7.0, as of AS_OF. The lab proves what is said for 25.3; what is said for the others is compared with their CRDs.

    release            25.3                25.10       26.3        26.7
    CDI                off, `default` too  on          on          on; NRI plugin off
    toolkit            1.17                1.18        1.19        1.20
    device plugin      0.17                0.18        0.19        0.20
    exporter           4.0 to 4.4          4.6, 4.7    4.8.0, 4.8.2 from 26.3.2    4.8.3
    ServiceMonitor     off                 off         off         on
    MIG layouts        a fixed file        fixed       written by each node's MIG manager
    DRA                none                none        none        GPUCluster instead of ClusterPolicy, off
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plimsoll.kube.objects import Obj
from plimsoll.units import version

AS_OF = "2026-08-21"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What holds from one release on.

    since: the first one. own: values that only charts of this age have. replaced: versions by the operand's name in the
    values, for operands whose own version has known flaws: toolkit CVE-2026-24260, exporter CVE-2026-47483.
    """

    since: tuple[int, ...]
    own: Obj
    replaced: Mapping[str, str] = {}


_MENDED = {"toolkit": "v1.19.1", "dcgmExporter": "4.5.3-4.8.2-distroless"}
# In 25.3 the runtime takes a pod's devices from CDI only with `default`: without, it believes the environment, which
# pods no longer may set, and they get none.
_CDI_25_3 = {"cdi": {"enabled": True, "default": True}}
_CDI = {"cdi": {"enabled": True}}

RELEASES = (
    Release(since=(25, 3), own=_CDI_25_3, replaced=_MENDED),
    Release(since=(25, 10), own=_CDI, replaced=_MENDED),
    Release(since=(26, 3), own=_CDI, replaced=_MENDED),
    Release(since=(26, 3, 2), own=_CDI),
    Release(
        since=(26, 7),
        # Beside device plugin and quotas by resource name there is no place for DRA: one of the two owns the GPUs.
        own=_CDI | {"clusterPolicy": {"deployCR": True}, "gpuCluster": {"deployCR": False}},
    ),
)


def release(declared: str) -> Release:
    """What is known of a declared version: the newest row that is not newer; of older ones the oldest."""
    return next((row for row in reversed(RELEASES) if row.since <= version(declared)), RELEASES[0])


def doubt(declared: str) -> str:
    """What a person has to know where the declared version is none we have read; "" where it is one."""
    used = release(declared)
    if used.since[:2] == version(declared)[:2]:
        return ""
    table = ".".join(map(str, used.since[:2]))
    why = "older than any" if version(declared) < RELEASES[0].since else "none"
    return (
        f"GPU Operator {declared} is {why} of those that Plimsoll has read (as of {AS_OF}): its values are those of "
        f"{table}. Compare them with the values.yaml of its chart before you apply."
    )


def chart_version(declared: str) -> str:
    """A declared version as NVIDIA names its charts."""
    return f"v{declared.removeprefix('v')}"
