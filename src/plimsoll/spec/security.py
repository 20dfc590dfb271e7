"""Pillar security: what may run, as whom, and who looks after it."""

from __future__ import annotations

from typing import Literal

import msgspec

from plimsoll.spec.section import Section
from plimsoll.spec.values import Duration, Text, Url, default


class Signatures(Section, frozen=True, kw_only=True):
    """Proof of where an image comes from.

    mode: `keyless` by an identity, `key` by a public key, `none`. issuer, subject: the identity that signs.
    key: name of the Secret or address of the key that verifies.
    """

    mode: Literal["none", "keyless", "key"] = "none"
    issuer: Url | None = None
    subject: Text | None = None
    key: Text | None = None


class Images(Section, frozen=True, kw_only=True):
    """Which images may run.

    registries: hosts or paths they may come from; default any. require_digest: a tag alone is not enough.
    signatures: proof of origin. max_scan_age: how old the last vulnerability scan may be.
    """

    registries: tuple[Text, ...] = ()
    require_digest: bool = True
    signatures: Signatures = Signatures()
    max_scan_age: Duration = default(Duration.read("7d"))


class Review(Section, frozen=True, kw_only=True):
    """Who looks at the exceptions, and how often."""

    every: Duration = default(Duration.read("90d"))
    owner: Text = "platform"


class Security(Section, frozen=True, kw_only=True):
    """What tenants may do.

    images: what may run. identity: how pods prove who they are to the cloud or to each other.
    pod_security: the Pod Security Standard of tenant namespaces. network: whether pods may talk unless told so.
    review: who looks at the exceptions.
    """

    images: Images = msgspec.field(default_factory=Images)
    identity: Literal["cloud", "spiffe", "none"] = "cloud"
    pod_security: Literal["restricted", "baseline", "privileged"] = "restricted"
    network: Literal["default-deny", "open"] = "default-deny"
    review: Review = msgspec.field(default_factory=Review)
