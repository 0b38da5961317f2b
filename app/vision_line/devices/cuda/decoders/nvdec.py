# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's own decoder through PyNvVideoCodec: a camera's packets into surfaces, on a stream of ours.

What PyNvVideoCodec 2.2 does, and what follows from it here:

* `Decode` overwrites what the call before returned. It does so on our stream; so a copy that was enqueued on the same
  stream before that call reads the old frame, and nothing has to be waited for.
* It changes over to another frame size in the same stream by scaling to the first one, without a word. So each
  sequence gets a decoder of its own, and a frame of another size than the sequence's is an error.
* With `LOW` latency a frame comes out of the call that its packet went into, if that is marked as a whole frame; but
  not in H.264 that does not say how few frames it reorders, as many cameras do not: of such the parser holds frames
  back, though it reorders none. `ZERO` goes past its order. Who finds out that frames are held back opens the next
  decoder with it. Some versions give its frames without the numbers of their packets: they are those of the newest.
* `LOW` and `ZERO` put reordered frames out wrongly, so sequences that reorder are decoded with `NATIVE`: some later.
* Fields are deinterlaced, where the CPU's decoder weaves them: other decoders take those.
  Cropping on the left and above is ignored: it goes to the CPU.
* Damage inside a frame is concealed, and reported on standard output only: frames are `corrupt` here only where the
  packet was.
"""

from __future__ import annotations

import importlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from vision_line.devices.cuda.decoders.decoder_caps import decoder_caps
from vision_line.devices.cuda.decoders.sequence import DecoderRequest, SelfContained, VideoSequence
from vision_line.devices.cuda.surface import POOL_LIMIT, PixelFormat, Surface, SurfaceLayout, SurfacePool
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.packages import install_extra
from vision_line.ports import DecodedFrame, VideoPacket

if TYPE_CHECKING:
    from cuda.core import Buffer

logger = logging.getLogger(__name__)

#: FFmpeg's name of a codec -> the member of `cudaVideoCodec`. JPEG is decoded by the SMs there: the CPU does it here.
CODECS = {"h264": "H264", "hevc": "HEVC", "av1": "AV1"}

_BITS = frozenset({8, 10, 12})
_MAX_INSIDE = 64  # frames whose packets are remembered until they come out


def load_pynvvideocodec() -> ModuleType:
    """Return the module PyNvVideoCodec; it can be imported only where NVIDIA's driver is.

    Raises:
        DeviceError: it is not installed, or the driver or its video part is missing.
    """
    try:
        return importlib.import_module("PyNvVideoCodec")
    except ModuleNotFoundError as exc:
        raise DeviceError(f"PyNvVideoCodec is not installed: {install_extra('cuda')}") from exc
    except (ImportError, OSError, RuntimeError) as exc:
        reason = str(exc).strip().split("\n")[0]
        raise DeviceError(
            f"PyNvVideoCodec cannot be loaded: {reason}; a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility,"
            "video"
        ) from exc


def check_support(sequence: VideoSequence) -> None:
    """Check that the decoder of the GPU that is current can take the sequence.

    Raises:
        DeviceError: it cannot, and why.
    """
    if sequence.codec not in CODECS:
        raise DeviceError(f"NVDEC: found {sequence.codec}, expected one of {', '.join(CODECS)}")
    if not sequence.is_420 or sequence.bits not in _BITS:
        raise DeviceError(f"NVDEC: found {sequence}, expected 4:2:0 of 8, 10 or 12 bit")
    if sequence.has_fields:
        raise DeviceError(f"NVDEC: found {sequence}, interlaced, expected whole frames")
    caps = decoder_caps(sequence.codec, sequence.bits)
    if not caps.supported:
        raise DeviceError(f"NVDEC: this GPU does not decode {sequence.codec} of {sequence.bits} bit")
    width, height = sequence.size_wh
    (least_width, least_height), (most_width, most_height) = caps.least_wh, caps.most_wh
    if not (least_width <= width <= most_width and least_height <= height <= most_height):
        raise DeviceError(
            f"NVDEC: found {sequence}, expected {least_width}x{least_height} to {most_width}x{most_height}"
        )
    if (width + 15) // 16 * ((height + 15) // 16) > caps.most_macroblocks:
        raise DeviceError(f"NVDEC: found {sequence}, expected at most {caps.most_macroblocks} macroblocks")


class _NativeFrame(Protocol):
    """PyNvVideoCodec's frame, valid until its decoder's next `Decode`."""

    format: object
    shape: Sequence[int]

    def GetPtrToPlane(self, index: int) -> int:  # noqa: N802  PyNvVideoCodec's name
        """Return where a plane lies on the GPU."""

    def getPTS(self) -> int:  # noqa: N802  PyNvVideoCodec's name
        """Return the time that its packet came with."""


class _NativeDecoder(Protocol):
    """PyNvVideoCodec's decoder."""

    def Decode(self, data: object) -> Iterable[_NativeFrame]:  # noqa: N802  the same
        """Return the frames that come out when `data`, a `PacketData`, goes in."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What is known of a frame before it is decoded."""

    pts_s: float | None
    keyframe: bool
    corrupt: bool


