"""What a GPU driver is asked, and NVIDIA's, which answers by NVML (its own bindings, `nvidia-ml-py`).

Every question may fail: Unsaid, where the driver does not tell (the card cannot, we may not, there is nothing to tell);
Lost, where the device is gone; Away, where the driver itself is. Units are the driver's own.

Source of names and codes: NVML API Reference Guide R590, nvml.h.
"""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from plimsoll.errors import InputError

Handle = Any  # of a GPU, a MIG device or a sample of counters: what the driver gave, and nobody looks into

_LOST = {15, 16, 28}  # fell off the bus (Xid 79), needs a reset, not found
_AWAY = {1, 9, 12, 18}  # not initialised, no module loaded, no library, library and module of two versions
_NOTHING = {0, 6, 21}  # the bindings raise "success" where a list is empty; not found; no data
_UNKNOWN_ID = 0xFFFFFFFF


class DriverError(Exception):
    """A question that was not answered."""


class Unsaid(DriverError):  # noqa: N818
    """The driver does not tell. code: NVML's, 0 where it gave none."""

    def __init__(self, said: str, code: int = 0) -> None:
        super().__init__(said)
        self.code = code


class Lost(DriverError):  # noqa: N818
    """The device is gone."""


class Away(DriverError):  # noqa: N818
    """The driver is gone, or never was here."""


class Activity(NamedTuple):
    """Percent of the time between two samples. busy: any work on it. sm: of its SMs. tensor, dram: of what they can."""

    busy: float | None = None
    sm: float | None = None
    tensor: float | None = None
    dram: float | None = None


class Ran(NamedTuple):
    """A process used SMs for `percent` of a sampling period that ended `at` (microseconds of the driver's clock)."""

    pid: int
    at: int
    percent: int


class Driver(Protocol):
    """What is asked. A handle is of a GPU; of a MIG device too where that is said."""

    def count(self) -> int: ...
    def device(self, index: int) -> Handle: ...
    def uuid(self, handle: Handle) -> str:
        """`GPU-…`, of a MIG device `MIG-…`."""

    def name(self, handle: Handle) -> str:
        """The model; of a MIG device its profile in it: `NVIDIA H200 MIG 1g.18gb`."""

    def minor(self, handle: Handle) -> int:
        """The number of its device file."""

    def memory(self, handle: Handle) -> tuple[int, int]:
        """Bytes used and in all; of a MIG device those of its GPU instance."""

    def milliwatts(self, handle: Handle) -> int: ...
    def millijoules(self, handle: Handle) -> int:
        """Since the driver was loaded."""

    def cut(self, handle: Handle) -> bool:
        """Whether it is in MIG mode."""

    def parts(self, handle: Handle) -> list[Handle]:
        """The MIG devices (compute instances) of a GPU."""

    def instance(self, handle: Handle) -> int:
        """The id of a MIG device's GPU instance."""

    def start(self, handle: Handle, instance: int) -> int:
        """The first memory slice of a GPU instance."""

    def slices(self, handle: Handle) -> tuple[int, int]:
        """Compute slices and MiB of a MIG device's GPU instance."""

    def utilization(self, handle: Handle) -> int:
        """Percent of the last sampling period in which any kernel ran. Not told of MIG."""

    def counts(self, handle: Handle) -> bool:
        """Whether its counters can be sampled (GPM: Hopper and later)."""

    def sample(self, handle: Handle, instance: int | None) -> Handle:
        """Its counters now, or those of one GPU instance. To be freed."""

    def between(self, first: Handle, second: Handle) -> Activity: ...
    def free(self, sample: Handle) -> None: ...
    def processes(self, handle: Handle) -> dict[int, int | None]:
        """Processes that compute on a GPU or MIG device, and the bytes that each took."""

    def ran(self, handle: Handle, since: int) -> list[Ran]:
        """Processes that used SMs in sampling periods that ended after `since`."""

    def close(self) -> None: ...


def open_driver() -> Driver:
    """NVIDIA's driver on this machine. Errors: InputError without its bindings, Away without it."""
    try:
        import pynvml  # type: ignore[import-untyped]  # 0.1 s, and only nodes without an exporter need it
    except ModuleNotFoundError:
        raise InputError(
            "reading the driver needs the package nvidia-ml-py", hint="Run: pip install 'plimsoll[probe]'"
        ) from None
    driver = Nvml(pynvml)
    driver.open()
    return driver


