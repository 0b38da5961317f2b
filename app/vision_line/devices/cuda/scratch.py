# SPDX-License-Identifier: AGPL-3.0-or-later
"""Streams and memory for one measurement, given back when its `ExitStack` is unwound."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from vision_line.devices.cuda.context import Gpu

if TYPE_CHECKING:
    from cuda.core import Buffer, Stream


def open_stream(gpu: Gpu, undo: ExitStack) -> Stream:
    """Return a stream of its own; `undo` waits for what is queued there, after the memory that came later was freed."""
    from cuda.core import StreamOptions

    stream = gpu.device.create_stream(options=StreamOptions(nonblocking=True))
    undo.callback(stream.close)
    undo.callback(stream.sync)
    return stream


def allocate(gpu: Gpu, nbytes: int, stream: Stream, undo: ExitStack) -> Buffer:
    """Return memory of the GPU's; it is given back in the order of `stream`, where it is used."""
    buffer = gpu.device.allocate(nbytes, stream=stream)
    undo.callback(buffer.close)
    return buffer