_UNKNOWN = _Origin(None, keyframe=False, corrupt=False)


class NvDecoder:
    """Decodes one sequence of one camera on NVDEC; implements `ports.Decoder`."""

    def __init__(self, request: DecoderRequest, nvc: ModuleType | None = None) -> None:
        """Open the decoder with a stream and surfaces of its own; `nvc` is the module PyNvVideoCodec.

        Raises:
            DeviceError: the library is missing, or the GPU cannot decode the sequence.
        """
        # the first attribute, so that it goes before the stream that it works on
        self._decoder: _NativeDecoder | None = None
        self._nvc = load_pynvvideocodec() if nvc is None else nvc
        self._request = request
        self._sequence = sequence = request.sequence
        check_support(sequence)
        self._layout = SurfaceLayout(PixelFormat.NV12 if sequence.bits == 8 else PixelFormat.P016, sequence.size_wh)
        self._packets = SelfContained(request.camera, request.stream)
        self._stream = request.gpu.open_stream()
        self.pool = SurfacePool(request.gpu, self._stream, self._layout, request.camera, POOL_LIMIT)
        self._number = 0
        self._inside: OrderedDict[int, _Origin] = OrderedDict()
        self._latency = _latency(sequence)
        self._decoder = self._open_decoder()

    @property
    def latency(self) -> str:
        """Return the decoder's latency mode."""
        return self._latency

    def decode(self, packet: VideoPacket | None) -> list[DecodedFrame]:
        """Return the frames that `packet` (None to flush) completes; all are on their way into their surfaces."""
        whole = None if packet is None else self._packets.complete(packet)
        data = self._nvc.PacketData()  # empty: the end of the stream
        if whole is not None:
            data.bsl_data, data.bsl = whole.buffer_ptr, whole.buffer_size
            data.pts = self._remember(whole)
            data.decode_flag = int(self._nvc.VideoPacketFlag.ENDOFPICTURE)
        frames = self._decoded(data)  # has read `whole`, which lives until here, when it returns
        if whole is not None and not frames and self._number == 1 and self._latency == "ZERO":
            # it does not give the frame at once all the same, and later ones would get the times of others
            logger.info("camera %s: NVDEC holds frames back whatever it is told", self._request.camera)
            self._latency = "LOW"
            self._decoder = self._open_decoder()
            frames = self._decoded(data)
        return [self._keep(frame, origin) for frame, origin in zip(frames, self._origins(frames), strict=True)]

    def close(self) -> None:
        """Release the decoder; surfaces that are held stay valid. May be called twice."""
        if self._decoder is not None:
            self._decoder = None
            self.pool.close()

    def _decoded(self, data: object) -> Sequence[_NativeFrame]:
        if self._decoder is None:
            raise SourceError(self._request.camera, SourceErrorCode.ENDED, "the decoder is closed")
        try:
            return tuple(self._decoder.Decode(data))
        except _errors(self._nvc) as exc:
            raise DeviceError(f"NVDEC: {self._sequence}: {_first_line(exc)}") from exc

    def _open_decoder(self) -> _NativeDecoder:
        nvc, gpu = self._nvc, self._request.gpu
        try:
            decoder: _NativeDecoder = nvc.CreateDecoder(
                gpuid=gpu.index,
                codec=getattr(nvc.cudaVideoCodec, CODECS[self._sequence.codec]),
                cudacontext=int(gpu.device.context.handle or 0),  # 0: the primary context
                cudastream=int(self._stream.handle),
                usedevicememory=True,
                outputColorType=nvc.OutputColorType.NATIVE,
                latency=getattr(nvc.DisplayDecodeLatencyType, self.latency),
            )
        except _errors(nvc) as exc:
            raise DeviceError(f"NVDEC: {self._sequence}: {_first_line(exc)}") from exc
        return decoder

    def _remember(self, packet: VideoPacket) -> int:
        """Note a packet's time and flags under the number that travels through the decoder as its pts."""
        self._number += 1
        pts_s = None if packet.pts is None else float(packet.pts * packet.time_base)
        self._inside[self._number] = _Origin(pts_s, bool(packet.is_keyframe), bool(packet.is_corrupt))
        if len(self._inside) > _MAX_INSIDE:
            self._inside.popitem(last=False)
        return self._number

    def _origins(self, frames: Sequence[_NativeFrame]) -> list[_Origin]:
        """Return what is known of frames that came out together, and forget it."""
        numbers = [frame.getPTS() for frame in frames]
        if self._latency == "ZERO" and frames and not all(number in self._inside for number in numbers):
            # They are those of the newest packets: nothing was held back, so older ones gave none and never will.
            newest = list(self._inside.values())[-len(frames) :]
            self._inside.clear()
            return [_UNKNOWN] * (len(frames) - len(newest)) + newest
        return [self._inside.pop(number, _UNKNOWN) for number in numbers]

    def _keep(self, frame: _NativeFrame, origin: _Origin) -> DecodedFrame:
        self._check(frame)
        taken = self.pool.take()
        if taken is None:
            raise SourceError(
                self._request.camera, SourceErrorCode.CORRUPT, f"all {self.pool.size} of its frames are held"
            )
        surface, memory = taken
        self._copy(frame, memory, surface)
        return DecodedFrame(
            data=surface,
            size_wh=surface.size_wh,
            colour=self._request.colour or self._sequence.colour,
            keyframe=origin.keyframe,
            corrupt=origin.corrupt,
            pts_s=origin.pts_s,
        )

    def _copy(self, frame: _NativeFrame, memory: Buffer, surface: Surface) -> None:
        """Enqueue the copy of both planes, which lie in the decoder's memory just as in ours."""
        from cuda.core import Buffer

        source = Buffer.from_handle(frame.GetPtrToPlane(0), self._layout.nbytes, owner=frame)
        source.copy_to(memory, stream=self._stream)
        self.pool.mark_filled(surface)

    def _check(self, frame: _NativeFrame) -> None:
        """Refuse a frame that is not laid out as the sequence says: a copy would shear, or read beyond its end.

        Raises:
            DeviceError: found, expected.
        """
        height = self._layout.size_wh[1]
        expected = (int(height * 1.5), self._layout.pitch // self._layout.format.sample_bytes)
        pixel_format = getattr(self._nvc.Pixel_Format, self._layout.format.name)
        offset = frame.GetPtrToPlane(1) - frame.GetPtrToPlane(0)
        if tuple(frame.shape) != expected or frame.format != pixel_format or offset != self._layout.chroma_offset:
            found = f"{frame.format} {tuple(frame.shape)}, chroma at {offset}"
            raise DeviceError(f"NVDEC: found {found}, expected {pixel_format} {expected}, {self._layout.chroma_offset}")


def _latency(sequence: VideoSequence) -> str:
    """Return the mode that gives a sequence's frames in their order, and soonest."""
    if sequence.reorders:
        return "NATIVE"
    # Only H.264 leaves it open how many frames are reordered. Of AV1 `ZERO` would also give frames that are not shown.
    return "ZERO" if sequence.held_back and sequence.codec == "h264" else "LOW"


def _errors(nvc: ModuleType) -> tuple[type[Exception], ...]:
    return (nvc.PyNvVCException, nvc.PyNvVCExceptionUnsupported, RuntimeError)


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n")[0]
