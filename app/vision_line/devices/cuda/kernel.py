# SPDX-License-Identifier: AGPL-3.0-or-later
"""The preprocessing kernel: configured by a record for each frame, launched once for a batch.

Whatever can be computed once is computed here, with the functions of the preprocessing definition; the kernel itself
only adds and multiplies. It gives the bits of `preprocess.letterbox_planes` and `preprocess.normalise`, of P016 from
the upper eight bits of each sample. (FFmpeg dithers when it makes eight bits of ten, so that on average it lies a
quarter of a step above them; rounding would lie a quarter above FFmpeg.)
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cuda.context import translated_errors
from vision_line.devices.cuda.surface import PixelFormat, Surface
from vision_line.devices.preprocessing.definition import colour_coefficients, plan_taps
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Colour
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    from cuda.core import Buffer, Device, Kernel, LaunchConfig, ObjectCode, Program, ProgramOptions, Stream
    from cuda.core.graph import GraphBuilder

#: Pairs of frame and input size whose tap tables stay on the GPU, each of 10 to 50 kB. A batch has 32 at most.
MAX_TABLES = 128

#: Longest side of a frame; tap tables hold 16-bit positions.
MAX_SIDE = 65535

_BLOCK = (32, 8)  # a warp writes 32 neighbouring pixels

_PLANE = np.dtype(
    [
        ("samples", np.uint64),
        ("across", np.uint64),
        ("down", np.uint64),
        ("pitch", np.int32),
        ("across_taps", np.int32),
        ("down_taps", np.int32),
    ],
    align=True,
)

#: The kernel's `FrameParams`, field by field; addresses are the GPU's.
FRAME_PARAMS = np.dtype(
    [
        ("luma", _PLANE),
        ("chroma", _PLANE),
        ("sample_bytes", np.int32),
        ("left", np.int32),
        ("top", np.int32),
        ("width", np.int32),
        ("height", np.int32),
        ("luma_offset", np.int32),
        ("matrix", np.int32, (3, 3)),
    ],
    align=True,
)

#: A frame's record of `FRAME_PARAMS`, as words: (FRAME_WORDS,).
Record = NDArray[np.uint64]
FRAME_WORDS = FRAME_PARAMS.itemsize // np.dtype(np.uint64).itemsize
_LUMA_WORD, _CHROMA_WORD = 0, _PLANE.itemsize // np.dtype(np.uint64).itemsize  # where the planes' `samples` are

TapTable = NDArray[np.uint16]  # (1 + k, outputs): the first of k neighbouring source positions, then k Q15 weights

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).parent / "kernels" / "letterbox.cu"

#: Built kernels kept on disk, in bytes: some 30 kB for each kind of GPU and compiler version.
MAX_CACHE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, eq=False)
class PlaneTaps:
    """Where one plane's two tap tables are (addresses), and how many taps they have."""

    across: int
    down: int
    across_taps: int
    down_taps: int


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """The tap tables of one geometry, in one piece of the GPU's memory, and the records that were made with them.

    Of a camera's frames only the addresses differ: the rest of their record is kept by colour, format and pitches.
    """

    buffer: Buffer
    luma: PlaneTaps
    chroma: PlaneTaps
    records: dict[tuple[Colour, PixelFormat, int, int], Record] = field(default_factory=dict)