class Nvml:
    """See Driver."""

    def __init__(self, nvml: ModuleType) -> None:
        self._nvml = nvml
        n = nvml
        self._metrics = (n.NVML_GPM_METRIC_GRAPHICS_UTIL, n.NVML_GPM_METRIC_SM_UTIL,
                         n.NVML_GPM_METRIC_ANY_TENSOR_UTIL, n.NVML_GPM_METRIC_DRAM_BW_UTIL)  # fmt: skip

    def _ask(self, function: str, *values: Any) -> Any:
        try:
            return getattr(self._nvml, function)(*values)
        except self._nvml.NVMLError as error:
            code, said = int(error.value), f"{error} ({function})"
            if code in _LOST:
                raise Lost(said) from None
            if code in _AWAY:
                raise Away(said) from None
            raise Unsaid(said, code) from None
        except self._nvml.NVMLLibraryMismatchError:  # of an older driver, and no NVMLError
            raise Unsaid(f"this driver has no such function ({function})") from None

    def open(self) -> None:
        self._ask("nvmlInit")

    def close(self) -> None:
        with suppress(DriverError):
            self._ask("nvmlShutdown")

    def count(self) -> int:
        return int(self._ask("nvmlDeviceGetCount"))

    def device(self, index: int) -> Handle:
        return self._ask("nvmlDeviceGetHandleByIndex", index)

    def uuid(self, handle: Handle) -> str:
        return str(self._ask("nvmlDeviceGetUUID", handle))

    def name(self, handle: Handle) -> str:
        return str(self._ask("nvmlDeviceGetName", handle))

    def minor(self, handle: Handle) -> int:
        return int(self._ask("nvmlDeviceGetMinorNumber", handle))

    def memory(self, handle: Handle) -> tuple[int, int]:
        try:  # the second version counts what the driver keeps for itself apart, as nvidia-smi does
            found = self._ask("nvmlDeviceGetMemoryInfo", handle, self._nvml.nvmlMemory_v2)
        except Unsaid:
            found = self._ask("nvmlDeviceGetMemoryInfo", handle)
        return int(found.used), int(found.total)

    def milliwatts(self, handle: Handle) -> int:
        return int(self._ask("nvmlDeviceGetPowerUsage", handle))

    def millijoules(self, handle: Handle) -> int:
        return int(self._ask("nvmlDeviceGetTotalEnergyConsumption", handle))

    def cut(self, handle: Handle) -> bool:
        return bool(self._ask("nvmlDeviceGetMigMode", handle)[0])

    def parts(self, handle: Handle) -> list[Handle]:
        found = []
        for index in range(int(self._ask("nvmlDeviceGetMaxMigDeviceCount", handle))):
            try:
                found.append(self._ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, index))
            except Unsaid:  # nothing of that number
                continue
        return found

    def instance(self, handle: Handle) -> int:
        return int(self._ask("nvmlDeviceGetGpuInstanceId", handle))

    def start(self, handle: Handle, instance: int) -> int:
        found = self._ask("nvmlDeviceGetGpuInstanceById", handle, instance)
        return int(self._ask("nvmlGpuInstanceGetInfo", found).placement.start)

    def slices(self, handle: Handle) -> tuple[int, int]:
        found = self._ask("nvmlDeviceGetAttributes_v2", handle)
        return int(found.gpuInstanceSliceCount), int(found.memorySizeMB)

    def utilization(self, handle: Handle) -> int:
        return int(self._ask("nvmlDeviceGetUtilizationRates", handle).gpu)

    def counts(self, handle: Handle) -> bool:
        return bool(self._ask("nvmlGpmQueryDeviceSupport", handle).isSupportedDevice)

    def sample(self, handle: Handle, instance: int | None) -> Handle:
        sample = self._ask("nvmlGpmSampleAlloc")
        try:
            if instance is None:
                self._ask("nvmlGpmSampleGet", handle, sample)
            else:
                self._ask("nvmlGpmMigSampleGet", handle, instance, sample)
        except BaseException:
            self.free(sample)
            raise
        return sample

    def between(self, first: Handle, second: Handle) -> Activity:
        asked = self._nvml.c_nvmlGpmMetricsGet_t()
        asked.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = len(self._metrics)
        asked.sample1, asked.sample2 = first, second
        for at, metric in enumerate(self._metrics):
            asked.metrics[at].metricId = metric
        self._ask("nvmlGpmMetricsGet", asked)
        told = [asked.metrics[at] for at in range(len(self._metrics))]
        return Activity(*(each.value if each.nvmlReturn == 0 and isfinite(each.value) else None for each in told))

    def free(self, sample: Handle) -> None:
        with suppress(DriverError):
            self._ask("nvmlGpmSampleFree", sample)

    def processes(self, handle: Handle) -> dict[int, int | None]:
        found = list(self._ask("nvmlDeviceGetComputeRunningProcesses", handle))
        with suppress(Unsaid):  # clients of an MPS server are in a list of their own
            found += self._ask("nvmlDeviceGetMPSComputeRunningProcesses", handle)
        return {int(each.pid): each.usedGpuMemory for each in found if 0 < each.pid < _UNKNOWN_ID}

    def ran(self, handle: Handle, since: int) -> list[Ran]:
        try:
            found = self._ask("nvmlDeviceGetProcessUtilization", handle, since)
        except Unsaid as error:
            if error.code in _NOTHING:  # nobody ran
                return []
            raise
        return [Ran(int(each.pid), int(each.timeStamp), int(each.smUtil)) for each in found]
