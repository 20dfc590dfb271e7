"""Many objects applied at once, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

from plimsoll.errors import ClusterError, PlimsollError
from plimsoll.kube import kinds
from plimsoll.kube.answers import NotFound
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, condition, name, text

_TOLD = 5  # refusals that the message quotes; `errors` has all
_SERVED = 10.0  # seconds between a CRD being Established and its kind being served, at most
_AGAIN = 0.2  # seconds


class NotApplied(ClusterError):  # noqa: N818 - the noun that callers catch, as in kube.answers
    """Some objects were refused; the others are applied. `errors` has one for each."""

    def __init__(self, errors: Sequence[PlimsollError], total: int) -> None:
        told = "\n".join(f"- {error}" + (f" ({error.hint})" if error.hint else "") for error in errors[:_TOLD])
        more = f"\n- and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
        super().__init__(f"{len(errors)} of {total} objects were not applied:\n{told}{more}")
        self.errors = tuple(errors)


def apply_all(client: Client, objs: Iterable[Obj], *, workers: int = 8, timeout: float = 60.0) -> list[Obj]:
    """What the server made of them: namespaces, then CRDs, then all others at once.

    `timeout`: seconds for all CRDs to be Established. Raises NotApplied; what comes after a group with a refusal is
    not tried.
    """
    given = list(objs)
    spaces = [each for each in given if _is(each, "v1", kinds.NAMESPACE.kind)]
    crds = [each for each in given if _is(each, "apiextensions.k8s.io/v1", kinds.CRD.kind)]
    first = {id(each) for each in spaces + crds}
    deadline = monotonic() + timeout

    def define(crd: Obj) -> Obj:
        client.apply(crd)
        return client.wait(kinds.CRD, name(crd), until=_established, timeout=max(0.0, deadline - monotonic()))

    def apply(obj: Obj) -> Obj:
        patience = monotonic() + (_SERVED if crds else 0.0)
        while True:
            try:
                return client.apply(obj)
            except NotFound as missing:
                if missing.name or monotonic() > patience:
                    raise
                sleep(_AGAIN)

    done: list[Obj] = []
    with ThreadPoolExecutor(workers) as pool:
        for step, group in (
            (client.apply, spaces),
            (define, crds),
            (apply, [each for each in given if id(each) not in first]),
        ):
            done += _each(pool, step, group, len(given))
    return done


def _each(pool: ThreadPoolExecutor, step: Callable[[Obj], Obj], group: list[Obj], total: int) -> list[Obj]:
    errors: list[PlimsollError] = []
    done: list[Obj] = []
    for future in [pool.submit(step, obj) for obj in group]:
        try:
            done.append(future.result())
        except PlimsollError as error:
            errors.append(error)
    if errors:
        raise NotApplied(errors, total)
    return done


def _is(obj: Obj, api_version: str, kind: str) -> bool:
    return text(obj, "apiVersion") == api_version and text(obj, "kind") == kind


def _established(crd: Obj | None) -> bool:
    return crd is not None and condition(crd, "Established").get("status") == "True"
