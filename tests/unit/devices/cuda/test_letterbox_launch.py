# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kernel's tables, records and launches, by the real cuda.core on the fake driver."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from tests.builders import COLOUR
from tests.fakes.fakecuda.driver import LAUNCH_FAILED, OUT_OF_MEMORY, FakeDriver
from tests.fakes.host_kernel import KERNELS, PARAMETER_BYTES, build_host_kernel

from vision_line.devices.cuda import kernel as kernel_module
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.kernel import FRAME_PARAMS, FRAME_WORDS, LetterboxKernel, Record, describe_frame
from vision_line.devices.cuda.surface import PixelFormat, Surface, SurfaceLayout
from vision_line.devices.preprocessing.definition import Planes, letterbox_planes, normalise
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Colour, ColourMatrix, ColourRange

if TYPE_CHECKING:
    from cuda.core import Buffer, Stream

DST_HW = (24, 40)


@pytest.fixture(scope="module")
def host_kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Give the kernel built for the CPU; the fake driver has said already that g++ is there."""
    return ctypes.CDLL(str(build_host_kernel(tmp_path_factory.mktemp("kernel"))))


@pytest.fixture
def stream(gpu: GpuContext, fake_cuda: FakeDriver, request: pytest.FixtureRequest) -> Stream:
    """Give a stream of a GPU that can run the kernel."""
    host_kernel = request.getfixturevalue("host_kernel")
    for name in KERNELS:
        fake_cuda.add_kernel(name, host_kernel[f"host_{name}"], PARAMETER_BYTES)
    return gpu.open_stream()


@pytest.fixture
def letterbox(gpu: GpuContext, stream: Stream) -> Iterator[LetterboxKernel]:
    """Give a kernel that writes float32."""
    kernel = LetterboxKernel(gpu.device, stream, half=False, cache_dir=None)
    yield kernel
    kernel.close()


class Pinned:
    """Memory that the host and the GPU see: an array of any dtype."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        from cuda.core import LegacyPinnedMemoryResource

        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.buffer: Buffer = LegacyPinnedMemoryResource().allocate(nbytes)
        memory = (ctypes.c_uint8 * nbytes).from_address(int(self.buffer.handle))
        self.array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)

    @property
    def address(self) -> int:
        """Return where it is."""
        return int(self.buffer.handle)


def surface_of(seed: int, pixel_format: PixelFormat, size_wh: tuple[int, int]) -> tuple[Surface, NDArray[np.float32]]:
    """Return a random frame and what the definition makes of it, (3, h, w)."""
    layout, (width, height), step = SurfaceLayout(pixel_format, size_wh), size_wh, pixel_format.sample_bytes
    memory = Pinned((layout.nbytes,), np.uint8)
    lines = memory.array.reshape(-1, layout.pitch)
    lines[:] = np.random.default_rng(seed).integers(0, 256, lines.shape, np.uint8)
    luma, chroma = lines[:height, step - 1 : width * step : step], lines[height:]
    planes = Planes((luma, chroma[:, step - 1 :: 2 * step], chroma[:, 2 * step - 1 :: 2 * step]))
    luma_at, chroma_at = memory.address, memory.address + layout.chroma_offset
    surface = Surface(pixel_format, size_wh, luma_at, layout.pitch, chroma_at, layout.pitch, None, memory)
    return surface, normalise(letterbox_planes(planes, COLOUR, DST_HW))[0]


def describe(kernel: LetterboxKernel, size_wh: tuple[int, int], out: Record) -> None:
    surface = Surface(PixelFormat.NV12, size_wh, 0, size_wh[0], 0, size_wh[0] + 1, None, None)
    kernel.describe(surface, COLOUR, Letterbox(size_wh, DST_HW), out)


def records(count: int) -> tuple[Pinned, NDArray[np.uint64]]:
    memory = Pinned((count, FRAME_WORDS), np.uint64)
    return memory, memory.array


def table_of(record: Record) -> int:
    return int(record.view(FRAME_PARAMS)[0]["luma"]["across"])


