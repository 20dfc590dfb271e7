"""GPUs under one name, whichever generation of dcgm-exporter measures them.

Version 4.9 renamed 23 fields and changed the unit of eleven: MHz to Hz, mJ to J, percent to a ratio, MiB to bytes. A
query on a name that is gone does not fail, it is empty. Everything here is in base units and has one series for each
device: a GPU, or a MIG instance (`GPU_I_ID`; its UUID is the whole GPU's). Source: dcgm-exporter default-counters.csv
and release notes, DCGM dcgm_fields.h.
"""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Group, Record
from plimsoll.pillars.observability.pack.promql import DEVICE, UNIT, either, held, on_node, per_device

_DEV, _PROF, _MIB = "DCGM_FI_DEV_", "DCGM_FI_PROF_", 1048576
_CARD = "node, UUID, gpu, modelName"
_ERRORS = "DCGM_FI_DEV_XID_ERRORS > 0 or DCGM_FI_DEV_XID_ERROR > 0"


def _device(name: str, *exprs: str, labels: str = DEVICE) -> Record:
    return Record(record=f"plimsoll:{name}", expr=per_device(either(*exprs), labels))


# Until DCGM 4.6 the new name is an alias of the old field and counts to 100.
_UTIL = either(f"{_DEV}GPU_UTIL / 100", f"({_DEV}GPU_UTIL_RATIO <= 1)", f"{_DEV}GPU_UTIL_RATIO / 100")
_PARTS = " + ".join(
    f"max by ({DEVICE}) ({on_node(either(f'{_DEV}FB_{part} * {_MIB}', f'{_DEV}FB_{part}_BYTES'))})"
    for part in ("USED", "FREE", "RESERVED")
)
_ANY = " or ".join(f"{_DEV}{name}" for name in ("FB_USED", "FB_USED_BYTES", "GPU_TEMP", "GPU_TEMP_CELSIUS", "GPU_UTIL"))

DEVICES = Group(
    name="plimsoll-devices",
    rules=(
        Record(record="plimsoll:gpu:info", expr=f"group by ({DEVICE}) ({on_node(f'({_ANY})')})"),
        _device("gpu_util_nvml:ratio", _UTIL),
        Record(
            record="plimsoll:gpu_busy:ratio",  # a MIG instance has only the engine's use, a virtual GPU only NVML's
            expr=per_device(either(f"{_PROF}GR_ENGINE_ACTIVE", f"{_PROF}GR_ENGINE_UTIL_RATIO"))
            + f" or max by ({DEVICE}) (plimsoll:gpu_util_nvml:ratio)",
        ),
        _device("gpu_sm_active:ratio", f"{_PROF}SM_ACTIVE", f"{_PROF}SM_UTIL_RATIO"),
        _device("gpu_tensor_active:ratio", f"{_PROF}PIPE_TENSOR_ACTIVE", f"{_PROF}TENSOR_UTIL_RATIO"),
        _device("gpu_dram_active:ratio", f"{_PROF}DRAM_ACTIVE", f"{_PROF}DRAM_UTIL_RATIO"),
        _device("gpu_memory_used:bytes", f"{_DEV}FB_USED * {_MIB}", f"{_DEV}FB_USED_BYTES"),
        Record(record="plimsoll:gpu_memory:bytes", expr=f"{per_device(f'{_DEV}FB_CAPACITY_BYTES')} or ({_PARTS})"),
        Record(
            record="plimsoll:gpu_memory_used:ratio",
            expr="plimsoll:gpu_memory_used:bytes / (plimsoll:gpu_memory:bytes > 0)",
        ),
        _device("gpu_temperature:celsius", f"{_DEV}GPU_TEMP", f"{_DEV}GPU_TEMP_CELSIUS", labels=_CARD),
        _device(
            "gpu_memory_temperature:celsius",
            f"({_DEV}MEMORY_TEMP > 0)",  # cards without stacked memory say 0
            f"({_DEV}MEMORY_TEMP_CELSIUS > 0)",
            labels=_CARD,
        ),
        _device("gpu_power:watts", f"{_DEV}POWER_USAGE", f"{_DEV}BOARD_POWER_WATTS", labels=_CARD),
        _device(
            "gpu_energy:joules_total",
            f"{_DEV}TOTAL_ENERGY_CONSUMPTION / 1000",
            f"{_DEV}GPU_ENERGY_JOULES_TOTAL",
            labels=_CARD,
        ),
        _device("gpu_sm_clock:hertz", f"{_DEV}SM_CLOCK * 1e6", f"{_DEV}SM_CLOCK_HERTZ", labels=_CARD),
        Record(
            # err_code is a label, so another error is another series, and old exporters lack it: take it from the value
            record="plimsoll:gpu_xid:info",
            expr=f'clamp_max(count_values by (node, UUID) ("xid", {on_node(f"({_ERRORS})")}), 1)',
        ),
        Record(
            # An exporter shows the last error for as long as it runs: what was there when measuring began may be old.
            record="plimsoll:gpu_xid_new:info",
            expr="plimsoll:gpu_xid:info unless on (node, UUID, xid) plimsoll:gpu_xid:info offset 5m "
            "and on (node, UUID) group by (node, UUID) (plimsoll:gpu:info offset 5m)",
        ),
        Record(
            record="plimsoll:gpu_holder:info",
            expr="group by (node, UUID, GPU_I_ID, namespace, pod, container) ("
            + on_node("(" + " or ".join(held(f"{_DEV}{name}") for name in ("FB_USED", "FB_USED_BYTES")) + ")")
            + ")",
        ),
        Record(record="plimsoll:gpu_holders:count", expr=f"count by ({UNIT}) (plimsoll:gpu_holder:info)"),
    ),
)
