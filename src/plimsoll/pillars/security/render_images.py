"""Which images may run: from the platform's registries, by digest."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.security.render_cel import CONTAINERS, DEBUG, PODS, every, policy, refused, texts
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.units import version

_DIGEST = "@sha256:"
_VOLUMES = (1, 33)  # since when an image can be a volume without a feature gate
_HUB = "docker.io/"


def objects(platform: Platform) -> Iterator[Obj]:
    """One policy for both rules; none where the declaration asks for neither.

    A running pod is judged again only when its images change: whoever ends it, or takes a finalizer off it, must not
    be stopped by an image of before. Images that the declaration itself names for its services may run as
    named. A waiver of IMG-01 or IMG-03 for a namespace holds here, too, as long as it is in the file.
    """
    images = platform.security.images
    validations = []
    if images.registries and "*" not in _waived(platform, "IMG-03"):
        validations.append(
            refused(
                _judged(platform, "IMG-03", _from(platform)),
                f"images come from {' or '.join(each.rstrip('/') for each in images.registries)}",
            )
        )
    if images.require_digest and "*" not in _waived(platform, "IMG-01"):
        pinned = "IMAGE.matches('@sha256:[a-f0-9]{64}$')" + _or_named(platform, pinned=False)
        validations.append(
            refused(_judged(platform, "IMG-01", pinned), "images are named by digest (NAME:TAG@sha256:…)")
        )
    if not validations:
        return
    pods = {**PODS, "operations": ["CREATE", "UPDATE"]}
    waivers = sorted(
        f"{each.check} {each.target} until {each.until.isoformat()} by {each.owner}"
        for each in platform.waivers
        if each.check in ("IMG-01", "IMG-03")
    )
    yield from policy(
        platform,
        "images-are-pinned" if images.require_digest else "images-are-known",
        [pods, DEBUG],
        validations,
        annotations={"plimsoll.dev/waived": "; ".join(waivers)} if waivers else None,
        matchConditions=[{"name": "names-images", "expression": _CHANGED}],
        variables=[CONTAINERS],
    )


_CHANGED = (
    "request.operation == 'CREATE' || (has(request.subResource) && request.subResource == 'ephemeralcontainers') || "
    "object.spec.containers.map(c, c.image) != oldObject.spec.containers.map(c, c.image) || "
    "(has(object.spec.initContainers) && "
    "object.spec.initContainers.map(c, c.image) != oldObject.spec.initContainers.map(c, c.image))"
)


def notes(platform: Platform) -> Iterator[str]:
    images = platform.security.images
    if images.require_digest:
        for service in platform.services:
            image = derive.engine_image(platform, service)
            if _DIGEST not in image:
                yield (
                    f"Service {service.name} runs {image} by its tag, which can be moved: crane digest {image}, "
                    "and declare it with its digest as engine.image."
                )
    if images.signatures.mode != "none":
        yield (
            f"Signatures of images ({images.signatures.mode}) are declared, and nothing in the cluster checks them: "
            "that takes a controller such as the policy controller of sigstore, which is not installed from this file."
        )


def _judged(platform: Platform, check: str, condition: str) -> str:
    """The condition on IMAGE for every container and volume, but in namespaces with a waiver."""
    whole = f"({every(condition.replace('IMAGE', 'c.image'))})"
    declared = version(str(platform.cluster.kubernetes)) if platform.cluster.kubernetes else _VOLUMES
    if declared >= _VOLUMES:
        of_volume = condition.replace("IMAGE", "v.image.reference")
        whole += f" && (!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.image) || {of_volume}))"
    spaces = sorted(_waived(platform, check))
    return f"request.namespace in {texts(spaces)} || ({whole})" if spaces else whole


def _waived(platform: Platform, check: str) -> set[str]:
    """Namespaces in which a check is waived; "*" for all."""
    targets = {waiver.target for waiver in platform.waivers if waiver.check == check}
    spaces = {target.partition("/")[2] for target in targets if target.lower().startswith("namespace/")}
    return spaces | (targets & {"*"})


def _from(platform: Platform) -> str:
    """That an image comes from a registry. With a / at its end: registry.example.com.evil.net is another."""
    prefixes, bare = [], ""
    for each in platform.security.images.registries:
        prefix = each.rstrip("/") + "/"
        prefixes.append(prefix)
        if prefix == _HUB:
            bare = " || !IMAGE.matches('^([^/]*[.:][^/]*|localhost)/')"  # names no registry, so it is Docker Hub's
        elif prefix.startswith(_HUB):
            prefixes.append(prefix.removeprefix(_HUB))
    return f"({texts(prefixes)}.exists(r, IMAGE.startsWith(r)){bare}{_or_named(platform, pinned=True)})"


def _or_named(platform: Platform, *, pinned: bool) -> str:
    """The images of services, word for word; those with a digest only where that is not what is asked for."""
    named = {derive.engine_image(platform, service) for service in platform.services}
    named = {image for image in named if pinned or _DIGEST not in image}
    return f" || IMAGE in {texts(sorted(named))}" if named else ""
