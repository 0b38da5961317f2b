# SPDX-License-Identifier: AGPL-3.0-or-later
"""Decoding through a GStreamer element: on a Jetson its hardware decoder, which no other library reaches there.

NVIDIA's video libraries for Python and FFmpeg do not decode on Jetson Orin; the GStreamer element `nvv4l2decoder` does.
This adapter feeds such an element packet by packet and takes NV12 frames in the host's memory from it. Its limits:

* it has been run with software decoders in the element's place, and never on a Jetson;
* each frame is copied from the hardware's memory to the host's, though on a Jetson both are one;
* GStreamer decodes in threads of its own; a frame that is not there in time comes with a later packet;
* damage inside a frame is the element's affair: frames are `corrupt` only where the packet was.
"""

from __future__ import annotations

import ctypes
import importlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cuda.decoders.sequence import SelfContained, codec_of
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.ports import DecodedFrame, EncodedVideo, VideoPacket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from av.video.plane import VideoPlane
    from gi.repository import Gst

    from vision_line.frames import Colour

_PARSERS = {"h264": ("h264parse", "video/x-h264"), "hevc": ("h265parse", "video/x-h265")}
_RELEASE = Path("/etc/nv_tegra_release")
_INSTALL = "apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-bad"
_OPENING_S = 3.0  # the decoder is opened while the first frame waits
_WAIT_S = 0.2  # for a frame that should be there: longer than any decoding
_MAX_INSIDE = 64


@dataclass(frozen=True, slots=True)
class Elements:
    """The elements that decode and that bring the frame to the host's memory as NV12."""

    decoder: str
    converter: str


JETSON = Elements("nvv4l2decoder", "nvvidconv")


def check_jetson() -> None:
    """Check that this is a Jetson.

    Raises:
        DeviceError: it is not.
    """
    if not _RELEASE.exists():
        raise DeviceError(f"{JETSON.decoder}: this is no Jetson")


@dataclass(frozen=True, slots=True)
class _Origin:
    """What is known of a frame before it is decoded."""

    pts_s: float | None
    keyframe: bool
    corrupt: bool


