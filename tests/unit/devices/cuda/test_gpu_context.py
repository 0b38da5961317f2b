# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opening the GPU: what it is, its context's flags, and one clear sentence where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.fakecuda.driver import OUT_OF_MEMORY, FakeDriver

from vision_line.devices.cuda.context import GpuContext, open_gpu, translated_errors
from vision_line.errors import DeviceError, RunError

CU_CTX_SCHED_BLOCKING_SYNC = 4


def test_a_gpu_says_what_it_is(gpu: GpuContext, fake_cuda: FakeDriver) -> None:
    """Name, compute capability, driver and memory; waiting blocks, and the flag is set before the context is made."""
    assert (gpu.index, gpu.name, gpu.sm, gpu.driver, gpu.memory_bytes) == (0, "Fake GPU", 86, "13.0", 12 << 30)
    assert (gpu.label, gpu.pci_bus_id) == ("cuda:0", "0000:01:00.0")
    assert fake_cuda.context_flags == CU_CTX_SCHED_BLOCKING_SYNC


def test_each_thread_enters_for_itself(gpu: GpuContext) -> None:
    """A thread that has entered can use the GPU."""
    sizes: list[int] = []

    def allocate() -> None:
        device = gpu.enter()
        stream = device.create_stream()
        memory = gpu.device.allocate(64, stream=stream)
        sizes.append(memory.size)
        memory.close()
        stream.close()

    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()

    assert sizes == [64]


def test_cameras_do_not_share_the_drivers_few_queues(fake_cuda: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver makes as many as it can, before it starts, unless somebody has chosen another number."""
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "8")
    open_gpu(0)
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "8"

    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS")
    fake_cuda.inject("cuInit", OUT_OF_MEMORY)
    with pytest.raises(DeviceError, match="the driver does not start"):
        open_gpu(0)
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "32"


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"plugged": False}, "the driver shows no GPU"),
        (
            {"driver_version": 12040},
            r"supports CUDA 12\.4, but cuda-bindings 13\..* needs 13\.0: .*580.*'\.\[cuda12\]'",
        ),
        ({"driver_version": 11040}, "supports CUDA 11\\.4, .*: update the driver to 580 or later$"),
        ({"capability": 61}, r"Fake GPU: expected compute capability 7\.5 or later, found 6\.1"),
    ],
)
def test_what_is_missing_is_said(fake_cuda: FakeDriver, machine: dict[str, int], message: str) -> None:
    """No GPU, an old driver, an old GPU."""
    fake_cuda.machine(**machine)  # type: ignore[arg-type] # plugged is a bool

    # in a new thread, because cuda.core asks each GPU once for each thread
    with ThreadPoolExecutor(1) as threads, pytest.raises(DeviceError, match=message):
        threads.submit(open_gpu, 0).result()


def test_another_number_than_there_are_gpus_is_refused(fake_cuda: FakeDriver) -> None:
    """The message says which numbers there are."""
    with pytest.raises(DeviceError, match="expected a GPU number from 0 to 0, found 1"):
        open_gpu(1)


def test_a_machine_without_a_driver_is_reported_as_such() -> None:
    """In a process of its own, since this one has a driver of the tests'. The bindings, 30 MiB, stay unread."""
    code = (
        "from vision_line.devices.cuda.context import open_gpu\n"
        "from vision_line.errors import DeviceError\n"
        "try: open_gpu(0)\n"
        "except DeviceError as exc: print(exc)\n"
        "import sys\n"
        "print(sys.modules.keys() & {'cuda.core', 'cuda.bindings', 'tensorrt'} or 'no bindings')\n"
    )
    if "libcuda.so.1" in subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("this machine has an NVIDIA driver")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "cuda: no NVIDIA driver is installed: libcuda.so.1 was not found\nno bindings\n"


def test_refusals_of_the_driver_are_ours(gpu: GpuContext, fake_cuda: FakeDriver) -> None:
    """The error says what was tried and why it failed, in one line."""
    stream = gpu.device.create_stream()
    fake_cuda.inject("cuMemAlloc", OUT_OF_MEMORY)

    with (
        pytest.raises(RunError, match=r"^cuda: the slot cannot be made: CUDA_ERROR_OUT_OF_MEMORY"),
        translated_errors(RunError, "the slot cannot be made"),
    ):
        gpu.device.allocate(64, stream=stream)
    stream.close()