@pytest.mark.parametrize("half", [False, True])
def test_one_launch_makes_a_batch(gpu: GpuContext, stream: Stream, half: bool, fake_cuda: FakeDriver) -> None:
    """Frames of several formats and sizes come out of one launch, each in its place."""
    kernel = LetterboxKernel(gpu.device, stream, half=half, cache_dir=None)
    frames = [surface_of(1, PixelFormat.NV12, (65, 33)), surface_of(2, PixelFormat.P016, (30, 61))]
    params, rows = records(2)
    output = Pinned((2, 3, *DST_HW), np.float16 if half else np.float32)
    for (surface, _), row in zip(frames, rows, strict=True):
        kernel.describe(surface, COLOUR, Letterbox(surface.size_wh, DST_HW), row)
    kernel.launch(stream, params.buffer, 2, DST_HW, output.address)
    stream.sync()
    expected = np.stack([frame for _, frame in frames]).astype(output.array.dtype)
    assert output.array.tobytes() == expected.tobytes()
    assert fake_cuda.calls("cuLaunchKernel") == 1
    kernel.close()


def test_a_graph_reads_the_records_of_its_run(letterbox: LetterboxKernel, stream: Stream) -> None:
    """A captured launch makes whatever frame the records name when the graph runs."""
    params, rows = records(1)
    output = Pinned((1, 3, *DST_HW), np.float32)
    builder = stream.create_graph_builder().begin_building("thread_local")
    letterbox.launch(builder, params.buffer, 1, DST_HW, output.address)
    graph = builder.end_building().complete()
    for seed, size_wh in ((3, (50, 20)), (4, (20, 50))):
        surface, expected = surface_of(seed, PixelFormat.NV12, size_wh)
        letterbox.describe(surface, COLOUR, Letterbox(size_wh, DST_HW), rows[0])
        graph.launch(stream)
        stream.sync()
        assert output.array.tobytes() == expected.tobytes()


def test_a_known_size_costs_no_memory_and_no_copy(
    letterbox: LetterboxKernel, stream: Stream, fake_cuda: FakeDriver
) -> None:
    """From a geometry's second frame on, all that the driver sees is the launch."""
    surface, _ = surface_of(5, PixelFormat.NV12, (65, 33))
    box = Letterbox(surface.size_wh, DST_HW)
    params, rows = records(1)
    output = Pinned((1, 3, *DST_HW), np.float32)
    letterbox.describe(surface, COLOUR, box, rows[0])
    before = fake_cuda.live()
    fake_cuda.reset()
    for _ in range(3):
        letterbox.describe(surface, COLOUR, Letterbox(surface.size_wh, DST_HW), rows[0])
        letterbox.launch(stream, params.buffer, 1, DST_HW, output.address)
    for name in ("cuMemAlloc", "cuMemAllocHost", "cuMemcpyAsync", "cuStreamSynchronize", "cuCtxSynchronize"):
        assert fake_cuda.calls(name) == 0, name
    assert fake_cuda.calls("cuLaunchKernel") == 3
    assert fake_cuda.live() == before


def test_frames_of_one_size_get_their_own_records(letterbox: LetterboxKernel) -> None:
    """What is kept of one frame's record is not taken for one of another colour, format, pitch or place."""
    size_wh = (65, 33)
    box = Letterbox(size_wh, DST_HW)
    _, rows = records(2)
    rows[:] = 0  # what lies between the fields is nobody's
    for colour in (COLOUR, Colour(ColourMatrix.BT601, ColourRange.FULL)):
        for pixel_format in PixelFormat:
            for pitch in (132, 160):
                for place in (1 << 20, 1 << 33):
                    surface = Surface(pixel_format, size_wh, place, pitch, place + 8192, pitch + 2, None, None)
                    letterbox.describe(surface, colour, box, rows[0])
                    tables = letterbox._tables[box]
                    describe_frame(surface, colour, box, (tables.luma, tables.chroma), rows[1].view(FRAME_PARAMS)[0])
                    assert rows[0].tobytes() == rows[1].tobytes(), (colour, pixel_format, pitch, place)


