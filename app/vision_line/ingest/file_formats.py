# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opens a video or image file with the few demuxers that read nothing but that one file.

FFmpeg takes playlists, session descriptions and numbered names for videos too, whatever a file is called, and then
opens the files and addresses that they name. So the kind of a file is found by its content alone, everything that is
not on the lists below is rejected, and no demuxer may open anything but files.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO

import av
from av.container import InputContainer
from av.stream import Disposition

from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ports import EncodedVideo

#: FFmpeg's names of the demuxers for videos, and what people call the files.
VIDEO_FORMATS = {
    "mov": "MP4, MOV",
    "matroska": "Matroska, WebM",
    "avi": "AVI",
    "mpegts": "MPEG-TS",
    "mpeg": "MPEG-PS",
    "mxf": "MXF",
    "asf": "ASF (WMV)",
    "flv": "FLV",
    "ogg": "Ogg",
    "ivf": "IVF",
    "nut": "NUT",
    "dhav": "DHAV",
    "gif": "GIF",
    "yuv4mpegpipe": "Y4M",
    "h264": "raw H.264",
    "hevc": "raw H.265",
    "obu": "raw AV1",
    "mjpeg": "raw Motion JPEG",
    "jpeg_pipe": "raw Motion JPEG",
    "mpjpeg": "Motion JPEG in parts",
}
#: FFmpeg's names of the codecs of still images.
IMAGE_CODECS = {"mjpeg": "JPEG", "png": "PNG", "bmp": "BMP", "tiff": "TIFF", "webp": "WebP"}

#: A larger file is no camera image; an image file is read whole.
MAX_IMAGE_BYTES = 1 << 29

#: FFmpeg recognises a file's kind by no more than this.
_PROBED_BYTES = 1 << 20

#: FFmpeg reads no more than the header of a JPEG to tell its size.
_ANY_SIZE = 2**31 - 1

_VIDEO_OPTIONS = {"format_whitelist": ",".join(VIDEO_FORMATS), "protocol_whitelist": "file"}
_IMAGE_OPTIONS = {"format_whitelist": "image2", "pattern_type": "none", "protocol_whitelist": "file"}

SizeWH = tuple[int, int]


