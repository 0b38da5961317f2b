# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opens foreign files with FFmpeg safely: tags in any encoding, frames of bounded size."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

import av
from av.container import InputContainer

from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ports import EncodedVideo

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

    FFmpeg tells no size that is above the bound it was opened with: `declared` gives it by the codec's name, and zeros
    where it is not known.

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
