"""The engine's command line, and what the declaration says about where a model comes from."""

from __future__ import annotations

import re
from typing import NamedTuple

from plimsoll.spec.pools import Pool
from plimsoll.spec.serving import Argument, Service
from plimsoll.units import version

PORT = 8000
_DRAINS_SINCE = (0, 18)  # --shutdown-timeout
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


class Model(NamedTuple):
    """What is served: the engine's own name of it, and where it comes from.

    kind: `hub` an id of the model hub; `path` in the image; `claim` on a PersistentVolumeClaim; `image` an OCI
    artifact that is mounted; `store` an object store, read as a stream; `address` anything else with a scheme.
    volume: name of the claim or reference of the artifact.
    """

    given: str
    kind: str
    volume: str = ""

    @property
    def remote(self) -> bool:
        """Whether the server itself fetches it from outside the cluster."""
        return self.kind in ("hub", "store", "address")


def model_of(service: Service) -> Model:
    said = service.model.strip()
    match = _SCHEME.fullmatch(said)
    if match is None:
        return Model(said, "path" if said.startswith(("/", ".")) else "hub")
    scheme, rest = match.groups()
    if scheme == "hf":
        return Model(rest, "hub")
    claim, _, path = rest.partition("/")
    if scheme == "pvc" and claim:
        return Model(f"/models/{path}".rstrip("/"), "claim", claim)
    if scheme == "oci" and rest:
        return Model("/models", "image", rest)
    return Model(said, "store" if scheme in ("s3", "gs") else "address")


def options(service: Service, pool: Pool, model: Model, drain: int) -> dict[str, Argument]:
    """Options of the engine: ours, and what the declaration says, which wins."""
    given = {key.replace("_", "-"): value for key, value in service.engine.args.items()}
    ours: dict[str, Argument] = {"model": model.given, "served-model-name": service.name, "port": PORT}
    ours |= _parallel(service, given)
    if model.kind == "store":
        ours["load-format"] = "runai_streamer"
    if pool.partition.time_slicing:  # each server would take nine tenths of the memory that all take turns on
        ours["gpu-memory-utilization"] = max(1, 90 // pool.partition.time_slicing.replicas) / 100
    if version(service.engine.version) >= _DRAINS_SINCE:
        ours["shutdown-timeout"] = drain
    return ours | given


def _parallel(service: Service, given: dict[str, Argument]) -> dict[str, Argument]:
    """Tensor parallel within a node, pipeline parallel between nodes, unless the declaration says how."""
    ways = {f"{kind}-parallel-size" for kind in ("tensor", "pipeline", "data")} | {"tp", "pp", "dp"}
    if ways & given.keys():
        return {}
    nodes = service.engine.nodes
    found: dict[str, Argument] = {}
    if service.gpus_per_replica > nodes:
        found["tensor-parallel-size"] = service.gpus_per_replica // nodes
    if nodes > 1:
        found["pipeline-parallel-size"] = nodes
    return found


def words(args: dict[str, Argument]) -> list[str]:
    """Options as the command line has them. `$(` is doubled: Kubernetes would put a variable there."""
    found = []
    for key, value in args.items():
        if isinstance(value, bool):
            found.append(f"--{key}" if value else f"--no-{key}")
        else:
            found.append(f"--{key}={value}".replace("$(", "$$("))
    return found
