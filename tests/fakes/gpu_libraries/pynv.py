# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PyNvVideoCodec for machines without a GPU: FFmpeg decodes, the frames lie in the (fake) driver's device memory.

It keeps the rules of 2.2 that code can break without noticing: `Decode` overwrites what it returned before, here with
poison first; a packet is a whole frame only if it says so; pts come back as they went in; planes are packed; a
stream that changes its size is scaled to the first; without parameter sets in the packets there is no frame. Of H.264
whose parameter sets do not say how few frames are reordered some are held back, except with ZERO, which gives no pts.
`pynvvideocodec-2.2.4.json` lists the names of the real module, read from the wheel.
"""

from __future__ import annotations

import ctypes
import re
from collections import deque
from enum import IntEnum
from typing import Any, cast
from weakref import WeakSet

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray
from tools.gpu_check.plain_sps import without_vui

POISON = 0xA5
NATIVE_DELAY = 4
LOW_DELAY = 3  # where the stream leaves it open


class PyNvVCException(Exception):  # noqa: N818  the real name
    """A call into NVIDIA's libraries failed."""


class PyNvVCExceptionUnsupported(Exception):  # noqa: N818  the real name
    """The GPU cannot do it."""


class Codec(IntEnum):
    """Codecs that are decoded here."""

    H264 = 4
    HEVC = 8
    AV1 = 11


class ColorType(IntEnum):
    """What comes out."""

    NATIVE = 0
    RGB = 1


class Latency(IntEnum):
    """How many frames are held back."""

    NATIVE = 0
    LOW = 1
    ZERO = 2


class PacketFlag(IntEnum):
    """What a packet is."""

    ENDOFPICTURE = 8


class PixelFormat(IntEnum):
    """How a frame is laid out."""

    NV12 = 3
    P016 = 5


_FFMPEG = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d"}


class PacketData:
    """A piece of the stream; empty at its end. Other attributes than the real one's cannot be set."""

    __slots__ = ("bsl", "bsl_data", "decode_flag", "pts")

    def __init__(self) -> None:
        self.bsl = self.bsl_data = self.decode_flag = self.pts = 0


class DecodedFrame:
    """One frame in the decoder's own memory, until the next `Decode`."""

    def __init__(self, pixel_format: PixelFormat, shape: tuple[int, int], planes: tuple[int, int], pts: int) -> None:
        self.format = pixel_format
        self.shape = shape
        self._planes = planes
        self._pts = pts

    def GetPtrToPlane(self, index: int) -> int:  # noqa: N802  the real name
        """Return a plane's device address."""
        return self._planes[index]

    def getPTS(self) -> int:  # noqa: N802  the real name
        """Return the pts of the packet."""
        return self._pts


class PyNvDecoder:
    """A decoder that owns one buffer for each frame that one call returns."""

    def __init__(self, options: dict[str, Any], library: FakePyNvVideoCodec) -> None:
        from cuda.core import Device, Stream

        self.options = options
        self.first: Any = None  # the first frame: its size and depth are the decoder's
        self._device = Device(options.get("gpuid", 0))
        self._stream = Stream.from_handle(options["cudastream"])
        self._latency = options["latency"]
        self._delay = NATIVE_DELAY if self._latency == Latency.NATIVE else 0
        self._library = library
        self._reader: Any = av.CodecContext.create(_FFMPEG[options["codec"]], "r")
        self._reader.thread_type = "NONE"
        if self._latency != Latency.NATIVE:
            self._reader.flags |= Flags.low_delay
        self._unfinished = b""
        self._unfinished_pts = 0
        self._delayed: deque[Any] = deque()
        self._buffers: list[Any] = []
        self._staging: list[Any] = []  # copies from it may run at any later time

    def __del__(self) -> None:
        """Free its memory, which waits for the GPU."""
        self._stream.sync()

    def Decode(self, packet: PacketData) -> list[DecodedFrame]:  # noqa: N802  the real name
        """Return the frames that are ready; the memory of those returned before is overwritten first."""
        for buffer in self._buffers:
            buffer.fill(POISON, stream=self._stream)
        frames = self._ready(packet)
        return [self._placed(index, frame) for index, frame in enumerate(frames)]

    def _ready(self, packet: PacketData) -> list[Any]:
        data = ctypes.string_at(packet.bsl_data, packet.bsl) if packet.bsl else b""
        if not data:
            decoded = self._decoded(self._unfinished, self._unfinished_pts) + self._drained()
            self._unfinished = b""
            ready, self._delayed = [*self._delayed, *decoded], deque()
            return ready
        whole, pts = self._unfinished, self._unfinished_pts
        if packet.decode_flag & PacketFlag.ENDOFPICTURE:
            whole, pts, self._unfinished = whole + data, packet.pts, b""
        else:
            self._unfinished, self._unfinished_pts = data, packet.pts
        self._delayed.extend(self._decoded(whole, pts))
        if self._latency == Latency.LOW and self.options["codec"] == Codec.H264 and leaves_order_open(whole):
            self._delay = LOW_DELAY
        keep = LOW_DELAY if self._latency == Latency.ZERO and self._library.never_prompt else self._delay
        return [self._delayed.popleft() for _ in range(len(self._delayed) - keep)]

    def _decoded(self, data: bytes, pts: int) -> list[Any]:
        if not data:
            return []
        packet: Any = av.Packet(data)
        packet.pts = pts
        try:
            return list(self._reader.decode(packet))
        except av.FFmpegError:
            return []  # the real parser skips what it does not understand

    def _drained(self) -> list[Any]:
        try:
            return list(self._reader.decode(None))
        except av.error.EOFError:
            return []

    def _placed(self, index: int, frame: Any) -> DecodedFrame:
        frame = self._of_first_size(frame)
        pixel_format, luma, chroma = semiplanar(frame)
        packed = np.concatenate([luma, chroma]).reshape(-1)
        if index == len(self._buffers):
            self._buffers.append(self._device.allocate(packed.nbytes, stream=self._stream))
        self._upload(packed, self._buffers[index])
        base = int(self._buffers[index].handle)
        shape = (int(luma.shape[0] * 1.5), luma.shape[1])
        has_pts = self._latency != Latency.ZERO or self._library.zero_has_pts
        return DecodedFrame(pixel_format, shape, (base, base + luma.nbytes), frame.pts if has_pts else 0)

    def _of_first_size(self, frame: Any) -> Any:
        if self.first is None:
            self.first = frame
        if frame.format.name != self.first.format.name:
            raise PyNvVCException("Reconfigure Not supported for bit depth change")
        if frame.width > self.first.width or frame.height > self.first.height:
            raise PyNvVCException("Reconfigure Not supported when width/height > maxwidth/maxheight")
        if (frame.width, frame.height) == (self.first.width, self.first.height):
            return frame
        pts, scaled = frame.pts, frame.reformat(self.first.width, self.first.height)
        scaled.pts = pts
        return scaled

    def _upload(self, packed: NDArray[Any], buffer: Any) -> None:
        from cuda.core import LegacyPinnedMemoryResource

        pinned = LegacyPinnedMemoryResource().allocate(packed.nbytes)
        ctypes.memmove(int(pinned.handle), packed.ctypes.data, packed.nbytes)
        pinned.copy_to(buffer, stream=self._stream)
        self._staging.append(pinned)


