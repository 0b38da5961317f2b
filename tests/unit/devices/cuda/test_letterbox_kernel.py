# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kernel's source, run by the CPU under sanitizers, gives the bits of the preprocessing definition."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fakes.host_kernel import (
    HostCheck,
    HostFrame,
    build_host_check,
    build_host_kernel,
    missing,
)

from vision_line.devices.cuda.kernel import FRAME_PARAMS, PlaneTaps, compact_taps, describe_frame, plan_tables
from vision_line.devices.cuda.surface import PixelFormat, Surface
from vision_line.devices.preprocessing.definition import Planes, letterbox_planes, normalise, plan_taps
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.frames import Colour, ColourMatrix, ColourRange

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

GREY = Colour(ColourMatrix.BT601, ColourRange.FULL)


@dataclass(frozen=True)
class NoiseFrame:
    """A random frame: `spare` bytes lie between the lines of its luma and its chroma plane."""

    format: PixelFormat
    size_wh: tuple[int, int]
    spare: tuple[int, int]
    colour: Colour
    seed: int
    extremes: bool = False

    def planes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the lines of luma and chroma as bytes, with noise between them."""
        random = np.random.default_rng(self.seed)
        width, height = self.size_wh
        sizes = ((height, width), ((height + 1) // 2, (width + 1) // 2 * 2))
        luma, chroma = (
            random.integers(0, 256, (lines, samples * self.format.sample_bytes + spare), np.uint8)
            for (lines, samples), spare in zip(sizes, self.spare, strict=True)
        )
        if self.extremes:
            luma, chroma = (luma >> 7) * np.uint8(255), (chroma >> 7) * np.uint8(255)
        return luma, chroma

    def as_defined(self, dst_hw: tuple[int, int]) -> NDArray[np.float32]:
        """Return what the definition makes of it, (3, h, w)."""
        step = self.format.sample_bytes
        (luma, chroma), (width, height) = self.planes(), self.size_wh
        chroma = chroma[:, : (width + 1) // 2 * 2 * step]
        planes = (
            luma[:height, step - 1 : width * step : step],
            chroma[:, step - 1 :: 2 * step],
            chroma[:, 2 * step - 1 :: 2 * step],
        )
        batch = normalise(letterbox_planes(Planes(planes), self.colour, dst_hw))
        return batch.reshape(3, *dst_hw)

    def as_host_frame(self, dst_hw: tuple[int, int]) -> HostFrame:
        """Return it as the kernel gets it; the last line of a plane ends with its last sample."""
        luma, chroma = self.planes()
        box = Letterbox(self.size_wh, dst_hw)
        tables = plan_tables(box)
        taps = [len(table) - 1 for table in tables]
        surface = Surface(self.format, self.size_wh, 0, luma.shape[1], 0, chroma.shape[1], None, None)
        record = np.zeros(1, FRAME_PARAMS)[0]
        describe_frame(surface, self.colour, box, (PlaneTaps(0, 0, *taps[:2]), PlaneTaps(0, 0, *taps[2:])), record)
        first, second, third, fourth = (table.tobytes() for table in tables)
        luma_bytes, chroma_bytes = (
            plane.tobytes()[: plane.size - spare] for plane, spare in zip((luma, chroma), self.spare, strict=True)
        )
        return HostFrame(record, luma_bytes, chroma_bytes, (first, second, third, fourth))


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostCheck]:
    """Give the kernel under the sanitizers; that they found nothing is seen at its end."""
    with HostCheck(build_host_check(tmp_path_factory.mktemp("kernel"))) as process:
        yield process


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Give the kernel as a library."""
    return ctypes.CDLL(str(build_host_kernel(tmp_path_factory.mktemp("kernel"))))


def sides(largest: int) -> st.SearchStrategy[int]:
    return st.integers(1, 5) | st.integers(1, largest)


noise_frames = st.builds(
    NoiseFrame,
    format=st.sampled_from(PixelFormat),
    size_wh=st.tuples(sides(160), sides(160)),
    spare=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    colour=st.builds(Colour, st.sampled_from(ColourMatrix), st.sampled_from(ColourRange)),
    seed=st.integers(0, 2**32 - 1),
    extremes=st.booleans(),
)


def assert_same_bits(check: HostCheck, batch: Sequence[NoiseFrame], dst_hw: tuple[int, int]) -> None:
    expected = np.stack([frame.as_defined(dst_hw) for frame in batch])
    frames = [frame.as_host_frame(dst_hw) for frame in batch]
    assert check.run(frames, dst_hw, half=False).tobytes() == expected.tobytes()
    assert check.run(frames, dst_hw, half=True).tobytes() == expected.astype(np.float16).tobytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=st.lists(noise_frames, min_size=1, max_size=3), dst_hw=st.tuples(sides(70), sides(70)))