class LetterboxKernel:
    """The kernel on one GPU, and the tap tables that it has used. For one thread, in which the GPU is current.

    Batches may be launched on any streams. The tables that a record names stay until `MAX_TABLES` other geometries have
    been described, so fewer than that may be between a record's description and its launch.
    """

    def __init__(self, device: Device, stream: Stream, *, half: bool, cache_dir: Path | None) -> None:
        """Build the kernel, or take it from `cache_dir`; tap tables are uploaded on `stream`.

        Raises:
            DeviceError: the compiler is missing, or too old for this GPU.
        """
        self._device = device
        self._stream = stream
        self._tables: OrderedDict[Letterbox, _Tables] = OrderedDict()
        with translated_errors(DeviceError, "the preprocessing kernel cannot be loaded"):
            code = build_cubin(int(device.arch), cache_dir)
            self._kernel: Kernel = code.get_kernel("letterbox_half" if half else "letterbox_float")

    def describe(self, surface: Surface, colour: Colour, box: Letterbox, out: Record) -> None:
        """Fill `out`, one of `frame_records`, so that a launch letterboxes `surface` as `box` says.

        The first frame of a geometry waits for the upload of its tap tables; the others allocate nothing.

        Raises:
            DeviceError: the frame is larger than any decoder makes.
            RunError: the GPU has no memory left, or has failed.
        """
        if surface.size_wh != box.src_wh:
            raise ValueError(f"letterbox: expected a frame of {box.src_wh}, found {surface.size_wh}")
        tables = self._tables_of(box)
        kind = (colour, surface.format, surface.luma_pitch, surface.chroma_pitch)
        kept = tables.records.get(kind)
        if kept is None:
            record = np.zeros(1, FRAME_PARAMS)
            describe_frame(surface, colour, box, (tables.luma, tables.chroma), record[0])
            kept = tables.records[kind] = record.view(np.uint64)
        out[:] = kept
        upper = surface.format.upper_byte
        out[_LUMA_WORD], out[_CHROMA_WORD] = surface.luma + upper, surface.chroma + upper

    def launch(
        self, stream: Stream | GraphBuilder, params: Buffer, count: int, dst_hw: ShapeHW, output_address: int
    ) -> None:
        """Start making `count` inputs of `dst_hw` on `stream`, or record that in a graph; allocates nothing.

        `params` holds `count` records of this size and is read when the kernel runs. The output is
        (count, 3, h, w), written whole, padding included.

        Raises:
            RunError: the GPU does not take the launch, or has failed before.
        """
        from cuda.core import launch

        height, width = dst_hw
        with translated_errors(RunError, "the preprocessing kernel cannot be launched"):
            launch(
                stream, _grid(count, dst_hw), self._kernel, params, output_address, np.int32(width), np.int32(height)
            )

    def close(self) -> None:
        """Free the tap tables; every launch has ended. May be called twice."""
        while self._tables:
            self._tables.popitem()[1].buffer.close()

    def _tables_of(self, box: Letterbox) -> _Tables:
        tables = self._tables.get(box)
        if tables is None:
            with translated_errors(RunError, "the preprocessing kernel's tables cannot be uploaded"):
                self._make_room()
                tables = self._tables[box] = _upload_tables(box, self._device, self._stream)
        else:
            self._tables.move_to_end(box)
        return tables

    def _make_room(self) -> None:
        """Give up the table that was not used for longest, when there are as many as may be."""
        if len(self._tables) >= MAX_TABLES:
            _wait_for_all_streams()  # a launch on any of them may still read it
            self._tables.popitem(last=False)[1].buffer.close()


def _wait_for_all_streams() -> None:
    from cuda.bindings import driver  # cuda.core's Device.sync asks the runtime library, which nothing else needs

    (code,) = driver.cuCtxSynchronize()
    if code != 0:
        raise RunError(f"cuda: the GPU failed before: {code.name}")


def compact_taps(src: int, dst: int) -> TapTable:
    """Return `preprocess.plan_taps` in the form that the kernel reads: only taps inside the source, and few of them."""
    taps = plan_taps(src, dst)
    used = taps.weight > 0
    lowest = np.where(used, taps.index, src).min(axis=1)
    highest = np.where(used, taps.index, -1).max(axis=1)
    count = int((highest - lowest).max()) + 1
    first = np.minimum(lowest, src - count)
    table = np.zeros((1 + count, dst), np.int32)
    table[0] = first
    output, tap = np.nonzero(used)
    np.add.at(table, (1 + taps.index[output, tap] - first[output], output), taps.weight[output, tap])
    return table.astype(np.uint16)


