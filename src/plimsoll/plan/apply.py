"""Carrying out a plan: wave after wave, stopping at the first refusal, and going on where it stopped.

Nothing is kept in memory that the next run needs: every object is marked as ours in the very request that creates it,
a node that is emptied says so itself, Helm records its releases. So a run may be killed anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import groupby
from pathlib import Path

import msgspec

from plimsoll.errors import ClusterError, PlimsollError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import MANAGER, Obj, Ref, mapping
from plimsoll.plan import drain, lease, ready, record, rollout
from plimsoll.plan.charts import Charts
from plimsoll.plan.make import order
from plimsoll.plan.model import HOME, MANAGED_BY, PLATFORM, thing
from plimsoll.plan.order import OPERATORS, RESOURCES, WAVES, rank
from plimsoll.plan.patience import patiently
from plimsoll.plan.result import EVICTED, Action, Item, Plan
from plimsoll.spec.model import Platform

_WORKERS = 8
_SHOWN = 5
_CRDS = "apiextensions.k8s.io/v1"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an apply may do beside creating and changing.

    force_conflicts: take fields from other managers. prune: delete what is ours and no longer declared.
    replace: delete and create anew what cannot be changed. drain: evict GPU pods where a partition changes.
    wait: until controllers say that it works. timeout: seconds for each thing that is waited for.
    """

    force_conflicts: bool = False
    prune: bool = False
    replace: bool = False
    drain: bool = False
    wait: bool = True
    timeout: float = 600.0


class Event(msgspec.Struct, frozen=True):
    """Something that was done, or is waited for (`item` is None). done, total: changes."""

    wave: str
    item: Item | None
    said: str
    done: int
    total: int


Tell = Callable[[Event], None]


class Stopped(ClusterError):  # noqa: N818 - the noun that callers catch
    """An apply that ended before its end. `done` is carried out, `left` is not."""

    def __init__(self, error: PlimsollError, done: tuple[Item, ...], left: tuple[Item, ...]) -> None:
        count = f"{len(done)} of {len(done) + len(left)} changes are carried out and stay"
        hint = f"{error.hint}; " if error.hint else ""
        super().__init__(f"{error.what}\n{count}", where=error.where, hint=f"{hint}then run apply again: it goes on")
        self.done, self.left = done, left


def refusal(plan: Plan, options: Options) -> ClusterError | None:
    """Why a plan is not carried out as it stands; None if nothing forbids it. Asked before anything moves."""
    if blocked := [each for each in plan.items if each.action is Action.BLOCKED]:
        first = blocked[0]
        more = f" (and {len(blocked) - 1} more; `plimsoll plan` lists them)" if len(blocked) > 1 else ""
        return ClusterError(f"{first.why}{more}", where=str(first.ref), hint=first.hint)
    if unread := [each for each in plan.items if each.action is Action.UNKNOWN]:
        return ClusterError(
            f"what is there cannot be read: {unread[0].why}", where=str(unread[0].ref), hint=unread[0].hint
        )
    taken = [(each, owner) for each in plan.items for owner in each.owners]
    if taken and not options.force_conflicts:
        said = "; ".join(f"{owner.path} of {each.ref} is {owner.manager}'s" for each, owner in taken[:_SHOWN])
        more = f"; and {len(taken) - _SHOWN} more" if len(taken) > _SHOWN else ""
        hint = "leave the field to its manager, or take it with --force-conflicts"
        return ClusterError(f"fields that we want are others': {said}{more}", where=plan.against, hint=hint)
    if not options.drain and (held := _held(plan)) is not None:
        return held
    if (fixed := [each for each in plan.items if each.action is Action.REPLACE]) and not options.replace:
        hint = "--replace deletes it and creates it anew, with what it holds"
        return ClusterError(fixed[0].why, where=str(fixed[0].ref), hint=hint)
    return None


def _held(plan: Plan) -> ClusterError | None:
    """Why no node is given other partitions now: pods hold GPUs of it. Asked again before each node is changed."""
    for item in plan.items:
        pods = [each for each in plan.impact.struck if each.how == EVICTED and each.node == item.ref.name]
        if item.ref.kind == "Node" and item.disruptive and item.action is Action.CHANGE and pods:
            return drain.refused(item.ref.name, [each.pod for each in pods])
    return None


