# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which decoder brings a camera's frames to the GPU: chosen for each coded sequence, the best that takes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cuda.context import GpuContext, open_gpu, translated_errors
from vision_line.devices.cuda.decoders.ffmpeg import HwDecoder
from vision_line.devices.cuda.decoders.jetson import GstDecoder, check_jetson
from vision_line.devices.cuda.decoders.nvdec import NvDecoder
from vision_line.devices.cuda.decoders.sequence import (
    DecoderRequest,
    DelayWatch,
    SequenceWatch,
    VideoSequence,
    begins_anew,
    read_sequence,
)
from vision_line.devices.cuda.decoders.upload import UploadDecoder
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import Colour
from vision_line.ports import DecodedFrame, Decoder, EncodedVideo, OpenDecoder, VideoPacket

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecoderBackend:
    """One way to the GPU. `can_hurry`: it gives frames at once if it is told that they were held back for nothing."""

    name: str  # what people are shown
    open: Callable[[DecoderRequest], Decoder]
    can_hurry: bool = False


def open_jetson_decoder(request: DecoderRequest) -> UploadDecoder:
    """Open the Jetson's decoder, whose frames come through the host's memory.

    Raises:
        DeviceError: this is no Jetson, or GStreamer cannot decode the sequence.
    """
    check_jetson()
    if request.sequence.has_fields:
        raise DeviceError(f"GStreamer: found {request.sequence}, interlaced, expected whole frames")
    colour, reorders = request.colour or request.sequence.colour, request.sequence.reorders
    return UploadDecoder(request, lambda camera, stream, _: GstDecoder(camera, stream, colour, reorders=reorders))


#: Best first; the last takes everything that FFmpeg decodes, and turns frames as people see them.
BACKENDS = (
    DecoderBackend("NVDEC", NvDecoder, can_hurry=True),
    DecoderBackend("NVDEC through FFmpeg", HwDecoder),
    DecoderBackend("NVDEC through GStreamer, uploaded", open_jetson_decoder),
    DecoderBackend("CPU, uploaded", UploadDecoder),
)