def plan_tables(box: Letterbox) -> tuple[TapTable, TapTable, TapTable, TapTable]:
    """Return the tap tables of a 4:2:0 frame: luma across and down, chroma across and down."""
    (src_width, src_height), (width, height) = box.src_wh, box.content_wh
    return (
        compact_taps(src_width, width),
        compact_taps(src_height, height),
        compact_taps((src_width + 1) // 2, width),
        compact_taps((src_height + 1) // 2, height),
    )


def _upload_tables(box: Letterbox, device: Device, stream: Stream) -> _Tables:
    from cuda.core import Buffer

    if max(box.src_wh) > MAX_SIDE:
        raise DeviceError(f"cuda: expected frames of at most {MAX_SIDE} pixels a side, found {box.src_wh}")
    tables = plan_tables(box)
    packed = np.concatenate([table.ravel() for table in tables])
    buffer = device.allocate(packed.nbytes, stream=stream)
    Buffer.from_handle(packed.ctypes.data, packed.nbytes, owner=packed).copy_to(buffer, stream=stream)
    stream.sync()  # launches may be on other streams
    starts = int(buffer.handle) + np.cumsum([0, *(table.nbytes for table in tables[:-1])])
    addresses = starts.tolist()
    taps = [len(table) - 1 for table in tables]
    return _Tables(buffer, PlaneTaps(*addresses[:2], *taps[:2]), PlaneTaps(*addresses[2:], *taps[2:]))


def frame_records(memory: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the records (n, FRAME_WORDS) that lie in `memory`."""
    return memory.view(np.uint64).reshape(-1, FRAME_WORDS)


def describe_frame(
    surface: Surface, colour: Colour, box: Letterbox, taps: tuple[PlaneTaps, PlaneTaps], out: np.void
) -> None:
    """Fill `out`, a record of `FRAME_PARAMS`; `taps` are those of luma and chroma."""
    sample_bytes, upper = surface.format.sample_bytes, surface.format.upper_byte
    _describe_plane(out["luma"], surface.luma + upper, surface.luma_pitch, taps[0])
    _describe_plane(out["chroma"], surface.chroma + upper, surface.chroma_pitch, taps[1])
    out["sample_bytes"] = sample_bytes
    out["left"], out["top"] = box.left_top
    out["width"], out["height"] = box.content_wh
    out["matrix"], luma_offset = colour_coefficients(colour.matrix, colour.range)
    out["luma_offset"] = luma_offset * 64


def _describe_plane(out: np.void, samples: int, pitch: int, taps: PlaneTaps) -> None:
    out["samples"] = samples
    out["across"] = taps.across
    out["down"] = taps.down
    out["pitch"] = pitch
    out["across_taps"] = taps.across_taps
    out["down_taps"] = taps.down_taps


@lru_cache(maxsize=128)
def _grid(count: int, dst_hw: ShapeHW) -> LaunchConfig:
    from cuda.core import LaunchConfig

    return LaunchConfig(grid=(-(-dst_hw[1] // _BLOCK[0]), -(-dst_hw[0] // _BLOCK[1]), count), block=_BLOCK)


def program_options(sm: int) -> ProgramOptions:
    """Return how the kernel is compiled for compute capability `sm` (86 for 8.6): floats are never contracted."""
    from cuda.core import ProgramOptions

    return ProgramOptions(name=SOURCE.name, std="c++17", arch=f"sm_{sm}", fma=False)


def build_cubin(sm: int, cache_dir: Path | None) -> ObjectCode:
    """Return the kernels as machine code for compute capability `sm`, which needs no GPU.

    Machine code is made, not PTX: drivers refuse the PTX of compilers that are newer than they are.
    `cache_dir` keeps it by source, options, target and compiler version; it may be shared, and deleted at any time.
    Where it cannot be written the kernel is built at every start.

    Raises:
        DeviceError: there is no NVRTC, it knows no GPU of this generation, or it does not take the source.
    """
    from cuda.core import Program

    with translated_errors(DeviceError, "the preprocessing kernel cannot be built"):
        program = Program(SOURCE.read_text(encoding="utf-8"), "c++", program_options(_target(sm)))
        with closing(program):
            return _compiled(program, cache_dir)


def _compiled(program: Program, cache_dir: Path | None) -> ObjectCode:
    from cuda.core.utils import FileStreamProgramCache

    if cache_dir is not None:
        try:
            return program.compile("cubin", cache=FileStreamProgramCache(cache_dir, max_size_bytes=MAX_CACHE_BYTES))
        except OSError as exc:
            logger.warning(
                "the preprocessing kernel cannot be cached in %s, and is compiled at each start: %s", cache_dir, exc
            )
    return program.compile("cubin")


def _target(sm: int) -> int:
    """Return `sm` itself, or the newest that its hardware runs too among what the compiler knows."""
    from cuda.bindings import nvrtc

    try:
        _, major, minor = nvrtc.nvrtcVersion()
    except RuntimeError as exc:  # what the loader raises when there is no such library
        raise DeviceError(f"cuda: the compiler NVRTC is missing: install nvidia-cuda-nvrtc ({exc})") from exc
    known = [known for known in nvrtc.nvrtcGetSupportedArchs()[1] if known // 10 == sm // 10 and known <= sm]
    if not known:
        raise DeviceError(
            f"cuda: NVRTC {major}.{minor} makes no code for compute capability {sm / 10}: update nvidia-cuda-nvrtc"
        )
    return int(max(known))
