"""What the lab is made of: one small Go module of ours per project, the programs in it, the files it brings along.

Versions stand once, in each module's go.mod.
"""

from __future__ import annotations

import platform
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

import plimsoll
from plimsoll.errors import LabError
from plimsoll.lab.home import cache

FLAGS = ("-trimpath", "-buildvcs=false")
_LDFLAGS = "-s -w"  # no symbols and no debugging information: a third smaller
_KEY_LENGTH = 12

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A folder with a go.mod of ours.

    path: the Go module it is about. assets: folders of that module which the lab reads when it runs.
    stamp: the Go package that is told its version, which Kubernetes does not know by itself.
    named: what it goes by where its folder is about several; by default the folder's name.
    """

    folder: Path
    path: str
    assets: tuple[str, ...] = ()
    stamp: str = ""
    named: str = ""

    @property
    def name(self) -> str:
        return self.named or self.folder.name

    @property
    def pinned(self) -> str:
        """The version that go.mod requires, such as v1.36.3."""
        return self._requirement()[1]

    @property
    def version(self) -> str:
        """The release: `pinned`, or what a comment behind it says where a release has no Go version of its own."""
        return self._requirement()[2] or self.pinned

    @property
    def go(self) -> tuple[int, ...]:
        """The oldest Go that builds it, such as (1, 26, 0)."""
        found = re.search(r"^go (\d+(?:\.\d+)+)", self._text("go.mod"), re.MULTILINE)
        return tuple(int(part) for part in found[1].split(".")) if found else (1,)

    @property
    def ldflags(self) -> str:
        if not self.stamp:
            return _LDFLAGS
        major, minor, *_ = self.version.removeprefix("v").split(".")
        told = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
        return " ".join([_LDFLAGS, *(f"-X {self.stamp}.{name}={value}" for name, value in told.items())])

    @property
    def home(self) -> Path:
        """Its folder in the cache: another one as soon as anything that goes into its programs is another."""
        recipe = "\0".join([self._text("go.mod"), self._text("go.sum"), *FLAGS, self.ldflags])
        key = sha256(recipe.encode()).hexdigest()[:_KEY_LENGTH]
        return cache() / "programs" / f"{self.name}-{self.version}-{key}-{'-'.join(target())}"

    def _requirement(self) -> re.Match[str]:
        line = rf"^(?:require|\t) ?{re.escape(self.path)} (v\S+)(?: // (v\S+))?$"
        found = re.search(line, self._text("go.mod"), re.MULTILINE)
        if found is None:
            raise LabError(f"does not require {self.path}", where=str(self.folder / "go.mod"))
        return found

    def _text(self, name: str) -> str:
        try:
            return (self.folder / name).read_text()
        except OSError as error:
            raise LabError(f"cannot read it: {error.strerror}", where=str(self.folder / name)) from error


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A program that Go builds.

    package: its command. seconds: how long a cold build took on two cores, one program after the other in this order.
    says: the arguments that make it print its version; empty where it cannot. fits: how near to ours the version of
    one that is there already has to be.
    """

    name: str
    module: Module
    package: str
    seconds: int
    says: tuple[str, ...] = ()
    fits: Literal["minor", "exact"] = "exact"

    @property
    def built(self) -> Path:
        """Where its build lies, or will lie."""
        return self.module.home / "bin" / self.name


def recipes(folder: Path | None = None) -> tuple[Recipe, ...]:
    """Every program that Go builds, in the order of building. folder: of the Go modules, if not the usual one."""
    root = folder or modules()
    etcd = Module(folder=root / "etcd", path="go.etcd.io/etcd/server/v3")
    kubernetes = Module(folder=root / "kubernetes", path="k8s.io/kubernetes", stamp="k8s.io/component-base/version")
    kwok = Module(folder=root / "kwok", path="sigs.k8s.io/kwok")
    kueue = Module(folder=root / "kueue", path="sigs.k8s.io/kueue", assets=("charts/kueue",))
    keda = Module(folder=root / "keda", path="github.com/kedacore/keda/v2", assets=("config",))
    operator = Module(
        folder=root / "gpu-operator",
        path="github.com/NVIDIA/gpu-operator",
        assets=("deployments/gpu-operator", "assets", "manifests"),
    )

    def core(name: str, seconds: int, *says: str) -> Recipe:
        package = f"{kubernetes.path}/cmd/{name}"
        return Recipe(name=name, module=kubernetes, package=package, seconds=seconds, says=says, fits="minor")

    def part(name: str, module: Module, command: str, seconds: int) -> Recipe:
        return Recipe(name=name, module=module, package=f"{module.path}/cmd/{command}", seconds=seconds)

    return (
        Recipe(name="etcd", module=etcd, package=etcd.path, seconds=41, says=("--version",), fits="minor"),
        core("kube-apiserver", 206, "--version"),
        core("kube-controller-manager", 56, "--version"),
        core("kube-scheduler", 4, "--version"),
        core("kubectl", 20, "version", "--client"),
        Recipe(name="kwok", module=kwok, package=f"{kwok.path}/cmd/kwok", seconds=70, says=("--version",)),
        part("gpu-operator", operator, "gpu-operator", 85),
        part("kueue", kueue, "kueue", 201),
        part("keda-operator", keda, "operator", 279),
        part("keda-adapter", keda, "adapter", 55),
        part("keda-webhooks", keda, "webhooks", 2),
    )


def definitions(folder: Path | None = None) -> tuple[Module, ...]:
    """Modules of which only the CustomResourceDefinitions are read: of systems whose controllers the lab does not run.

    All stand in one go.mod. They are downloaded one by one, so that nothing that they require is.
    """
    place = (folder or modules()) / "crds"

    def of(name: str, path: str, crds: str) -> Module:
        return Module(folder=place, path=path, assets=(crds,), named=name)

    return (
        of("prometheus-operator", "github.com/prometheus-operator/prometheus-operator",
           "example/prometheus-operator-crd"),
        of("jobset", "sigs.k8s.io/jobset", "config/components/crd/bases"),
        of("lws", "sigs.k8s.io/lws", "config/crd/bases"),
        of("karpenter-aws", "github.com/aws/karpenter-provider-aws", "pkg/apis/crds"),  # Karpenter's own, too
        of("argo-cd", "github.com/argoproj/argo-cd/v3", "manifests/crds"),
        of("flux-helm", "github.com/fluxcd/helm-controller", "config/crd/bases"),
        of("flux-source", "github.com/fluxcd/source-controller", "config/crd/bases"),
        of("flux-kustomize", "github.com/fluxcd/kustomize-controller", "config/crd/bases"),
    )  # fmt: skip


def modules() -> Path:
    """The folder of our Go modules: in the installed package, or in the repository that this package is part of."""
    package = Path(plimsoll.__file__).parent
    for place in (package / "lab" / "modules", package.parents[1] / "lab"):
        if (place / "kubernetes" / "go.mod").is_file():
            return place
    raise LabError("the lab's Go modules are not part of this installation", where=str(package))


def target() -> tuple[str, str]:
    """What Go calls this machine: (GOOS, GOARCH). Raises LabError where the lab cannot run."""
    machine = _MACHINES.get(platform.machine().lower())
    if sys.platform != "linux" or machine is None:
        raise LabError(f"the lab runs on Linux (amd64, arm64), not on {sys.platform} {platform.machine()}")
    return sys.platform, machine