def test_batches_have_the_bits_of_the_definition(
    check: HostCheck, batch: list[NoiseFrame], dst_hw: tuple[int, int]
) -> None:
    """Any sizes, pitches, formats and colours in one batch, both outputs, and no access beside any memory."""
    assert_same_bits(check, batch, dst_hw)


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize(
    ("size_wh", "dst_hw"), [((1920, 1080), (96, 160)), ((1280, 960), (640, 640)), ((3840, 2160), (16, 16))]
)
def test_cameras_have_the_bits_of_the_definition(
    check: HostCheck, pixel_format: PixelFormat, size_wh: tuple[int, int], dst_hw: tuple[int, int]
) -> None:
    """Frames as large as cameras send, down to hundreds of taps for one output pixel."""
    assert_same_bits(check, [NoiseFrame(pixel_format, size_wh, (64, 0), GREY, seed=1)], dst_hw)


def test_every_byte_becomes_the_definitions_number(library: ctypes.CDLL) -> None:
    """All 256 values come out as float32 and as float16, called as a driver calls, with nothing written beside."""
    box = Letterbox((16, 16), (16, 16))
    luma = np.arange(256, dtype=np.uint8)
    chroma = np.full(128, 128, np.uint8)
    tables = plan_tables(box)
    taps = [PlaneTaps(*(t.ctypes.data for t in pair), *(len(t) - 1 for t in pair)) for pair in (tables[:2], tables[2:])]
    records = np.zeros(1, FRAME_PARAMS)
    surface = Surface(PixelFormat.NV12, (16, 16), luma.ctypes.data, 16, chroma.ctypes.data, 16, None, None)
    describe_frame(surface, GREY, box, (taps[0], taps[1]), records[0])
    expected = normalise(np.repeat(luma.reshape(16, 16, 1), 3, axis=2)).ravel()
    for name, numbers in (("float", expected), ("half", expected.astype(np.float16))):
        guarded = np.full(numbers.size + 64, -7, numbers.dtype)
        output = guarded[32:-32]
        call(library, f"host_letterbox_{name}", records, output, (1, 2, 1), (16, 16))
        assert output.tobytes() == numbers.tobytes()
        assert (guarded[:32] == -7).all()
        assert (guarded[-32:] == -7).all()


def call(
    library: ctypes.CDLL,
    name: str,
    records: NDArray[np.void],
    output: NDArray[np.floating],
    grid: tuple[int, int, int],
    dst_hw: tuple[int, int],
) -> None:
    parameters = [
        ctypes.c_void_p(records.ctypes.data),
        ctypes.c_void_p(output.ctypes.data),
        ctypes.c_int(dst_hw[1]),
        ctypes.c_int(dst_hw[0]),
    ]
    pointers = (ctypes.c_void_p * 4)(*(ctypes.addressof(parameter) for parameter in parameters))
    library[name](pointers, (ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(32, 8, 1))


def test_records_lie_as_the_compiler_lays_them(library: ctypes.CDLL) -> None:
    """Sizes and offsets of the host's record are those of the kernel's struct, in the same order."""
    plane = FRAME_PARAMS["luma"]
    for name, dtype in (("plane_layout", plane), ("frame_layout", FRAME_PARAMS)):
        assert dtype.fields is not None
        offsets = [dtype.itemsize, *(field[1] for field in dtype.fields.values())]
        layout = (ctypes.c_size_t * len(offsets)).in_dll(library, name)
        assert list(layout) == offsets
        assert ctypes.c_size_t.in_dll(library, f"{name}_size").value == ctypes.sizeof(layout)


@given(src=st.integers(1, 2000), dst=st.integers(1, 300))
def test_compact_tables_say_what_the_plan_says(src: int, dst: int) -> None:
    """Each output has the plan's weights at the plan's positions, and no tap outside the source."""
    table = compact_taps(src, dst)
    first, weights = table[0].astype(int), table[1:].astype(int)
    assert (first + len(weights) <= src).all()
    taps = plan_taps(src, dst)
    for output in range(dst):
        planned = np.bincount(taps.index[output], taps.weight[output], src)
        compact = np.zeros(src)
        compact[first[output] : first[output] + len(weights)] = weights[:, output]
        assert (planned == compact).all()


def test_tables_are_no_wider_than_the_frame_needs() -> None:
    """A third of the size takes three taps, enlarging takes two, the same size one."""
    assert [len(compact_taps(src, dst)) - 1 for src, dst in ((1920, 640), (320, 640), (640, 640), (1, 9))] == [
        3,
        2,
        1,
        1,
    ]


def test_the_source_needs_no_headers() -> None:
    """NVRTC gets the file alone, so it includes nothing."""
    source = Path(__file__).parents[4] / "app/vision_line/devices/cuda/kernels/letterbox.cu"
    assert "#include" not in source.read_text(encoding="utf-8")