class CudaDecoder:
    """Decodes one camera's stream into surfaces; implements `ports.Decoder`.

    The first keyframe says what the sequence is, and the backends are asked in turn. One that refuses then, with a
    DeviceError, is passed over, so that a missing library or an old GPU costs speed and not the camera. One that fails
    later is damage: it is closed, and the next keyframe chooses again, without a new connection to the camera.
    """

    def __init__(
        self,
        gpu: GpuContext,
        camera: str,
        stream: EncodedVideo,
        colour: Colour | None = None,
        backends: Sequence[DecoderBackend] = BACKENDS,
    ) -> None:
        """Prepare to decode `stream` (`av.VideoStream`) on `gpu`; `colour` overrides what the stream says.

        Raises:
            SourceError: no video (NO_VIDEO), or FFmpeg knows no decoder for it (CODEC_UNSUPPORTED).
        """
        CpuDecoder(camera, stream).close()  # what cannot be decoded there cannot be described here
        gpu.enter()
        self._gpu = gpu
        self._camera = camera
        self._stream = stream
        self._override = colour
        self._backends = tuple(backends)
        self._watch = SequenceWatch(stream)
        self._delay = DelayWatch()  # of the present decoder
        self._held_back = False  # whether the present sequence's frames were held back
        self._chosen: DecoderBackend | None = None
        self._sequence: VideoSequence | None = None
        self._decoder: Decoder | None = None
        self._closed = False

    @property
    def backend(self) -> str:
        """Return the name of what decodes; empty before the first frame and after the end."""
        return self._chosen.name if self._chosen is not None and self._decoder is not None else ""

    @property
    def description(self) -> str:
        """Return what is decoded and by what, in a few words for people; empty before the first frame."""
        return f"{self._sequence}: {self._chosen.name}" if self._sequence and self._chosen else ""

    def decode(self, packet: VideoPacket | None) -> Iterator[DecodedFrame]:
        """Yield the frames that `packet` (`av.Packet`, or None to flush) completes, as `Surface`s."""
        if self._closed:
            raise SourceError(self._camera, SourceErrorCode.ENDED, "the decoder is closed")
        if packet is None or not packet.size:
            yield from self._go_on(None)
        elif self._needs_decoder(packet):
            yield from self._go_on(None)
            yield from self._begin(packet)
        else:
            yield from self._go_on(packet)

    def close(self) -> None:
        """Release the codec; surfaces that are held stay valid. May be called twice."""
        self._closed = True
        self._end()

    def _needs_decoder(self, packet: VideoPacket) -> bool:
        """Whether another sequence begins than the one that the present decoder was opened for."""
        changed = self._watch.note(packet)
        self._held_back = self._held_back and not changed
        if self._decoder is None or self._chosen is None or self._sequence is None:
            return True
        if not packet.is_keyframe:
            return changed
        misordered = self._watch.reorders and not self._sequence.reorders
        hurried = self._watch.went_back and self._sequence.held_back
        return changed or misordered or hurried or self._is_held_back_for_nothing(packet, self._chosen, self._sequence)

    def _is_held_back_for_nothing(self, packet: VideoPacket, chosen: DecoderBackend, sequence: VideoSequence) -> bool:
        """Whether another decoder gives the frames sooner: none was ever reordered, but all were late."""
        can_help = chosen.can_hurry and sequence.codec == "h264" and not (sequence.reorders or self._watch.went_back)
        if not can_help or self._held_back or not self._delay.is_late or not begins_anew(bytes(packet)):
            return False
        logger.info("camera %s: its stream does not say that it reorders nothing; decoding waits no more", self._camera)
        self._held_back = True
        return True

    def _go_on(self, packet: VideoPacket | None) -> Iterator[DecodedFrame]:
        if self._decoder is None:
            return
        try:
            with translated_errors(DeviceError, f"decoding {self.description}"):
                for frame in self._decoder.decode(packet):
                    self._delay.note(packet, frame)
                    yield frame
        except DeviceError as exc:
            logger.warning("camera %s: %s; it goes on at the next keyframe", self._camera, exc)
            self._end()
            raise SourceError(self._camera, SourceErrorCode.CORRUPT, str(exc)) from exc

    def _begin(self, packet: VideoPacket) -> list[DecodedFrame]:
        """Open the best decoder for the sequence that `packet` begins, and decode it."""
        self._end()
        sequence = read_sequence(self._camera, self._stream, packet)
        reorders = sequence.reorders or self._watch.reorders
        sequence = replace(
            sequence, reorders=reorders, held_back=self._held_back and not (reorders or self._watch.went_back)
        )
        self._delay = DelayWatch()
        wanted = DecoderRequest(self._gpu, self._camera, self._stream, self._override, sequence)
        refusals: list[str] = []
        for backend, request in self._ways(wanted):
            try:
                with translated_errors(DeviceError, f"decoding by {backend.name}"):
                    self._decoder = backend.open(request)
                    frames = list(self._decoder.decode(packet))
            except DeviceError as exc:
                refusals.append(str(exc))
                self._end()
            except SourceError:
                self._end()
                raise
            else:
                self._log_choice(backend, request.sequence, refusals)
                return frames
        raise SourceError(self._camera, SourceErrorCode.CODEC_UNSUPPORTED, "; ".join(refusals))

    def _ways(self, request: DecoderRequest) -> Iterator[tuple[DecoderBackend, DecoderRequest]]:
        """Yield what to try, best first: one that cannot hurry may still decode."""
        sequence = request.sequence
        # Only FFmpeg on the CPU turns and crops frames; others would be inspected wrongly without a word.
        for backend in self._backends[-1:] if sequence.turned or sequence.crops_before else self._backends:
            yield backend, request
            if backend.can_hurry and sequence.held_back:
                yield backend, replace(request, sequence=replace(sequence, held_back=False))

    def _log_choice(self, backend: DecoderBackend, sequence: VideoSequence, refusals: list[str]) -> None:
        before = self.description
        self._chosen, self._sequence = backend, sequence
        if self.description != before:
            reasons = f" ({'; '.join(refusals)})" if refusals else ""
            logger.info("camera %s: %s%s", self._camera, self.description, reasons)

    def _end(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None


def decoders_on(index: int) -> OpenDecoder:
    """Return what opens decoders on GPU `index`.

    Raises:
        DeviceError: as `open_gpu`.
    """
    return partial(CudaDecoder, open_gpu(index))