def _named_by_nodes(item: Item) -> bool:
    """Whether a change takes away configurations that labels of nodes still name, until the nodes have theirs."""
    gone = any(each.path.startswith("data") and each.after is None for each in item.fields)
    return gone and item.action is Action.CHANGE and (item.ref.kind, item.pillar) == ("ConfigMap", "partition")


class _Run:
    """One apply."""

    def __init__(
        self,
        client: Client,
        plan: Plan,
        options: Options,
        charts: Charts,
        kubeconfig: Path,
        tell: Tell,
        lost: threading.Event,
    ) -> None:
        self._client, self._options, self._kubeconfig = client, options, kubeconfig
        self._charts, self._tell = charts, tell
        asked = (Action.CREATE, Action.CHANGE, Action.REPLACE, *((Action.PRUNE,) if options.prune else ()))
        self._plan = plan
        self._lost = lost
        self._work = [each for each in sorted(plan.items, key=order) if each.action in asked]
        self._done: list[Item] = []

    def run(self, kept: list[Obj]) -> tuple[Item, ...]:
        """All of it; `kept` is applied last, when everything else is."""
        gone = [each for each in self._work if each.action is Action.PRUNE]
        try:
            going = {each.ref for each in gone}
            for ref in (each.ref for each in gone if each.ref.kind == "Namespace"):
                rollout.refuse_used(self._client, ref.name, going)
            for number, wave in enumerate(WAVES):
                here = [each for each in self._work if each.wave == number and each.action is not Action.PRUNE]
                self._wave(wave, here)
                if number == OPERATORS:
                    self._deployed(wave)
                if number == RESOURCES:
                    self._taken_away()
            self._reopened()
            if self._options.wait:
                self._wait(WAVES[-1], self._working())
            self._prune(gone)
            for obj in kept:
                patiently(partial(self._client.apply, obj, manager=MANAGER, strict=True))
        except PlimsollError as error:
            carried = {id(each) for each in self._done}
            left = tuple(each for each in self._work if id(each) not in carried)
            raise Stopped(error, tuple(self._done), left) from error
        return tuple(self._done)

    def _wave(self, wave: str, here: list[Item]) -> None:
        """Ranks one after another, the items of one at once; charts and nodes one by one."""
        for _, same in groupby(here, key=lambda each: rank(each.ref)):
            group = list(same)
            alone = [each for each in group if each.chart is not None or each.ref.kind == "Node"]
            with ThreadPoolExecutor(_WORKERS) as pool:
                work = {pool.submit(self._object, each): each for each in group if each not in alone}
                self._collect(work, wave)
            for item in alone:
                self._alone()
                if item.chart is not None:
                    self._say(wave, f"{item.ref}: installing {item.chart.chart} {item.chart.version}")
                    rollout.release(self._client, item.chart, self._charts.find(item.chart), self._kubeconfig)
                else:
                    options = self._options
                    said = partial(self._say, wave)
                    drain.relabel(self._client, item, drain=options.drain, timeout=options.timeout, tell=said)
                self._did(wave, item)

    def _collect(self, work: dict[Future[None], Item], wave: str) -> None:
        """Every result; at the first failure what has not begun is left, and what has is waited for."""
        open_ = set(work)
        failed: PlimsollError | None = None
        while open_:
            ended, open_ = wait(open_, timeout=0.2, return_when=FIRST_EXCEPTION)
            for future in ended:
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    self._did(wave, work[future])
                elif not isinstance(error, PlimsollError):
                    raise error
                else:
                    failed = failed or error
            if failed:
                for future in open_:
                    future.cancel()
        if failed:
            raise failed

    def _object(self, item: Item) -> None:
        self._alone()
        obj = item.obj or {}
        if item.action is Action.REPLACE:
            rollout.replace(self._client, item.ref, timeout=self._options.timeout)
        if _named_by_nodes(item):
            live = patiently(partial(self._client.get, "v1/ConfigMap", item.ref.name, item.ref.namespace))
            obj = obj | {"data": mapping(live, "data") | mapping(obj, "data")}
        self._applied(obj)

    def _applied(self, obj: Obj) -> None:
        force = self._options.force_conflicts
        patiently(partial(self._client.apply, obj, manager=MANAGER, force=force, strict=True))

    def _taken_away(self) -> None:
        """Configurations that nodes named until now; where an apply ends before this, the next one does it."""
        for item in filter(_named_by_nodes, self._work):
            self._alone()
            self._applied(item.obj or {})

    def _deployed(self, wave: str) -> None:
        """What the next wave needs: webhooks and controllers of every chart answer."""
        refs = []
        for item in self._plan.items:
            if item.chart is not None and not item.foreign:
                refs += [Ref(_CRDS, "CustomResourceDefinition", "", each) for each in item.chart.crds]
                refs += [Ref("apps/v1", "Deployment", item.ref.namespace, each) for each in item.chart.deployments]
        self._wait(wave, refs)

    def _reopened(self) -> None:
        """Nodes that an earlier run closed and could not open again."""
        for node in patiently(partial(drain.left_closed, self._client)):
            drain.reopen(self._client, node, timeout=self._options.timeout, tell=partial(self._say, WAVES[3]))

    def _working(self) -> list[Ref]:
        """All that says of itself whether it works."""
        found = [each.ref for each in self._plan.items if each.action is not Action.PRUNE]
        ours = [each.chart for each in self._plan.items if each.chart is not None and not each.foreign]
        return found + [ref for chart in ours for ref in chart.resources]

    def _alone(self) -> None:
        if self._lost.is_set():
            hint = "wait until it ends"
            raise ClusterError(
                "another apply has taken over: ours was not heard of", where=self._plan.against, hint=hint
            )

    def _prune(self, gone: list[Item]) -> None:
        """Delete, and wait until finalizers have let go: the next apply must not meet what is on its way out."""
        for item in gone:
            self._alone()
            ref = item.ref
            if ref.kind == "Namespace":
                rollout.refuse_full(self._client, ref.name)
            patiently(partial(self._client.delete, f"{ref.api_version}/{ref.kind}", ref.name, ref.namespace))
            self._did("no longer declared", item)
        for ref in (each.ref for each in gone if self._options.wait):
            self._say("no longer declared", f"{ref} goes")
            rollout.gone(self._client, ref, timeout=self._options.timeout)

    def _wait(self, wave: str, refs: Iterable[Ref]) -> None:
        ready.wait(self._client, refs, timeout=self._options.timeout, tell=partial(self._say, wave))

    def _say(self, wave: str, said: str) -> None:
        self._tell(Event(wave, None, said, len(self._done), len(self._work)))

    def _did(self, wave: str, item: Item) -> None:
        self._done.append(item)
        self._tell(Event(wave, item, str(item.action), len(self._done), len(self._work)))


def apply(
    client: Client,
    platform: Platform,
    plan: Plan,
    charts: Charts,
    kubeconfig: Path,
    options: Options | None = None,
    tell: Tell = lambda _event: None,
) -> tuple[Item, ...]:
    """Carry a plan out; what was done. Raises ClusterError where the plan may not be, Stopped where it ended early."""
    options = options or Options()
    if (error := refusal(plan, options)) is not None:
        raise error
    home = thing("v1", "Namespace", HOME, labels={MANAGED_BY: MANAGER, PLATFORM: platform.metadata.name})
    if patiently(partial(client.get, "v1/Namespace", HOME)) is None:
        patiently(partial(client.apply, home, manager=MANAGER))
    releases = tuple(each.chart for each in plan.items if each.chart is not None)
    with lease.held(client, platform.metadata.name) as lost:
        run = _Run(client, plan, options, charts, kubeconfig, tell, lost)
        there = patiently(partial(client.get, "v1/ConfigMap", record.name(platform.metadata.name), record.NAMESPACE))
        return run.run(record.objects(platform, releases, record.read(there or {}).charts))