def test_tables_are_bounded_and_the_used_ones_stay(
    letterbox: LetterboxKernel, fake_cuda: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More geometries than there is room for give up the one that was not used for longest."""
    monkeypatch.setattr(kernel_module, "MAX_TABLES", 4)
    _, rows = records(6)
    for row, width in zip(rows[:4], range(10, 14), strict=True):
        describe(letterbox, (width, 9), row)
    describe(letterbox, (10, 9), rows[4])
    assert table_of(rows[4]) == table_of(rows[0])
    describe(letterbox, (99, 9), rows[5])
    live = [fake_cuda.is_live(table_of(row), 2) for row in rows]
    assert live == [True, False, True, True, True, True]


def test_a_table_outlives_the_launch_that_reads_it(
    letterbox: LetterboxKernel, gpu: GpuContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving up a table waits for the launches of all streams: this one has not begun when its table goes."""
    monkeypatch.setattr(kernel_module, "MAX_TABLES", 1)
    surface, expected = surface_of(6, PixelFormat.NV12, (65, 33))
    params, rows = records(2)
    output = Pinned((1, 3, *DST_HW), np.float32)
    other = gpu.open_stream()
    letterbox.describe(surface, COLOUR, Letterbox(surface.size_wh, DST_HW), rows[0])
    letterbox.launch(other, params.buffer, 1, DST_HW, output.address)
    describe(letterbox, (99, 9), rows[1])
    other.sync()
    assert output.array.tobytes() == expected.tobytes()


def test_closing_frees_everything(gpu: GpuContext, stream: Stream, fake_cuda: FakeDriver) -> None:
    """After `close` no device memory is left, also when it is called twice."""
    before = fake_cuda.live().get("device bytes", 0)
    kernel = LetterboxKernel(gpu.device, stream, half=True, cache_dir=None)
    _, rows = records(2)
    describe(kernel, (10, 9), rows[0])
    describe(kernel, (9, 10), rows[1])
    assert fake_cuda.live()["device bytes"] > before
    kernel.close()
    kernel.close()
    stream.sync()
    assert fake_cuda.live().get("device bytes", 0) == before


def test_a_frame_of_another_size_is_refused(letterbox: LetterboxKernel) -> None:
    """The geometry of another frame would be read beyond this one's memory."""
    surface, _ = surface_of(7, PixelFormat.NV12, (10, 9))
    with pytest.raises(ValueError, match=r"expected a frame of \(10, 10\), found \(10, 9\)"):
        letterbox.describe(surface, COLOUR, Letterbox((10, 10), DST_HW), records(1)[1][0])


def test_a_frame_beyond_16_bits_is_refused(letterbox: LetterboxKernel) -> None:
    """Positions that the tables cannot hold are an error, not a wrap-around."""
    with pytest.raises(DeviceError, match="at most 65535 pixels a side"):
        describe(letterbox, (65536, 1), records(1)[1][0])


def test_full_memory_ends_the_run(letterbox: LetterboxKernel, fake_cuda: FakeDriver) -> None:
    """A GPU without memory for a table is an error of the run, and the kernel works once there is some."""
    _, rows = records(1)
    fake_cuda.inject("cuMemAlloc", OUT_OF_MEMORY)
    with pytest.raises(RunError, match="tables cannot be uploaded"):
        describe(letterbox, (10, 9), rows[0])
    describe(letterbox, (10, 9), rows[0])


def test_a_failed_launch_ends_the_run(letterbox: LetterboxKernel, stream: Stream, fake_cuda: FakeDriver) -> None:
    """What the driver says of a launch is not lost."""
    params, _ = records(1)
    fake_cuda.inject("cuLaunchKernel", LAUNCH_FAILED)
    with pytest.raises(RunError, match="kernel cannot be launched"):
        letterbox.launch(stream, params.buffer, 1, DST_HW, params.address)
