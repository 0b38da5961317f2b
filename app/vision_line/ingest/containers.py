# SPDX-License-Identifier: AGPL-3.0-or-later
"""How FFmpeg is let near foreign bytes: tags in any encoding, pictures of a bounded size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from vision_line.errors import SourceError, SourceErrorCode


def open_container(url: str, max_pixels: int, options: dict[str, str] | None = None) -> Any:
    """Open a file or camera for reading; tags that are not UTF-8 are none of our business and do no harm.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    # `max_pixels` also bounds what FFmpeg decodes by itself while it looks for the parameters.
    return av.open(url, metadata_errors="replace", options={"max_pixels": str(max_pixels)} | (options or {}))


def bound_pictures(camera: str, video: Any, max_pixels: int, path: str = "") -> None:
    """Hold an `av.VideoStream` that was not decoded yet to `max_pixels`: what it says now, and what it decodes later.

    Raises:
        SourceError: FRAME_TOO_LARGE.
    """
    context = video.codec_context
    # FFmpeg tells no size that is above the bound it was opened with.
    size_wh = (context.width, context.height) if context.width or not path else _declared_size(path, context.name)
    check_size(camera, size_wh, max_pixels)
    context.options = dict(context.options) | {"max_pixels": str(max_pixels)}


def _declared_size(path: str, codec: str) -> tuple[int, int]:
    """Return the width and height that a PNG, JPEG or Motion JPEG declares, without decoding it; zeros for all else."""
    if codec == "png":
        with Path(path).open("rb") as file:
            head = file.read(24)
        return (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    if codec == "mjpeg":
        with av.open(path, metadata_errors="replace") as container:  # looks at the header of the first picture only
            context = container.streams.video[0].codec_context
            return (context.width, context.height)
    return (0, 0)


def check_size(camera: str, size_wh: tuple[int, int], max_pixels: int) -> None:
    """Refuse pictures of more than `max_pixels`.

    Raises:
        SourceError: FRAME_TOO_LARGE.
    """
    width, height = size_wh
    if width * height > max_pixels:
        detail = f"pictures of {width}x{height}, max_frame_pixels allows {max_pixels}"
        raise SourceError(camera, SourceErrorCode.FRAME_TOO_LARGE, detail)
