"""What GPU workloads run: IMG-01, IMG-03, IMG-08."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.objects import containers, name, text
from plimsoll.kube.served import vllm_version
from plimsoll.pillars.security.advisories import AS_OF, TRITON, VLLM, Version, list_flaws, open_flaws, say
from plimsoll.pillars.security.tenants import READS, Tenant, homes, named, tenants
from plimsoll.units import version

_TRITON = re.compile(r"tritonserver[^/:@]*:(2\d\.\d\d)")


def _images(each: Tenant) -> list[tuple[str, str]]:
    """The images of a workload with their paths."""
    return [
        (f"{each.at}{path}.image", text(found, "image")) for path, found in containers(each.pod) if found.get("image")
    ]


@check("IMG-01", Severity.WARNING, Layer.RISK, reads=(*READS, kinds.NAMESPACE),
       remedy="crane digest <image>   # then write image: NAME:TAG@DIGEST in the manifest",
       source="Kubernetes docs (image names)")  # fmt: skip
def images_are_pinned(case: Case) -> Iterator[Finding]:
    """GPU workloads name their images by digest.

    A tag can be moved: the next node that pulls it runs other code than was reviewed, and two ranks of one job
    may differ. Only a digest names one image, and only a digest can be signed, scanned and traced.
    """
    if case.platform is not None and not case.platform.security.images.require_digest:
        return
    for home, own in homes(case.snapshot):
        loose = [each for each in own if any("@sha256:" not in image for _, image in _images(each))]
        if loose:
            shown = sorted({image for each in loose for _, image in _images(each) if "@sha256:" not in image})
            yield case.finding(
                home,
                f"{len(loose)} of {many(len(own), 'GPU workload')} in {name(home)} "
                f"{'runs' if len(loose) == 1 else 'run'} images by tag: {shown[0]}"
                + (f" and {len(shown) - 1} more" if shown[1:] else ""),
                "metadata.name",
                seen={"workloads": named(loose), "images": ", ".join(shown[:5])},
                remedy=f"crane digest {shown[0]}\n" + loose[0].edit(f"image: {shown[0]}@ and the digest"),
            )


@check("IMG-03", Severity.WARNING, Layer.RISK, reads=READS, needs_platform=True,
       remedy="mirror the image into an allowed registry, or add its registry to security.images.registries",
       source="platform.yaml security.images.registries")  # fmt: skip
def images_come_from_allowed_registries(case: Case) -> Iterator[Finding]:
    """GPU workloads run only images from the registries the platform allows.

    Public registries can hold anything under a name that is one letter off, and what is pulled from them is
    neither scanned nor kept.
    """
    allowed = tuple(f"{each.rstrip('/')}/" for each in case.platform.security.images.registries)
    for each in tenants(case.snapshot) if allowed else ():
        for path, image in _images(each):
            if not _full(image).startswith(allowed):
                yield case.finding(
                    each.obj,
                    f"{each.title} runs {image}, which comes from no registry of the platform",
                    path,
                    seen={"allowed": ", ".join(allowed)},
                    remedy=f"crane copy {image} {allowed[0]}{image.partition('/')[2] or image}\n"
                    + each.edit(f"image: {allowed[0]}…"),
                )
                break


def _full(image: str) -> str:
    """An image's name with its registry: what names none comes from Docker Hub."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


@check("IMG-08", Severity.WARNING, Layer.RISK, reads=READS, remedy="upgrade the image",
       source=f"vLLM advisories; NVIDIA bulletins on Triton, as of {AS_OF}")  # fmt: skip
def servers_have_no_known_flaws(case: Case) -> Iterator[Finding]:
    """Model servers run a version without known flaws.

    vLLM and Triton answer whoever sends them requests, and their flaws of the last years run code, bypass the key
    or crash the server from a single one. Judged by the version in the image's tag. An error where a
    flaw with a score of 9 or more is open.
    """
    for each in tenants(case.snapshot):
        for path, image in _images(each):
            running: Version = version(found.group(1)) if (found := _TRITON.search(image)) else ()
            product, flaws = "Triton", open_flaws(TRITON, running) if running else []
            if not running and "vllm" in image:
                running = vllm_version(each.pod)
                product, flaws = "vLLM", open_flaws(VLLM, running) if running else []
            if flaws:
                newest = say(max(flaw.fixed for flaw in flaws))
                yield case.finding(
                    each.obj,
                    f"{each.title} runs {product} {say(running)}, which has {list_flaws(flaws)}",
                    path,
                    seen={"mended in": newest, "advisories as of": AS_OF},
                    severity=Severity.ERROR if (flaws[0].score or 0) >= 9 else None,
                    remedy=each.edit(
                        f"image: … {newest} or later; until then keep its port closed to all but its gateway"
                    ),
                )
                break
