"""What the stores are taught."""

from __future__ import annotations

from random import Random

from plimsoll.cost.ledger import Ledger


def test_a_quotient_of_any_size_is_exact(ledger: Ledger) -> None:
    random = Random(1)
    pairs = [(0, 1), (2**120, 2**62), (2**53 + 1, 1), (3 * 10**30, 3), (3 * 10**30 - 1, 3), (10**38 - 1, 10**12)]
    for _ in range(3000):
        under = random.randrange(1, 2 ** random.randrange(1, 63))
        whole = random.randrange(2 ** random.randrange(1, 63))
        pairs += [(whole * under + rest, under) for rest in (0, under - 1, random.randrange(under))]
    lists = [[str(number) for number in column] for column in zip(*pairs, strict=True)]
    a, b = (f"CAST(UNNEST(CAST(? AS VARCHAR[])) AS HUGEINT) AS {name}" for name in "ab")
    found = ledger.store.rows(f"SELECT a, b, quotient(a, b) FROM (SELECT {a}, {b}) p", lists)
    assert len(found) == len(pairs)
    assert [(over, under) for over, under, got in found if got != over // under] == []