class GstDecoder:
    """Decodes one camera's packets with GStreamer; implements `ports.Decoder`, with `av.VideoFrame`s in NV12."""

    def __init__(
        self,
        camera: str,
        stream: EncodedVideo,
        colour: Colour,
        *,
        reorders: bool = False,
        elements: Elements = JETSON,
        opening_s: float = _OPENING_S,
    ) -> None:
        """Start a pipeline for the packets of `stream` (`av.VideoStream`, H.264 or H.265), each a whole frame.

        `colour` is that of all frames. Without `reorders` the decoder is told to hold no frame back, if it can be.
        The first frame is waited for up to `opening_s`.

        Raises:
            DeviceError: GStreamer, its Python binding or an element is missing, or the codec is another.
        """
        self._camera = camera
        self._colour = colour
        self._gst, self._video, self._glib = _load_gstreamer()
        codec = codec_of(stream)
        if codec not in _PARSERS:
            raise DeviceError(f"{elements.decoder}: found {codec}, expected one of {', '.join(_PARSERS)}")
        self._name = f"{elements.decoder} ({codec})"
        self._packets = SelfContained(camera, stream)
        self._pipeline = self._open(codec, elements, reorders=reorders)
        self._source = self._pipeline.get_by_name("packets")
        self._sink = self._pipeline.get_by_name("frames")
        self._origins: OrderedDict[int, _Origin] = OrderedDict()
        self._inside = 0  # packets whose frames have not come out
        self._usual = 0  # as many stay inside without being late
        self._wait_s = opening_s

    def decode(self, packet: VideoPacket | None) -> list[DecodedFrame]:
        """Return the frames that are ready; waits for that of `packet` (None to flush, which ends the decoder)."""
        if self._pipeline is None:
            raise SourceError(self._camera, SourceErrorCode.ENDED, "the decoder is closed")
        if packet is None:
            self._source.end_of_stream()
            self._usual = 0
        else:
            self._push(self._packets.complete(packet))
        frames = []
        while (sample := self._pull()) is not None:
            frames.append(self._decoded(sample))
        self._check_bus()
        return frames

    def close(self) -> None:
        """Stop the pipeline and its threads; may be called twice."""
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pipeline = self._source = self._sink = None

    def _open(self, codec: str, elements: Elements, *, reorders: bool) -> Gst.Pipeline:
        parser, media = _PARSERS[codec]
        for name in (parser, elements.decoder, elements.converter):
            if self._gst.ElementFactory.find(name) is None:
                raise DeviceError(f"{self._name}: GStreamer has no element {name}")
        try:
            pipeline = self._gst.parse_launch(
                f"appsrc name=packets format=time is-live=true caps={media},stream-format=byte-stream,alignment=au"
                f" ! {parser} ! {elements.decoder} name=decoder ! {elements.converter} ! video/x-raw,format=NV12"
                f" ! appsink name=frames sync=false max-buffers={_MAX_INSIDE}"
            )
        except self._glib.Error as exc:
            raise DeviceError(f"{self._name}: {exc.message}") from exc
        decoder = pipeline.get_by_name("decoder")
        if not reorders and decoder.find_property("disable-dpb") is not None:
            decoder.set_property("disable-dpb", True)
        pipeline.set_state(self._gst.State.PLAYING)
        return pipeline

    def _push(self, packet: VideoPacket) -> None:
        pts_s = None if packet.pts is None else float(packet.pts * packet.time_base)
        buffer = self._gst.Buffer.new_wrapped(bytes(packet))
        if pts_s is not None:
            buffer.pts = round(pts_s * 1e9)
            self._origins[buffer.pts] = _Origin(pts_s, bool(packet.is_keyframe), bool(packet.is_corrupt))
            if len(self._origins) > _MAX_INSIDE:
                self._origins.popitem(last=False)
        self._inside += 1
        if self._source.push_buffer(buffer) != self._gst.FlowReturn.OK:
            self._check_bus()
            raise DeviceError(f"{self._name}: the pipeline takes no packet")

    def _pull(self) -> Gst.Sample | None:
        """Return a frame, or None; only one that should be there is waited for.

        One that is late nevertheless shows how many this decoder holds back, or that it lost one.
        """
        late = self._inside > self._usual
        sample = self._sink.try_pull_sample(round(self._wait_s * 1e9) if late else 0)
        self._wait_s = _WAIT_S
        if sample is not None:
            self._inside = max(0, self._inside - 1)
        elif late:
            self._usual = self._inside
        return sample

    def _decoded(self, sample: Gst.Sample) -> DecodedFrame:
        frame = self._copied(sample)
        origin = self._origins.pop(sample.get_buffer().pts, _Origin(None, keyframe=False, corrupt=False))
        return DecodedFrame(
            data=frame,
            size_wh=(frame.width, frame.height),
            colour=self._colour,
            keyframe=origin.keyframe,
            corrupt=origin.corrupt,
            pts_s=origin.pts_s,
        )

    def _copied(self, sample: Gst.Sample) -> av.VideoFrame:
        """Return a sample's frame as FFmpeg's, in memory of its own."""
        info = self._video.VideoInfo.new_from_caps(sample.get_caps())
        buffer = sample.get_buffer()
        meta = self._video.buffer_get_video_meta(buffer) or info
        readable, mapped = buffer.map(self._gst.MapFlags.READ)
        if not readable:
            raise DeviceError(f"{self._name}: a frame cannot be read")
        try:
            memory: NDArray[np.uint8] = np.frombuffer(mapped.data, np.uint8)
            frame = av.VideoFrame(info.width, info.height, "nv12")
            for index, plane in enumerate(frame.planes):
                _copy_plane(memory[meta.offset[index] :], meta.stride[index], plane, index)
        finally:
            buffer.unmap(mapped)
        return frame

    def _check_bus(self) -> None:
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is not None:
            error, _ = message.parse_error()
            raise DeviceError(f"{self._name}: {error.message}")


def _load_gstreamer() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Return the modules Gst, GstVideo and GLib, initialized.

    Raises:
        DeviceError: PyGObject or GStreamer's descriptions for it are not installed.
    """
    try:
        # GStreamer brings libunwind, whose _Unwind_Resume would replace libgcc's in C++ libraries loaded later: their
        # next exception, such as OpenVINO throws and catches while it starts, would end the process. First come wins.
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
        gi = importlib.import_module("gi")
        for name in ("Gst", "GstApp", "GstVideo"):
            gi.require_version(name, "1.0")
        gst = importlib.import_module("gi.repository.Gst")
        importlib.import_module("gi.repository.GstApp")  # gives appsrc and appsink their methods
        video = importlib.import_module("gi.repository.GstVideo")
        glib = importlib.import_module("gi.repository.GLib")
    except (ImportError, OSError, ValueError) as exc:
        raise DeviceError(f"GStreamer for Python is missing: {exc}; {_INSTALL}") from exc
    gst.init(None)
    return gst, video, glib


def _copy_plane(memory: NDArray[np.uint8], stride: int, plane: VideoPlane, index: int) -> None:
    """Copy one plane of NV12, whose last line may end with its frame, into FFmpeg's."""
    line = plane.width * (index + 1)  # the chroma plane counts pairs
    source = np.lib.stride_tricks.as_strided(memory, (plane.height, line), (stride, 1), writeable=False)
    target: NDArray[np.uint8] = np.frombuffer(memoryview(cast("ReadableBuffer", plane)), np.uint8)
    target[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)[:, :line] = source
