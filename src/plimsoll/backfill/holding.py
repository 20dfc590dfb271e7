"""Who held what in a piece of the past: what exporters named, what the ledger knows, the rest by elimination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from plimsoll.agents.meter.claims import GPU
from plimsoll.backfill import seats
from plimsoll.backfill.devices import Device, Name
from plimsoll.backfill.piece import Piece
from plimsoll.backfill.seats import Seat, Want
from plimsoll.backfill.state import Life
from plimsoll.cost.sample import WHOLE, Gpu, Hold, Instance, Node, Record, parts_or_named
from plimsoll.gpus import mig

# When exporters named pods of these names, sample by sample.
Links = Callable[[set[Name]], Mapping[tuple[Device, Name], Sequence[int]]]


class Holding:
    """After `Piece.make`. lives: of pods in it. seats: by uid of the node, and device."""

    def __init__(self, piece: Piece, links: Links) -> None:
        self.piece = piece
        self.seats: dict[tuple[str, Device], list[Seat]] = defaultdict(list)
        self.lives: list[Life] = []
        self.records: list[Record] = []
        self._links = links

    def make(self) -> list[Record]:
        state = self.piece.state
        lives = self.lives = [life for life in state.pods.values() if life.until > self.piece.began]
        ledger = self.piece.book.seats(life.uid for life in lives if life.seats is None)
        named = self._named(lives)
        by_node: dict[str, list[Life]] = defaultdict(list)
        for life in lives:
            by_node[life.node].append(life)
        for nodes in self.piece.nodes.values():
            for node in nodes:
                self._node(node, by_node[node.uid], ledger, named)
        for uid in [uid for uid, life in state.pods.items() if life.ended and life.ended <= self.piece.ended]:
            del state.pods[uid]
        return self.records

    def _node(self, node: Node, lives: Sequence[Life], ledger: Mapping[str, list[tuple[Device, int]]],
              named: Mapping[str, list[Device]]) -> None:  # fmt: skip
        units = self._units(node)
        taken = []
        for life in lives:
            if life.seats is None and life.uid in ledger:
                life.seats = [(device, units.get(device, GPU), weight, True) for device, weight in ledger[life.uid]]
            for device, of, weight, sure in life.seats or ():
                taken.append(Seat(life.uid, device, of, weight, life.began, life.until, sure))
        offers = self.piece.offers.get(node.uid, {})
        table = seats.Node(units, node.gpus, offers, lambda of: parts_or_named(node.sku, of))
        by_uid = {life.uid: life for life in lives if life.seats is None}
        wants = [Want(life.uid, life.began, life.until, life.wants, tuple(named.get(life.uid, ())))
                 for life in by_uid.values()]  # fmt: skip
        for seat in seats.seat(table, wants, taken):
            life = by_uid[seat.uid]
            life.seats = [*(life.seats or ()), (seat.device, seat.unit, seat.weight, seat.sure)]
            self._hold(node, seat)
            taken.append(seat)
        for seat in taken:
            self.seats[node.uid, seat.device].append(seat)

    def _units(self, node: Node) -> dict[Device, str]:
        """What each device of a node serves. A GPU that is seen only later is there already."""
        piece = self.piece
        units = {each.device: mig.canonical(each.profile) if each.device.instance else GPU
                 for each in piece.seen if piece.node_of(each.node, each.last) == node}  # fmt: skip
        cut = {device.gpu for device in units if device.instance}
        whole = {Device(gpu): GPU for gpu, _ in piece.roster.get(node.name, []) if gpu not in cut}
        return {device: of for device, of in units.items() if device.instance or device.gpu not in cut} | whole

    def _hold(self, node: Node, seat: Seat) -> None:
        gpu, instance = seat.device
        share = WHOLE if not instance else parts_or_named(node.sku, seat.unit)
        state = self.piece.state
        self.piece.summary.counts["holds named" if seat.sure else "holds by elimination"] += 1
        if (node.uid, gpu) not in state.gpus:
            state.gpus.add((node.uid, gpu))
            self.records.append(Gpu(node=node.uid, gpu=gpu, began=seat.began))
        known = {each[:3] for each in state.instances} if instance else set()
        if instance and (node.uid, gpu, instance) not in known:
            state.instances.add((node.uid, gpu, instance, seat.unit))
            self.records.append(Instance(node=node.uid, gpu=gpu, instance=instance, profile=seat.unit, parts=share,
                                         began=seat.began))  # fmt: skip
        self.records.append(Hold(pod=seat.uid, node=node.uid, gpu=gpu, instance=instance, parts=share,
                                 weight=seat.weight, began=seat.began))  # fmt: skip

    def _named(self, lives: Iterable[Life]) -> dict[str, list[Device]]:
        """The devices that exporters saw pods on. Where several pods had one name, sample by sample."""
        pods: dict[Name, list[Life]] = defaultdict(list)
        for life in lives:
            if life.seats is None:
                pods[life.name].append(life)
        found: dict[str, list[Device]] = defaultdict(list)
        several = {name for name, every in pods.items() if len(every) > 1}
        exactly = self._links(several) if several else {}
        for each in self.piece.seen:
            for name, (first, last) in each.links.items():
                for life in pods.get(name, ()):
                    if name in several:
                        met = any(life.began <= moment <= life.until for moment in exactly.get((each.device, name), ()))
                    else:
                        met = first <= life.until and last >= life.began
                    if met and each.device not in found[life.uid]:
                        found[life.uid].append(each.device)
        return found
