"""What a month's report asks the ledger, in both kinds of it."""

from __future__ import annotations

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import HOUR, Node, Running, Watch
from plimsoll.cost.saved import saved
from plimsoll.cost.waits import waits
from plimsoll.cost.window import Window
from tests.unit.cost import months
from tests.unit.cost.test_shares import END, node, pod
from tests.unit.cost.truth import SKU, START

TEN = Window(START, END)


def test_waits_by_team(ledger: Ledger) -> None:
    ledger.write(node("gold", 8))
    for place in range(5):
        name = f"red-{place}"
        ledger.write(pod(name, 1, 2, f"g{place}", team="red", created=START + HOUR - (place + 1) * 60_000))
        ledger.write([Running(pod=name, moment=START + HOUR + place * 1000)])
    ledger.write([*pod("blue", 3, 4, "g6"), *pod("later", 12, None, "g7", team="red")])
    red, blue = waits(ledger, TEN)
    assert (red.team, red.pods, blue.team, blue.pods) == ("red", 5, "blue", 1)
    assert red.queued == (180_000, 288_000)  # three minutes; between four and five
    assert red.starting == (2000, 3800)
    assert (blue.queued, blue.starting) == (None, None)


def spot(ledger: Ledger, **more: object) -> None:
    own = {"uid": "s", "name": "s", "pool": "spot", "sku": SKU, "capacity": "spot", "gpus": 8, "began": START}
    ledger.write([Node(**{**own, **more}), Watch(meter="m", began=START, ended=END)])  # type: ignore[arg-type]


def test_spot_beside_the_price_book(ledger: Ledger) -> None:
    spot(ledger, provider="aws", region="us-east-1", instance_type="p5.48xlarge")
    found = saved(ledger, Tariff({"spot": (16_000_000, "seen")}), TEN)
    assert (found.paid, found.compared, found.on_demand) == (160_000_000, 160_000_000, 550_400_000)
    assert found.saved == 390_400_000
    assert "price book" in found.sources[0]


def test_spot_beside_a_declared_pool_of_such_nodes(ledger: Ledger) -> None:
    spot(ledger)
    platform = months.platform()
    tariff = Tariff({"spot": (16_000_000, "seen"), "h100": (40_000_000, "contract")})
    found = saved(ledger, tariff, TEN, platform)
    assert (found.on_demand, found.sources) == (400_000_000, ("contract",))


def test_spot_that_nothing_can_be_compared_with(ledger: Ledger) -> None:
    spot(ledger)
    found = saved(ledger, Tariff({"spot": (16_000_000, "seen")}), TEN)
    assert (found.paid, found.compared, found.saved, found.unknown) == (160_000_000, 0, 0, ("s",))


def test_nodes_on_demand_are_no_spot(ledger: Ledger) -> None:
    ledger.write(node())
    assert saved(ledger, Tariff({"single": (1, "x")}), TEN).paid == 0
