"""The hands of a fault: of whoever holds kubectl, of the machine, of the lab itself. Everything is journalled."""

from __future__ import annotations

import copy
from collections.abc import Callable

import msgspec

from plimsoll.errors import ClusterError, LabError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, mapping, name, namespace, owner, text
from plimsoll.lab.faults.journal import Book, Change, Given, Journal
from plimsoll.lab.hardware import conditions
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.run import control
from plimsoll.lab.run.settings import Folder

_SERVER_SIDE = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink")
_TRIES = 5


class Hands:
    """Changes for one fault. node: the node it is given to, "" where it takes none."""

    def __init__(self, folder: Folder, client: Client, fault: str, node: str = "") -> None:
        self.client = client
        self.fault = fault
        self.node = node
        self._folder = folder
        self._journal = Journal(folder.faults)
        book = self._journal.read()
        book.given = [*(each for each in book.given if each.fault != fault), Given(fault=fault, node=node)]
        self._journal.write(book)

    def get(self, kind: str, named: str, space: str = "") -> Obj:
        """An object that must be there. Raises LabError where it is not: this lab is of another kind."""
        found = self.client.get(kind, named, space)
        if found is None:
            place = f"{space}/{named}" if space else named
            what = f"{self.fault} needs {kind.rpartition('/')[2]} {place}"
            raise LabError(what, where="lab", hint="docs/guides/lab.md says what lab it is for")
        return found

    def change(self, kind: str, named: str, how: Obj | Callable[[Obj], None], space: str = "") -> Obj:
        """Change an object as `kubectl edit` would: a merge patch, or a function that changes a copy in place."""
        before = self.get(kind, named, space)
        self._note(kind, named, space, before)
        if not callable(how):
            return self.client.patch(kind, named, how, space)
        for left in reversed(range(_TRIES)):
            after = copy.deepcopy(before)
            how(after)
            try:
                return self.client.replace(after)
            except ClusterError:  # somebody else wrote meanwhile
                if not left:
                    raise
                before = self.get(kind, named, space)
        raise AssertionError

    def status(self, kind: str, named: str, patch: Obj, space: str = "") -> Obj:
        """Merge-patch the status, as a kubelet or a controller would."""
        self._note(kind, named, space, self.get(kind, named, space))
        return self.client.patch(kind, named, {"status": patch}, space, subresource="status")

    def create(self, obj: Obj) -> Obj:
        """Create an object, or replace one of that name."""
        kind = f"{text(obj, 'apiVersion')}/{text(obj, 'kind')}"
        self._note(kind, name(obj), namespace(obj), self.client.get(kind, name(obj), namespace(obj)))
        return self.client.apply(obj)

    def remove(self, kind: str, named: str, space: str = "") -> None:
        """Delete an object; healing creates it again."""
        self._note(kind, named, space, self.get(kind, named, space))
        self.client.delete(kind, named, space)

    def end_pod(self, named: str, space: str) -> None:
        """Delete a pod for its owner to replace: nothing to undo."""
        self.client.delete("v1/Pod", named, space, grace=0)

    def end_later(self, pod: Obj) -> None:
        """Have a pod end when the fault is healed: what it has begun is begun anew by the one its owner makes."""
        self._note("v1/Pod", name(pod), namespace(pod), pod)

    def condition(self, condition: Condition) -> None:
        """Break the hardware, or what runs on the node."""
        now = conditions.read(self._folder.hardware)
        conditions.write(self._folder.hardware, (*now, condition))

    def stop(self, program: str) -> None:
        """Stop a program of the lab until the fault is healed."""
        self._remember(lambda given: msgspec.structs.replace(given, stopped=(*given.stopped, program)))
        control.ask(self._folder, "stop", program)

    def aside(self, program: str) -> None:
        """Have a program down while the fault is healed, so that it forgets what it had begun."""
        self._remember(lambda given: msgspec.structs.replace(given, aside=(*given.aside, program)))

    def restart(self, program: str) -> None:
        """Restart a program of the lab."""
        control.ask(self._folder, "restart", program)

    def pods(self, space: str, labels: str) -> list[Obj]:
        """Pods by label selector, on this fault's node where it has one."""
        fields = f"spec.nodeName={self.node}" if self.node else ""
        return self.client.list("v1/Pod", space, labels=labels, fields=fields)

    def _remember(self, how: Callable[[Given], Given]) -> None:
        book = self._journal.read()
        book.given = [how(each) if each.fault == self.fault else each for each in book.given]
        self._journal.write(book)

    def _note(self, kind: str, named: str, space: str, before: Obj | None) -> None:
        """Write down how it was, once: what the same fault changes again was ours already."""
        book = self._journal.read()
        known = {(each.fault, each.kind, each.name, each.namespace) for each in book.changes}
        if (self.fault, kind, named, space) not in known:
            book.changes.append(Change(fault=self.fault, kind=kind, name=named, namespace=space, before=before))
            self._journal.write(book)


def heal(folder: Folder, client: Client, fault: str = "") -> list[str]:
    """Undo one fault, or all; the names of those undone. Goes on where it was stopped."""
    with Journal(folder.faults).alone():
        return undo(folder, client, fault)


def undo(folder: Folder, client: Client, fault: str = "") -> list[str]:
    """The same for who has the journal alone already."""
    journal = Journal(folder.faults)
    chosen = [each for each in journal.read().given if fault in ("", each.fault)]
    for given in reversed(chosen):
        _heal(folder, client, journal, given)
    return [each.fault for each in chosen]


def _heal(folder: Folder, client: Client, journal: Journal, given: Given) -> None:
    now = conditions.read(folder.hardware)
    conditions.write(folder.hardware, tuple(each for each in now if each.id != given.fault))
    for program in given.stopped:
        control.ask(folder, "start", program)
    for program in given.aside:
        control.ask(folder, "stop", program)
    book = journal.read()
    for change in reversed([each for each in book.changes if each.fault == given.fault]):
        _restore(client, change)
        book.changes.remove(change)
        journal.write(book)
    for program in given.aside:
        control.ask(folder, "start", program)
    journal.write(Book(given=[each for each in book.given if each.fault != given.fault], changes=book.changes))


def _restore(client: Client, change: Change) -> None:
    if change.before is None:
        client.delete(change.kind, change.name, change.namespace)
        if change.kind == "v1/Node":  # what was on a machine that is gone ends in a minute by itself
            for pod in client.list("v1/Pod", fields=f"spec.nodeName={change.name}"):
                client.delete("v1/Pod", name(pod), namespace(pod), grace=0)
        return
    if change.kind == "v1/Pod" and owner(change.before):
        client.delete(change.kind, change.name, change.namespace, grace=0)  # its owner makes a sound one
        return
    for left in reversed(range(_TRIES)):
        now = client.get(change.kind, change.name, change.namespace)
        wanted = copy.deepcopy(change.before)
        for field in _SERVER_SIDE:
            wanted["metadata"].pop(field, None)
        try:
            if now is None:
                client.create(wanted)
            else:
                wanted["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
                client.replace(wanted)
        except ClusterError:
            if not left:
                raise
        else:
            break
    if "status" in change.before and change.kind == "v1/Node":
        status = copy.deepcopy(change.before["status"])
        now = client.get(change.kind, change.name) or {}
        for side in ("capacity", "allocatable"):  # what came since goes
            status[side] = {**dict.fromkeys(mapping(now, "status", side)), **mapping(status, side)}
        client.patch(change.kind, change.name, {"status": status}, subresource="status")
