"""What ails the GPUs of a node, as far as its exporter can see: the annotation `lab.plimsoll.dev/gpu-telemetry`.

Its form is `3:xid=79 5:hot,ecc=2`: index, colon, words. What is not of this form is passed over.
"""

from __future__ import annotations

import re

import msgspec

from plimsoll.kube.objects import Obj
from plimsoll.lab.telemetry.annotations import FAULTS, stated

_ENTRY = re.compile(r"(\d{1,3}):(\S+)")
_COUNTED = re.compile(r"(xid|ecc)=(\d{1,9})")


class Fault(msgspec.Struct, frozen=True):
    """What ails one GPU.

    xid: code of the last Xid error, 0 for none. ecc: double-bit errors since the driver was loaded.
    lost: it has fallen off the bus, so that nothing of it is reported.
    """

    xid: int = 0
    ecc: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    hot: bool = False
    capped: bool = False
    lost: bool = False


_FLAGS = {"remap-pending": "remap_pending", "remap-failed": "remap_failed", "hot": "hot", "capped": "capped",
          "lost": "lost"}  # fmt: skip
NONE = Fault()
msgspec.json.Decoder(Fault)  # described here, once: see plimsoll.spec.load


def faults(node: Obj) -> dict[int, Fault]:
    """Faults by index of the GPU; GPUs without any are not in it."""
    found: dict[int, Fault] = {}
    for index, words in _ENTRY.findall(stated(node, FAULTS)):
        said: dict[str, int | bool] = {}
        for word in words.split(","):
            if counted := _COUNTED.fullmatch(word):
                said[counted[1]] = int(counted[2])
            elif word in _FLAGS:
                said[_FLAGS[word]] = True
        if said:
            found[int(index)] = msgspec.convert(said, Fault)
    return found


_XIDS = {
    13: "graphics engine exception",
    31: "GPU memory page fault",
    43: "GPU stopped processing",
    45: "preemptive cleanup after earlier errors",
    48: "double bit ECC error",
    63: "row remapping recorded",
    64: "row remapping failed",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    94: "contained ECC error",
    95: "uncontained ECC error",
    109: "context switch timeout",
    119: "GSP RPC timeout",
    120: "GSP error",
    140: "unrecovered ECC error",
    143: "GPU initialization failed",
    158: "GPU fatal timeout",
}


def xid_words(code: int) -> str:
    """What an Xid code means, for the label `err_msg`."""
    return _XIDS.get(code, "Unknown Error")