def leaves_order_open(access_unit: bytes) -> bool:
    """Whether H.264 (Annex B) has a parameter set that does not say how many frames are reordered: it ends before."""
    sets = [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", access_unit) if unit and unit[0] & 31 == 7]
    return any(without_vui(unit) == unit for unit in sets)


def semiplanar(frame: Any) -> tuple[PixelFormat, NDArray[Any], NDArray[Any]]:
    """Return FFmpeg's 4:2:0 frame as NVDEC lays it out: luma (h, even w), interleaved chroma of the same width."""
    bits = frame.format.components[0].bits
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    planes = []
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(cast("Any", plane)), dtype).reshape(-1, plane.line_size // dtype().itemsize)
        planes.append(lines[: plane.height, : plane.width])
    width = (frame.width + 1) // 2 * 2
    luma = np.zeros((frame.height, width), dtype)
    luma[:, : frame.width] = planes[0]
    chroma = np.stack(planes[1:], axis=-1).reshape(planes[1].shape[0], -1)
    if bits == 8:
        return PixelFormat.NV12, luma, chroma
    return PixelFormat.P016, luma << (16 - bits), chroma << (16 - bits)


class FakePyNvVideoCodec:
    """The module: `opened` are the decoders' options; `refuse` is raised at opening.

    `zero_has_pts` is so of later versions; with `never_prompt` ZERO holds frames back as well;
    with `refuses_zero` there is none.
    """

    PacketData = PacketData
    cudaVideoCodec = Codec  # noqa: N815  the real name
    OutputColorType = ColorType
    DisplayDecodeLatencyType = Latency
    VideoPacketFlag = PacketFlag
    Pixel_Format = PixelFormat
    PyNvVCException = PyNvVCException
    PyNvVCExceptionUnsupported = PyNvVCExceptionUnsupported

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.alive: WeakSet[PyNvDecoder] = WeakSet()
        self.refuse: Exception | None = None
        self.zero_has_pts = False
        self.never_prompt = False
        self.refuses_zero = False

    def CreateDecoder(  # noqa: N802  the real name
        self,
        *,
        gpuid: int,
        codec: Codec,
        cudacontext: int,
        cudastream: int,
        usedevicememory: bool,
        outputColorType: ColorType,  # noqa: N803  the real name
        latency: Latency,
    ) -> PyNvDecoder:
        """Open a decoder that works on `cudastream`."""
        from cuda.core import Device

        if self.refuse is not None:
            # a new one each time: one that is kept keeps the decoder that it was raised in, and its memory
            raise type(self.refuse)(*self.refuse.args)
        if self.refuses_zero and latency is Latency.ZERO:
            raise PyNvVCExceptionUnsupported("no such latency")
        if cudacontext != int(Device(gpuid).context.handle):
            raise PyNvVCException("cudastream input argument does not correspond to cudacontext argument")
        assert usedevicememory
        assert cudastream
        assert outputColorType is ColorType.NATIVE
        options = {"gpuid": gpuid, "codec": codec, "cudastream": cudastream, "latency": latency}
        decoder = PyNvDecoder(options, self)
        self.opened.append(options)
        self.alive.add(decoder)
        return decoder
