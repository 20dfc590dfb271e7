"""What dcgm-exporter counts: the fields that alerts, dashboards, cost and the search for waste need.

An exporter ends at a field its DCGM does not know, so these are names that dcgm-exporter 4.1 to 4.8 all have (4.9 calls
many of them otherwise). Each field costs a series per GPU or instance and, on shared GPUs, per pod.
"""

from __future__ import annotations

NAME, KEY = "plimsoll-dcgm-counters", "dcgm-metrics.csv"  # the operator mounts this key

_FIELDS = (
    ("Clocks", (
        ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock in MHz"),
        ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock in MHz"),
        ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "gauge", "Why clocks are held down (bits)"),
    )),
    ("Temperature", (
        ("DCGM_FI_DEV_GPU_TEMP", "gauge", "Temperature of the GPU in C"),
        ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Temperature of the memory in C"),
        ("DCGM_FI_DEV_SLOWDOWN_TEMP", "gauge", "Temperature at which the GPU slows down in C"),
        ("DCGM_FI_DEV_SHUTDOWN_TEMP", "gauge", "Temperature at which the GPU switches itself off in C"),
        ("DCGM_FI_DEV_GPU_MAX_OP_TEMP", "gauge", "Highest temperature the GPU is meant to work at in C"),
        ("DCGM_FI_DEV_MEM_MAX_OP_TEMP", "gauge", "Highest temperature the memory is meant to work at in C"),
    )),
    ("Power", (
        ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power drawn in W"),
        ("DCGM_FI_DEV_POWER_MGMT_LIMIT", "gauge", "Power limit in W"),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Energy since the driver was loaded in mJ"),
        ("DCGM_FI_DEV_POWER_VIOLATION", "counter", "Time slowed down for power in ns"),
        ("DCGM_FI_DEV_THERMAL_VIOLATION", "counter", "Time slowed down for heat in ns"),
    )),
    ("Use as NVML tells it: nothing on MIG", (
        ("DCGM_FI_DEV_GPU_UTIL", "gauge", "Share of time in which any kernel ran in %"),
        ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Share of time in which memory was read or written in %"),
        ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Use of the encoder in %"),
        ("DCGM_FI_DEV_DEC_UTIL", "gauge", "Use of the decoder in %"),
    )),
    ("Use as the profiling counters tell it", (
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Share of time in which the GPU or instance worked"),
        ("DCGM_FI_PROF_SM_ACTIVE", "gauge", "Share of SM cycles with a warp assigned"),
        ("DCGM_FI_PROF_SM_OCCUPANCY", "gauge", "Warps on an SM as a share of what it can hold"),
        ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Share of cycles in which tensor cores worked"),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Share of cycles in which memory sent or received"),
        ("DCGM_FI_PROF_PCIE_TX_BYTES", "gauge", "Sent over PCIe in bytes per second"),
        ("DCGM_FI_PROF_PCIE_RX_BYTES", "gauge", "Received over PCIe in bytes per second"),
        ("DCGM_FI_PROF_NVLINK_TX_BYTES", "gauge", "Sent over NVLink in bytes per second"),
        ("DCGM_FI_PROF_NVLINK_RX_BYTES", "gauge", "Received over NVLink in bytes per second"),
    )),
    ("Memory", (
        ("DCGM_FI_DEV_FB_FREE", "gauge", "Memory free in MiB"),
        ("DCGM_FI_DEV_FB_USED", "gauge", "Memory in use in MiB"),
        ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Memory the driver keeps in MiB"),
    )),
    ("Errors", (
        ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Last XID error"),
        ("DCGM_EXP_XID_ERRORS_COUNT", "gauge", "XID errors in the last five minutes"),
        ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "counter", "Single-bit errors since the driver was loaded"),
        ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "counter", "Double-bit errors since the driver was loaded"),
        ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Rows of memory replaced after uncorrectable errors"),
        ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", "Rows of memory replaced after correctable errors"),
        ("DCGM_FI_DEV_ROW_REMAP_PENDING", "gauge", "Whether a row waits for a reset to be replaced"),
        ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether a row could not be replaced"),
        ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "PCIe transfers that were repeated"),
        ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "gauge", "NVLink traffic over all lanes in MB per second"),
    )),
    ("On every series", (
        ("DCGM_FI_DRIVER_VERSION", "label", "Driver version"),
    )),
)  # fmt: skip


def counters() -> str:
    """The file: field, kind of metric and help by line. No help holds a comma: the exporter splits at each."""
    parts = ("\n".join((f"# {title}", *(", ".join(each) for each in fields))) for title, fields in _FIELDS)
    return "\n\n".join(parts) + "\n"
