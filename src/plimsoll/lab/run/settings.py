"""What one lab is made of: what the user asked for, and where its files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from plimsoll.errors import InputError, LabError
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from plimsoll.spec.settle import settled

PLACES = "XDG_STATE_HOME names another place for labs"
ADDONS = ("kueue", "keda", "gpu-operator", "prometheus", "crds")


class Settings(msgspec.Struct, kw_only=True):
    """What `lab up` was asked for.

    addons: of ADDONS. charts: whether the charts of Kueue and the GPU Operator are installed, or their programs wait
    until somebody does that. platform: text of the platform.yaml whose pools become nodes. nodes: text of a file of
    Node manifests, instead. manifests: objects for the cluster, applied when everything runs, as YAML documents.
    """

    name: str
    addons: tuple[str, ...] = ()
    charts: Literal["install", "wait"] = "install"
    platform: str = ""
    nodes: str = ""
    manifests: str = ""


class Folder:
    """The files of one lab. Everything it writes is in here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pki = root / "pki"
        self.logs = root / "logs"
        self.etcd = root / "etcd"
        self.pristine = root / "pristine"  # etcd as it was when the lab became ready
        self.mounts = root / "mounts"
        self.charts = root / "charts"
        self.kubeconfig = root / "kubeconfig"
        self.state = root / "state.json"
        self.settings = root / "settings.json"
        self.hardware = root / "hardware.json"
        self.faults = root / "faults.json"
        self.lock = root / "lock"
        self.control = root / "control.sock"
        self.supervisor_log = self.logs / "supervisor.log"

    def make(self) -> None:
        """Create its folders, for their owner alone: keys lie in there."""
        try:
            for folder in (self.root, self.pki, self.logs, self.mounts):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise LabError(f"cannot be made: {error.strerror}", where=str(self.root), hint=PLACES) from None

    def load(self) -> Settings:
        """What the lab was asked for."""
        try:
            return msgspec.json.decode(self.settings.read_bytes(), type=Settings)
        except (OSError, msgspec.DecodeError) as error:
            raise InputError(
                f"no lab is here: {error}",
                where=str(self.root),
                hint="`plimsoll lab down` ends it, then `plimsoll lab up` makes a new one",
            ) from None


def platform_of(settings: Settings) -> Platform | None:
    """The platform the lab was made for. Raises SpecError, which `lab up` has seen before."""
    return settled(load(settings.platform, "platform.yaml")) if settings.platform else None
