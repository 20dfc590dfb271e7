"""How much power a GPU draws and how fast it runs: round numbers that make a fake card look like one of its model.

For the look of curves only: no check or price may be built on them.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from plimsoll.gpus.catalogue import model_of

IDLE = 0.1  # share of its power limit that an idle card draws
BUSIEST = 0.95  # share of its power limit at full use


class Card(msgspec.Struct, frozen=True):
    """watts: power limit. hbm: stacked memory, with a thermometer of its own. nvlink: it has links to other GPUs."""

    watts: int = 300
    sm_mhz: int = 1800
    memory_mhz: int = 1593
    memory_idle_mhz: int = 1593
    hbm: bool = False
    nvlink: bool = False


_CARDS = tuple(
    (re.compile(pattern, re.IGNORECASE), card)
    for pattern, card in (
        (r"GB[23]00", Card(1200, 2062, 3996, 3996, hbm=True, nvlink=True)),
        (r"B[23]00", Card(1000, 1965, 3996, 3996, hbm=True, nvlink=True)),
        (r"GH200|H200", Card(700, 1980, 3201, 3201, hbm=True, nvlink=True)),
        (r"H[18]00.*PCIE", Card(350, 1755, 1593, 1593, hbm=True)),
        (r"H[18]00.*NVL", Card(400, 1785, 2619, 2619, hbm=True, nvlink=True)),
        (r"H[18]00|H20\b", Card(700, 1980, 2619, 2619, hbm=True, nvlink=True)),
        (r"A[18]00.*PCIE", Card(300, 1410, 1512, 1512, hbm=True)),
        (r"A[18]00.*40GB", Card(400, 1410, 1215, 1215, hbm=True, nvlink=True)),
        (r"A[18]00", Card(400, 1410, 1593, 1593, hbm=True, nvlink=True)),
        (r"A30", Card(165, 1440, 1215, 1215, hbm=True)),
        (r"V100", Card(300, 1530, 877, 877, hbm=True, nvlink=True)),
        (r"L40", Card(350, 2520, 9001, 405)),
        (r"L4", Card(72, 2040, 6251, 405)),
        (r"A10", Card(150, 1695, 6251, 405)),
        (r"T4", Card(70, 1590, 5001, 405)),
        (r"RTX-PRO", Card(600, 2617, 14001, 405)),
    )
)
_UNKNOWN = Card()


@lru_cache(maxsize=256)
def card(product: str) -> Card:
    """The card behind a `nvidia.com/gpu.product` label or a model name; a middling one where we know none."""
    model = model_of(product.replace(" ", "-"))
    return next((each for pattern, each in _CARDS if pattern.match(model)), _UNKNOWN)
