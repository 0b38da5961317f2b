# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks that the GPU's letterbox kernel matches the preprocessing definition bit for bit, on noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cuda.context import GpuContext, translated_errors
from vision_line.devices.cuda.engine_cache import cache_folder
from vision_line.devices.cuda.kernel import FRAME_PARAMS, LetterboxKernel, frame_records
from vision_line.devices.cuda.memory import allocate, host_view, open_stream, pinned
from vision_line.devices.cuda.surface import PixelFormat, Surface, SurfaceLayout
from vision_line.devices.preprocessing.definition import Planes, letterbox_planes, normalise
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.errors import DeviceError
from vision_line.frames import Colour, ColourMatrix, ColourRange
from vision_line.ports import ShapeHW
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, failed, figure, passed, skipped

if TYPE_CHECKING:
    from cuda.core import Buffer, Stream

#: Full HD, an odd size, one that is enlarged, and one that is only padded.
SIZES_WH = ((1920, 1080), (641, 361), (96, 64), (320, 320))

_NEVER_WRITTEN = 0xFF  # four of them are no number


@dataclass(frozen=True, slots=True)
class Noise:
    """A frame of noise in memory: a luma plane and a chroma plane below it, lines of `layout.pitch`."""

    layout: SurfaceLayout
    colour: Colour
    memory: NDArray[np.uint8]  # (nbytes,)

    def planes(self) -> Planes:
        """Return its planes for the definition: the upper byte of two."""
        step = self.layout.format.sample_bytes
        width, height = self.layout.size_wh
        samples = self.memory.reshape(-1, self.layout.pitch)[:, step - 1 :: step]
        luma, chroma = samples[:height, :width], samples[height:]
        return Planes((luma, chroma[:, 0::2], chroma[:, 1::2]))


def check_kernel(dut: DeviceUnderTest) -> CheckOutcome:
    """Compare the kernel's float32 and float16 outputs with the definition, bit for bit."""
    if dut.gpu is None:
        return skipped("the CPU has no kernel")
    frames = list(draw_noise())
    boxes = [letterbox_planes(noise.planes(), noise.colour, dut.shape_hw) for noise in frames]
    wanted = np.concatenate([normalise(rgb) for rgb in boxes])
    wrong = {}
    for dtype in (np.float32, np.float16):
        found = run_kernel(dut.gpu, frames, dut.shape_hw, np.dtype(dtype))
        wrong[np.dtype(dtype).name] = int(np.count_nonzero(_bits(found) != _bits(wanted.astype(dtype))))
    figures = [figure("values_wrong", name, count, "values") for name, count in wrong.items()]
    figures.append(figure("values_compared", "", wanted.size * len(wrong), "values"))
    if any(wrong.values()):
        counts = ", ".join(f"{count} of {wanted.size} in {name}" for name, count in wrong.items())
        return failed(f"the kernel's input differs from the definition: {counts}", figures)
    return passed(f"{len(frames)} frames are equal to the last bit, in float32 and float16", figures)


def draw_noise() -> Iterator[Noise]:
    """Yield frames of all formats and `SIZES_WH`; every colour description occurs."""
    rng = np.random.default_rng(0)
    colours = [Colour(matrix, value_range) for matrix, value_range in product(ColourMatrix, ColourRange)]
    for number, (size_wh, pixel_format) in enumerate(product(SIZES_WH, PixelFormat)):
        layout = SurfaceLayout(pixel_format, size_wh)
        yield Noise(layout, colours[number % len(colours)], rng.integers(0, 256, layout.nbytes, np.uint8))


def run_kernel(
    gpu: GpuContext, frames: Sequence[Noise], shape_hw: ShapeHW, dtype: np.dtype[np.floating]
) -> NDArray[np.floating]:
    """Return the output of one launch for `frames`: (n, 3, h, w), float32 or float16.

    Raises:
        DeviceError: the kernel cannot be built, or too little memory.
        RunError: the GPU rejects the launch.
    """
    count = len(frames)
    shape = (count, 3, *shape_hw)
    nbytes = int(np.prod(shape)) * dtype.itemsize
    with translated_errors(DeviceError, "the kernel cannot be tried"), ExitStack() as undo:
        host_params, host_output = (pinned(size) for size in (FRAME_PARAMS.itemsize * count, nbytes))
        undo.callback(host_params.close)
        undo.callback(host_output.close)
        stream = open_stream(gpu, undo)
        params, output = (allocate(gpu, buffer.size, stream, undo) for buffer in (host_params, host_output))
        kernel = open_kernel(gpu, stream, undo, half=dtype.itemsize == 2)
        surfaces = [(upload(gpu, noise, stream), noise.colour) for noise in frames]  # kept until the kernel has run
        _describe(kernel, surfaces, shape_hw, host_params)
        host_params.copy_to(params, stream=stream)
        output.fill(_NEVER_WRITTEN, stream=stream)
        kernel.launch(stream, params, count, shape_hw, int(output.handle))
        output.copy_to(host_output, stream=stream)
        stream.sync()
        return host_view(host_output).view(dtype).reshape(shape).copy()


def upload(gpu: GpuContext, noise: Noise, stream: Stream) -> Surface:
    """Return `noise` as a surface on its way to the GPU; its memory is freed when the surface is dropped."""
    from cuda.core import Buffer

    layout = noise.layout
    memory = gpu.device.allocate(layout.nbytes, stream=stream)
    Buffer.from_handle(noise.memory.ctypes.data, layout.nbytes, owner=noise.memory).copy_to(memory, stream=stream)
    luma = int(memory.handle)
    return Surface(
        format=layout.format,
        size_wh=layout.size_wh,
        luma=luma,
        luma_pitch=layout.pitch,
        chroma=luma + layout.chroma_offset,
        chroma_pitch=layout.pitch,
        ready=stream.record(),
        owner=memory,
        device=gpu.index,
    )


def open_kernel(gpu: GpuContext, stream: Stream, undo: ExitStack, *, half: bool) -> LetterboxKernel:
    """Return the kernel as the device uses it: built, or from the user's cache."""
    kernel = LetterboxKernel(gpu.device, stream, half=half, cache_dir=cache_folder().parent / "kernels")
    undo.callback(kernel.close)
    return kernel


def _describe(
    kernel: LetterboxKernel, frames: Sequence[tuple[Surface, Colour]], shape_hw: ShapeHW, host: Buffer
) -> None:
    records = frame_records(host_view(host))
    for record, (surface, colour) in zip(records, frames, strict=True):
        kernel.describe(surface, colour, Letterbox(surface.size_wh, shape_hw), record)


def _bits(values: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
    return values.view(np.dtype(f"u{values.itemsize}"))
