"""What is wanted as files: manifests and values alone, or with what Argo CD, Flux or helmfile need to apply them.

steps      what is applied together, and what needs what
yamltext   YAML that every reader takes for the same
manifests  the objects, the same in every form, and what people read
plain, argocd, flux, helmfile   what each form adds
folder     writing it without touching what is somebody else's
"""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.errors import InputError
from plimsoll.plan.deliver import argocd, flux, helmfile, manifests, plain
from plimsoll.plan.deliver.manifests import Files
from plimsoll.plan.deliver.source import Source
from plimsoll.plan.deliver.steps import Step, steps
from plimsoll.plan.model import Wanted

_FROM_GIT: dict[str, Callable[[str, tuple[Step, ...], Source], Files]] = {"argocd": argocd.files, "flux": flux.files}
_BY_HAND: dict[str, Callable[[str, tuple[Step, ...]], Files]] = {"apply": plain.files, "helmfile": helmfile.files}
NEEDS_SOURCE = frozenset(_FROM_GIT)


def files(wanted: Wanted, delivery: str, source: Source | None = None) -> Files:
    """Every file by its path in the folder; the same bytes for the same arguments.

    delivery: apply, argocd, flux or helmfile. source: where the folder will lie in Git, for the two that read it there.
    Raises InputError where that is missing.
    """
    order = steps(wanted)
    if delivery in _BY_HAND:
        found = _BY_HAND[delivery](wanted.platform, order)
    elif source is None:
        raise InputError(
            f"{delivery} reads the files from a Git repository, and none is given",
            where="--repository",
            hint="--repository https://git.example.com/platform.git --revision main --path clusters/production",
        )
    else:
        found = _FROM_GIT[delivery](wanted.platform, order, source)
    return dict(sorted((manifests.files(wanted, order, delivery) | found).items()))
