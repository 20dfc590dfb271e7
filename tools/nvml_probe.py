#!/usr/bin/env python3
"""What the driver of this machine tells the meter, beside what `nvidia-smi` says: one JSON line a round.

    python3 tools/nvml_probe.py --load 1                one process that is at work always
    python3 tools/nvml_probe.py --load 0.5 --load 0.1   two, half and a tenth of the time

Needs nothing but msgspec and nvidia-ml-py, and for a load a driver: PyTorch if it is there, else a kernel of its own.
It reads; it changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import msgspec

from plimsoll.agents.meter.cgroups import Owner, Processes
from plimsoll.agents.meter.driver import Driver, DriverError, open_driver
from plimsoll.agents.meter.nvml import Devices
from plimsoll.errors import PlimsollError

QUERY = "uuid,name,mig.mode.current,utilization.gpu,memory.used,memory.reserved,memory.total,power.draw.average"
# A million rounds of multiplications on every thread: some ten milliseconds of all SMs.
PTX = b"""
.version 6.4
.target sm_75
.address_size 64
.visible .entry burn(.param .u64 out)
{
    .reg .f32 %x;
    .reg .u32 %n;
    .reg .u64 %out;
    .reg .pred %p;
    ld.param.u64 %out, [out];
    mov.f32 %x, 0f3F800001;
    mov.u32 %n, 1000000;
again:
    fma.rn.f32 %x, %x, %x, %x;
    fma.rn.f32 %x, %x, %x, %x;
    sub.u32 %n, %n, 1;
    setp.ne.u32 %p, %n, 0;
    @%p bra again;
    setp.eq.f32 %p, %x, 0f00000000;
    @%p st.global.f32 [%out], %x;
    ret;
}
"""


class Each(Processes):
    """Every process as a pod of its own, named by its number: there need be no pods here."""

    def visible(self) -> bool:
        return True

    def owner(self, pid: int) -> Owner | None:
        return Owner(str(pid), "")


def rounds(devices: Devices, phase: str, count: int, every: float, said: list[str]) -> None:
    for _ in range(count):
        time.sleep(every)
        readings = devices.read(lambda pid: ("process", pid))
        line: dict[str, Any] = {"phase": phase, "at": round(time.time(), 3)}
        line["readings"] = msgspec.to_builtins(readings)
        line["processes"] = asked()
        line["nvidia-smi"] = smi(f"--query-gpu={QUERY}", "--format=csv,noheader")
        line["apps"] = smi("--query-compute-apps=gpu_uuid,pid,used_gpu_memory", "--format=csv,noheader")
        line["pmon"] = smi("pmon", "-c", "1", "-s", "u")[2:]
        line["said"] = list(said)
        print(json.dumps(line), flush=True)


def asked() -> list[dict[str, object]]:
    """What the driver says of processes, before anybody asks whose they are."""
    driver: Driver = open_driver()
    found: list[dict[str, object]] = []
    try:
        for index in range(driver.count()):
            handle = driver.device(index)
            each: dict[str, object] = {"gpu": driver.uuid(handle)}
            with contextlib.suppress(DriverError):
                each["memory"] = driver.processes(handle)
            with contextlib.suppress(DriverError):
                each["ran"] = driver.ran(handle, max(0, int((time.time() - 2) * 1e6)))
            found.append(each)
    finally:
        driver.close()
    return found


def smi(*question: str) -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", *question], capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()


def burn(duty: float, seconds: float, *, own: bool) -> None:
    """Keep the first GPU at work for a part of the time."""
    work = (None if own else torch_work()) or own_work()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        while time.monotonic() - began < 0.05:
            work()
        time.sleep((time.monotonic() - began) * (1 / duty - 1))


def torch_work() -> Any:
    try:
        import torch  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        return None
    matrix = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)

    def work() -> None:
        torch.matmul(matrix, matrix)
        torch.cuda.synchronize()

    return work


def own_work() -> Any:
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(name: str, *values: Any) -> None:
        code = getattr(cuda, name)(*values)
        if code:
            raise SystemExit(f"{name} failed with CUDA error {code}")

    device, context, module, kernel = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    out, cores = ctypes.c_uint64(), ctypes.c_int()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDeviceGetAttribute", ctypes.byref(cores), 16, device)  # multiprocessors
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    call("cuMemAlloc_v2", ctypes.byref(out), ctypes.c_size_t(4))
    call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(PTX))
    call("cuModuleGetFunction", ctypes.byref(kernel), module, b"burn")
    values = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(out), ctypes.c_void_p))

    def work() -> None:
        call("cuLaunchKernel", kernel, cores.value * 4, 1, 1, 256, 1, 1, 0, None, values, None)
        call("cuCtxSynchronize")

    return work


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--load", type=float, action="append", default=[], metavar="DUTY", help="0.01 to 1; repeatable"
    )
    options.add_argument(
        "--own", action="store_true", help="our own kernel, also where PyTorch is: SMs and no tensor cores"
    )
    options.add_argument("--every", type=float, default=2.0, help="seconds between two rounds")
    options.add_argument("--rounds", type=int, default=4, help="of each phase")
    options.add_argument("--burn", type=float, nargs=2, metavar=("DUTY", "SECONDS"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.burn:
        burn(*given.burn, own=given.own)
        return
    said: list[str] = []
    devices = Devices("here", said.append, processes=Each())
    print(json.dumps({"phase": "begin", "numbers of processes are the node's": Processes().visible()}))
    rounds(devices, "idle", 2, given.every, said)
    seconds = str(given.every * (given.rounds + 1) + 20)  # torch takes its time to begin
    children = [
        subprocess.Popen([sys.executable, __file__, *(["--own"] if given.own else []), "--burn", str(duty), seconds])
        for duty in given.load
    ]
    try:
        if children:
            time.sleep(15)
            rounds(
                devices,
                f"load {given.load}, processes {[each.pid for each in children]}",
                given.rounds,
                given.every,
                said,
            )
    finally:
        for each in children:
            each.terminate()
            each.wait()
    if children:
        rounds(devices, "after", 2, given.every, said)
    print(json.dumps({"phase": "inventory", "gpus": msgspec.to_builtins(devices.gpus)}))
    devices.close()


if __name__ == "__main__":
    try:
        main()
    except PlimsollError as error:
        sys.exit(f"{error}\n{error.hint}")
