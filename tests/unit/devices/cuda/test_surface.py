# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames in GPU memory: layout, host copies, and the pool that they come from and return to."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.surface import (
    POOL_SIZE,
    PixelFormat,
    Surface,
    SurfaceLayout,
    SurfacePool,
)

SIZES = [(16, 16), (34, 18), (33, 17), (1, 1)]


def _plane(rng: np.random.Generator, pixel_format: PixelFormat, lines: int, samples: int) -> NDArray[Any]:
    if pixel_format is PixelFormat.NV12:
        return rng.integers(0, 256, (lines, samples), np.uint8)
    return (rng.integers(0, 1024, (lines, samples), np.uint16) << 6).astype(np.uint16)


def _pinned(content: NDArray[np.uint8]) -> Any:
    from cuda.core import LegacyPinnedMemoryResource

    memory = LegacyPinnedMemoryResource().allocate(content.nbytes)
    ctypes.memmove(int(memory.handle), content.ctypes.data, content.nbytes)
    return memory


def _lines_of(frame: Any, index: int, pixel_format: PixelFormat, samples: int) -> NDArray[Any]:
    plane = frame.planes[index]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
    return np.ascontiguousarray(lines[:, : samples * pixel_format.sample_bytes]).view(f"u{pixel_format.sample_bytes}")


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(PixelFormat))
def test_planes_fit_and_do_not_overlap(width: int, height: int, pixel_format: PixelFormat) -> None:
    """Both planes of any size lie one after the other, in whole samples, without a byte to spare or too few."""
    layout = SurfaceLayout(pixel_format, (width, height))

    assert layout.pitch >= width * pixel_format.sample_bytes
    assert layout.pitch % (2 * pixel_format.sample_bytes) == 0
    assert layout.chroma_offset == layout.pitch * height
    assert layout.nbytes == layout.pitch * (height + (height + 1) // 2)


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("padding", [0, 24])
def test_host_copy_is_the_frame(
    gpu: GpuContext, pixel_format: PixelFormat, size_wh: tuple[int, int], padding: int
) -> None:
    """A copy holds what the GPU holds, for odd sizes and any pitch, and waits for the frame to be there."""
    rng = np.random.default_rng(7)
    width, height = size_wh
    chroma_width = (width + 1) // 2 * 2
    luma, chroma = _plane(rng, pixel_format, height, width), _plane(rng, pixel_format, (height + 1) // 2, chroma_width)
    pitch = chroma_width * pixel_format.sample_bytes + padding
    content = np.full((height + len(chroma), pitch), 0xEE, np.uint8)
    content[:height, : width * pixel_format.sample_bytes] = luma.view(np.uint8)
    content[height:, : chroma_width * pixel_format.sample_bytes] = chroma.view(np.uint8)
    source = _pinned(content)
    stream = gpu.open_stream()
    memory = gpu.device.allocate(content.nbytes, stream=stream)
    source.copy_to(memory, stream=stream)  # not waited for here
    base = int(memory.handle)
    surface = Surface(pixel_format, size_wh, base, pitch, base + pitch * height, pitch, stream.record(), memory)

    frame = surface.to_host()

    assert (frame.width, frame.height, frame.format.name) == (width, height, pixel_format.ffmpeg_name)
    np.testing.assert_array_equal(_lines_of(frame, 0, pixel_format, width), luma)
    np.testing.assert_array_equal(_lines_of(frame, 1, pixel_format, chroma_width), chroma)
    stream.sync()


def test_any_thread_may_copy(gpu: GpuContext) -> None:
    """A thread that never called the driver gets its copy, and several do at once."""
    layout = SurfaceLayout(PixelFormat.NV12, (64, 32))
    stream = gpu.open_stream()
    pool = SurfacePool(gpu, stream, layout, "a")
    surface, memory = _taken(pool)
    memory.fill(77, stream=stream)
    pool.mark_filled(surface)
    copies: list[Any] = []

    threads = [threading.Thread(target=lambda: copies.append(surface.to_host())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(copies) == 4
    assert all((copy.to_ndarray() == 77).all() for copy in copies)
    pool.close()


def _taken(pool: SurfacePool) -> tuple[Surface, Any]:
    taken = pool.take()
    assert taken is not None
    return taken


def _pool(gpu: GpuContext, limit: int = 8) -> SurfacePool:
    return SurfacePool(gpu, gpu.open_stream(), SurfaceLayout(PixelFormat.NV12, (32, 16)), "dock-3", limit)


def test_dropped_surfaces_are_used_again(gpu: GpuContext) -> None:
    """Frames that come and go take no new memory, and none is lost."""
    pool = _pool(gpu)
    addresses = set()
    for _ in range(50):
        held = [_taken(pool)[0] for _ in range(POOL_SIZE)]
        addresses |= {surface.luma for surface in held}
        assert pool.held == POOL_SIZE
        del held

    assert (pool.size, pool.grown, pool.held) == (POOL_SIZE, 0, 0)
    assert len(addresses) == POOL_SIZE
    pool.close()


def test_no_two_surfaces_share_memory(gpu: GpuContext) -> None:
    """A frame that is held is never given out a second time."""
    pool = _pool(gpu)
    held = [_taken(pool)[0] for _ in range(6)]

    assert len({surface.luma for surface in held}) == 6
    pool.close()


def test_pool_grows_by_one_up_to_its_limit(gpu: GpuContext, caplog: pytest.LogCaptureFixture) -> None:
    """An empty pool grows by what is needed, says so once, and gives nothing at its limit, which it says once too."""
    pool = _pool(gpu, limit=POOL_SIZE + 2)
    with caplog.at_level("INFO"):
        held = [_taken(pool) for _ in range(POOL_SIZE + 2)]
        refused = [pool.take(), pool.take()]

    assert refused == [None, None]
    assert pool.grown == 2
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "dock-3" in caplog.text
    held.pop()
    assert pool.take() is not None
    pool.close()


def test_surfaces_return_from_any_thread(gpu: GpuContext) -> None:
    """Memory comes back wherever the last reference is dropped."""
    pool = _pool(gpu)
    held = [_taken(pool)[0] for _ in range(POOL_SIZE)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()

    assert pool.held == 0
    pool.close()


def test_surface_outlives_its_pool(gpu: GpuContext) -> None:
    """A frame that is held when its decoder closes stays readable; closing twice is allowed."""
    stream = gpu.open_stream()
    pool = SurfacePool(gpu, stream, SurfaceLayout(PixelFormat.NV12, (32, 16)), "a")
    surface, memory = _taken(pool)
    memory.fill(9, stream=stream)
    pool.mark_filled(surface)
    del memory
    pool.close()
    pool.close()

    assert (surface.to_host().to_ndarray() == 9).all()
