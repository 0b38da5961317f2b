# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole machine of fakes for the NVIDIA device: driver, kernel, TensorRT, and frames in its memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import FULL
from tests.fakes.fakecuda.driver import FakeDriver
from tests.fakes.faketensorrt.library import FakeTensorRT

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.memory import host_view, pinned
from vision_line.devices.cuda.surface import PixelFormat, Surface, SurfaceLayout
from vision_line.devices.preprocessing.definition import colour_coefficients

__all__ = ["CudaMachine", "GpuFrames", "cuda_machine", "engine_folder", "second_gpu"]

#: How the frames are coded that `CudaMachine.show` makes.


@dataclass(eq=False, kw_only=True)
class GpuFrames:
    """Makes frames in a GPU's memory, of a real one as well."""

    gpu: GpuContext
    stream: Any  # they are uploaded on it
    staged: list[Any] = field(default_factory=list)  # kept until the uploads have ended

    def show(self, rgb: NDArray[np.uint8], stream: Any = None) -> Surface:
        """Return an RGB image (h, w, 3) as a surface of `FULL` colour, on its way to the GPU."""
        return self.upload(to_nv12(rgb), (rgb.shape[1], rgb.shape[0]), stream)

    def upload(self, planes: NDArray[np.uint8], size_wh: tuple[int, int], stream: Any = None) -> Surface:
        """Return NV12 planes, one below the other, as a surface; `ready` follows the upload on `stream`."""
        stream = stream or self.stream
        self.gpu.enter()
        layout = SurfaceLayout(PixelFormat.NV12, size_wh)
        assert planes.nbytes == layout.nbytes
        staged, memory = pinned(planes.nbytes), self.gpu.device.allocate(planes.nbytes, stream=stream)
        host_view(staged)[:] = planes.ravel()
        staged.copy_to(memory, stream=stream)
        luma = int(memory.handle)
        chroma = luma + layout.chroma_offset
        self.staged.append(staged)
        planes_at = (luma, layout.pitch, chroma, layout.pitch)
        return Surface(PixelFormat.NV12, size_wh, *planes_at, stream.record(), memory, self.gpu.index)

    def close(self) -> None:
        """Give back what is left when all frames have been dropped."""
        self.gpu.enter()
        self.stream.sync()
        self.staged.clear()
        self.stream.close()


@dataclass(eq=False, kw_only=True)
class CudaMachine(GpuFrames):
    """The fakes of one test."""

    driver: FakeDriver
    tensorrt: FakeTensorRT
    cache: Path
    may_fail: bool = False  # the test makes the GPU fail, which then gives nothing back


def to_nv12(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB image of even size as NV12 rows (h + h / 2, w), of `FULL` colour."""
    matrix, _ = colour_coefficients(FULL.matrix, FULL.range)
    ycc = rgb.astype(np.float64) @ np.linalg.inv(matrix / 16384).T + [0, 128, 128]
    height, width = rgb.shape[:2]
    chroma = ycc[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
    rows = np.concatenate([ycc[..., 0], chroma.reshape(height // 2, width)])
    planes: NDArray[np.uint8] = np.clip(np.rint(rows), 0, 255).astype(np.uint8)
    return planes


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for all machines' engines; the kernel's build for the GPU is kept beside it."""
    return tmp_path_factory.mktemp("cuda")


@pytest.fixture
def cuda_machine(fake_cuda: FakeDriver, engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    """Give a machine whose memory is empty; a test that leaves something there fails."""
    left = fake_cuda.live()
    gpu = open_gpu(0)
    tensorrt = FakeTensorRT(fake_cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt.module)
    engines = engine_folder / f"engines-{len(list(engine_folder.iterdir()))}"
    engines.mkdir()
    stream = gpu.device.create_stream()
    machine = CudaMachine(gpu=gpu, stream=stream, driver=fake_cuda, tensorrt=tensorrt, cache=engines)
    yield machine
    if not machine.may_fail:
        stream.sync()
        assert fake_cuda.fault == 0
    gc.collect()
    fake_cuda.reset()
    machine.close()
    if (live := fake_cuda.live()) != left and not machine.may_fail:
        pytest.fail(f"left on the GPU: {live}, before the test: {left}")


@pytest.fixture
def second_gpu(cuda_machine: CudaMachine) -> Iterator[GpuFrames]:
    """Give the machine a second GPU, and what makes frames on it."""
    cuda_machine.driver.show(2)
    gpu = open_gpu(1)
    frames = GpuFrames(gpu=gpu, stream=gpu.device.create_stream())
    yield frames
    gc.collect()
    frames.close()
    cuda_machine.gpu.enter()