def open_container(
    source: str | IO[bytes], max_pixels: int, options: dict[str, str] | None = None, demuxer: str | None = None
) -> InputContainer:
    """Open a file or camera for reading; tags that are not UTF-8 do no harm.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    # `max_pixels` also bounds what FFmpeg decodes by itself while it looks for the parameters.
    return av.open(
        source,
        "r",
        format=demuxer,
        metadata_errors="replace",
        options={"max_pixels": str(max_pixels)} | (options or {}),
    )


def bound_frames(
    camera: str, video: EncodedVideo, max_pixels: int, declared: Callable[[str], SizeWH] | None = None
) -> None:
    """Hold an `av.VideoStream` that was not decoded yet to `max_pixels`: what it says now, and what it decodes later.

    FFmpeg reports no size that is above the bound it was opened with: `declared` gives it by the codec's name, and
    zeros where it is not known.

    Raises:
        SourceError: FRAME_TOO_LARGE.
    """
    context = video.codec_context
    size_wh = (context.width, context.height) if context.width or declared is None else declared(context.name)
    check_size(camera, size_wh, max_pixels)
    context.options = dict(context.options) | {"max_pixels": str(max_pixels)}


def check_size(camera: str, size_wh: SizeWH, max_pixels: int) -> None:
    """Reject frames of more than `max_pixels`.

    Raises:
        SourceError: FRAME_TOO_LARGE.
    """
    width, height = size_wh
    if width * height > max_pixels:
        detail = f"frames of {width}x{height}, max_frame_pixels allows {max_pixels}"
        raise SourceError(camera, SourceErrorCode.FRAME_TOO_LARGE, detail)


def open_video(camera: str, path: str, max_pixels: int) -> tuple[InputContainer, av.VideoStream]:
    """Open the video file `path` as an `av` container, which the caller closes, and its first video stream.

    Raises:
        SourceError: it is empty (CORRUPT), of a format that is not taken (FORMAT_REFUSED), without video (NO_VIDEO), of
            a codec that is not known (CODEC_UNSUPPORTED), or its frames are too large (FRAME_TOO_LARGE).
        OSError, av.FFmpegError: it is not there, or cannot be read.
    """
    if not Path(path).stat().st_size:
        raise _emptiness(camera, path)
    try:
        container = _demuxed(path, max_pixels)
    except (av.ArgumentError, av.InvalidDataError) as exc:
        if isinstance(exc, av.InvalidDataError) and _has_a_format(path):
            raise  # a video that is damaged
        raise _refusal(camera, path, "a video such as MP4, Matroska, AVI or MPEG-TS") from exc
    try:
        video = _first_video(camera, path, container)
        bound_frames(camera, video, max_pixels, lambda codec: _jpeg_size(_demuxed(path, _ANY_SIZE), codec))
    except SourceError:
        container.close()
        raise
    return container, video


def open_image(camera: str, path: str, max_pixels: int) -> tuple[InputContainer, av.VideoStream]:
    """Open the image file `path` as an `av` container, which the caller closes, and its stream of one packet.

    FFmpeg gets the bytes and no name, so no name can mean more than one image.

    Raises:
        SourceError: it is empty or has too many bytes (CORRUPT), of a format that is not taken (FORMAT_REFUSED), or
            has too many pixels (FRAME_TOO_LARGE).
        OSError, av.FFmpegError: it is not there, or cannot be read.
    """
    content = _content(camera, path)
    container = _still(content, max_pixels)
    image = container.streams.video[0]
    try:
        if image.codec_context is None or image.codec_context.name not in IMAGE_CODECS:
            raise _refusal(camera, path, ", ".join(IMAGE_CODECS.values()))
        bound_frames(camera, image, max_pixels, lambda codec: _image_size(content, codec))
    except SourceError:
        container.close()
        raise
    return container, image


def _demuxed(path: str, max_pixels: int) -> InputContainer:
    # With "file:" before it, no name is taken for another protocol.
    return open_container(f"file:{path}", max_pixels, _VIDEO_OPTIONS)


def _has_a_format(path: str) -> bool:
    """Whether FFmpeg finds by its content what kind a file is. A name alone, such as `notes.mp4`, is none."""
    with Path(path).open("rb") as file:
        beginning = io.BytesIO(file.read(_PROBED_BYTES))
    try:
        av.open(beginning, options={"format_whitelist": "none"}).close()
    except av.InvalidDataError:
        return False
    except av.ArgumentError:  # it would be one that is not on the list
        return True
    return True


def _still(content: bytes, max_pixels: int) -> InputContainer:
    return open_container(io.BytesIO(content), max_pixels, _IMAGE_OPTIONS, "image2")


def _first_video(camera: str, path: str, container: InputContainer) -> av.VideoStream:
    """Return the first video stream that is no cover image."""
    videos = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    if not videos:
        raise SourceError(camera, SourceErrorCode.NO_VIDEO, f"no video in {path!r}")
    if videos[0].codec_context is None:
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, f"unknown codec in {path!r}")
    return videos[0]


def _image_size(content: bytes, codec: str) -> SizeWH:
    if codec == "png":
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    return _jpeg_size(_still(content, _ANY_SIZE), codec) if codec == "mjpeg" else (0, 0)


def _jpeg_size(unbounded: InputContainer, codec: str) -> SizeWH:
    """Return the size that the first JPEG of a container says of itself, and close the container."""
    with unbounded:
        context = unbounded.streams.video[0].codec_context
        return (context.width, context.height) if codec == "mjpeg" else (0, 0)


def _content(camera: str, path: str) -> bytes:
    with Path(path).open("rb") as file:
        content = file.read(MAX_IMAGE_BYTES + 1)
    if not content:
        raise _emptiness(camera, path)
    if len(content) > MAX_IMAGE_BYTES:
        detail = f"{path!r} has more than {MAX_IMAGE_BYTES >> 20} MiB"
        raise SourceError(camera, SourceErrorCode.CORRUPT, detail)
    return content


def _emptiness(camera: str, path: str) -> SourceError:
    return SourceError(camera, SourceErrorCode.CORRUPT, f"{path!r} is empty")


def _refusal(camera: str, path: str, expected: str) -> SourceError:
    detail = f"{path!r} has a format that is not supported; expected {expected}"
    return SourceError(camera, SourceErrorCode.FORMAT_REFUSED, detail)
