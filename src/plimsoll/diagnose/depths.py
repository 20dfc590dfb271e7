"""How deep a cause sits. What is deeper explains what is less deep on the same subject, like a check's layer."""

from __future__ import annotations

from typing import Final

ABSENT: Final = 5  # nothing runs: no use to ask how well
HEAT: Final = 8  # why a GPU is slow
HARDWARE: Final = 10  # a GPU that is slow by itself
PLACEMENT: Final = 20  # where the pods of a job run
LIFE: Final = 40  # time before and between the work: starts, restarts
HOST: Final = 50  # too few cores, then what follows from that
FEED: Final = 60  # data, one thread, network
REPLICAS: Final = 65  # more servers than requests need
SERVING: Final = 70  # batches
SIZE: Final = 80  # a device too large or too small for what runs on it
SUM: Final = 90  # a team as a whole: the sum of what stands above
