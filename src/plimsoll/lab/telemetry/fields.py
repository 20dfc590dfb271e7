"""The fields of dcgm-exporter, with their names and units in both generations.

Version 4.9 renamed the fields and turned MHz, mJ, percent and MiB into base units; 4.8.3 wrote `hostname` for
`Hostname`. Source: dcgm-exporter default-counters.csv, DCGM dcgm_fields.h, recorded scrapes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Rows = Literal["all", "whole", "cut-or-whole", "not-cut"]


class Generation(msgspec.Struct, frozen=True):
    """How one range of exporter versions writes. renamed: the names and units of 4.9."""

    renamed: bool
    host: str
    driver: str


LEGACY = Generation(False, "Hostname", "DCGM_FI_DRIVER_VERSION")
LOWERED = Generation(False, "hostname", "DCGM_FI_DRIVER_VERSION")
CURRENT = Generation(True, "hostname", "DCGM_FI_SYSTEM_DRIVER_VERSION")


def generation_of(version: tuple[int, ...]) -> Generation:
    """How an exporter of this version writes."""
    return CURRENT if version >= (4, 9) else LOWERED if version >= (4, 8, 3) else LEGACY


class Field(msgspec.Struct, frozen=True):
    """One field.

    key: of the reading. new: "" where 4.9 kept the name. factor: of the old unit in the new one. decimals: of the old
    form, new_decimals: of the new. rows: which devices have it; `cut-or-whole` is all but a GPU with MIG on and no
    instance, `not-cut` all but instances. needs: what the card must have. only_new: 4.9 brought it.
    """

    key: str
    old: str
    kind: str
    help: str
    new: str = ""
    factor: float = 1.0
    decimals: int = 0
    new_decimals: int = 0
    rows: Rows = "all"
    needs: Literal["", "nvlink"] = ""
    only_new: bool = False

    def name(self, generation: Generation) -> str:
        return self.new if generation.renamed and self.new else self.old


_DEV, _PROF = "DCGM_FI_DEV_", "DCGM_FI_PROF_"
_MHZ, _PERCENT, _MIB = 1e6, 0.01, 1048576.0


def _field(key: str, old: str, kind: str, help_: str, new: str = "", factor: float = 1.0, **more: object) -> Field:
    return msgspec.convert(
        {"key": key, "old": _DEV + old, "kind": kind, "help": help_, "factor": factor}
        | ({"new": _DEV + new} if new else {})
        | more,
        Field,
    )


def _prof(key: str, old: str, help_: str, new: str = "", **more: object) -> Field:
    ratio = {"key": key, "old": _PROF + old, "kind": "gauge", "help": help_, "decimals": 6, "new_decimals": 6}
    return msgspec.convert(ratio | ({"new": _PROF + new} if new else {}) | more, Field)


FIELDS: tuple[Field, ...] = (
    _field("sm_clock", "SM_CLOCK", "gauge", "SM clock frequency (in MHz).", "SM_CLOCK_HERTZ", _MHZ),
    _field("memory_clock", "MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", "MEMORY_CLOCK_HERTZ", _MHZ),
    _field("memory_temp", "MEMORY_TEMP", "gauge", "Memory temperature (in C).", "MEMORY_TEMP_CELSIUS"),
    _field("gpu_temp", "GPU_TEMP", "gauge", "GPU temperature (in C).", "GPU_TEMP_CELSIUS"),
    _field("power", "POWER_USAGE", "gauge", "Power draw (in W).", "BOARD_POWER_WATTS", decimals=6, new_decimals=6),
    _field("energy", "TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).",
           "GPU_ENERGY_JOULES_TOTAL", 0.001, new_decimals=3),
    _field("pcie_replay", "PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", "PCIE_REPLAY_TOTAL"),
    _field("gpu_util", "GPU_UTIL", "gauge", "GPU utilization (in %).", "GPU_UTIL_RATIO", _PERCENT,
           new_decimals=6, rows="whole"),
    _field("copy_util", "MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", "MEMORY_UTIL_RATIO", _PERCENT,
           new_decimals=6, rows="whole"),
    _field("zero", "ENC_UTIL", "gauge", "Encoder utilization (in %).", "ENC_UTIL_RATIO", _PERCENT,
           new_decimals=6, rows="whole"),
    _field("zero", "DEC_UTIL", "gauge", "Decoder utilization (in %).", "DEC_UTIL_RATIO", _PERCENT,
           new_decimals=6, rows="whole"),
    _field("xid", "XID_ERRORS", "gauge", "Value of the last XID error encountered.", "XID_ERROR"),
    _field("fb_free", "FB_FREE", "gauge", "Framebuffer memory free (in MiB).", "FB_FREE_BYTES", _MIB,
           rows="cut-or-whole"),
    _field("fb_used", "FB_USED", "gauge", "Framebuffer memory used (in MiB).", "FB_USED_BYTES", _MIB,
           rows="cut-or-whole"),
    _field("fb_reserved", "FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", "FB_RESERVED_BYTES", _MIB,
           rows="cut-or-whole"),
    _field("fb_total", "FB_TOTAL", "gauge", "Framebuffer memory in all (in bytes).", "FB_CAPACITY_BYTES", _MIB,
           rows="cut-or-whole", only_new=True),
    _field("ecc", "ECC_DBE_VOL_TOTAL", "counter", "Total number of double-bit volatile ECC errors.", rows="whole"),
    _field("uncorrectable_rows", "UNCORRECTABLE_REMAPPED_ROWS", "counter",
           "Number of remapped rows for uncorrectable errors", "ROW_REMAP_UNCORRECTABLE_TOTAL", rows="whole"),
    _field("zero", "CORRECTABLE_REMAPPED_ROWS", "counter", "Number of remapped rows for correctable errors",
           "ROW_REMAP_CORRECTABLE_TOTAL", rows="whole"),
    _field("remap_failed", "ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed", "ROW_REMAP_FAILED",
           rows="whole"),
    _field("remap_pending", "ROW_REMAP_PENDING", "gauge", "Whether remapping of rows is pending", rows="whole"),
    _field("nvlink", "NVLINK_BANDWIDTH_TOTAL", "counter", "Total number of NVLink bandwidth counters for all lanes.",
           "NVLINK_THROUGHPUT_BYTES_PER_SECOND", 1e6, needs="nvlink"),
    _field("power_violation", "POWER_VIOLATION", "counter", "Throttling duration due to power constraints (in ns).",
           rows="whole"),
    _field("thermal_violation", "THERMAL_VIOLATION", "counter",
           "Throttling duration due to thermal constraints (in ns).", rows="whole"),
    _field("power_limit", "POWER_MGMT_LIMIT", "gauge", "Power limit of the GPU (in W).", decimals=6, new_decimals=6,
           rows="whole"),
    _field("zero", "VGPU_LICENSE_STATUS", "gauge", "vGPU License status", rows="whole"),
    _prof("use", "GR_ENGINE_ACTIVE", "Ratio of time the graphics engine is active.", "GR_ENGINE_UTIL_RATIO"),
    _prof("sm", "SM_ACTIVE", "The ratio of cycles an SM has at least 1 warp assigned.", "SM_UTIL_RATIO"),
    _prof("occupancy", "SM_OCCUPANCY", "The ratio of number of warps resident on an SM."),
    _prof("tensor", "PIPE_TENSOR_ACTIVE", "Ratio of cycles the tensor (HMMA) pipe is active.", "TENSOR_UTIL_RATIO"),
    _prof("dram", "DRAM_ACTIVE", "Ratio of cycles the device memory interface is active sending or receiving data.",
          "DRAM_UTIL_RATIO"),
    _prof("pcie_tx", "PCIE_TX_BYTES", "The rate of data transmitted over the PCIe bus - including both protocol "
          "headers and data payloads - in bytes per second.", decimals=0, new_decimals=0, rows="not-cut"),
    _prof("pcie_rx", "PCIE_RX_BYTES", "The rate of data received over the PCIe bus - including both protocol headers "
          "and data payloads - in bytes per second.", decimals=0, new_decimals=0, rows="not-cut"),
)  # fmt: skip
"""In the order of the exporter's pages. Renamed are those that are on by default, SM_ACTIVE besides."""

METERED = ("energy", "power_violation", "thermal_violation")
"""Keys whose readings grow with time."""
