# SPDX-License-Identifier: AGPL-3.0-or-later
"""Memory that stays where it is while a device is open, and memory for one measurement or proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cuda.context import GpuContext

if TYPE_CHECKING:
    from cuda.core import Buffer, Stream

    from vision_line.devices.cuda.tensorrt_engine import Engine


class Reserve:
    """Memory whose users take turns: each gets the largest piece there is, or a larger one is made.

    Pieces that were given out stay valid until `close`, or a `keep` without them. One thread at a time.
    """

    def __init__(self, allocate: Callable[[int], Buffer]) -> None:
        """Start empty; `allocate` makes a piece of this many bytes."""
        self._allocate = allocate
        self._pieces: list[Buffer] = []

    @property
    def nbytes(self) -> int:
        """Return the size of all pieces."""
        return sum(piece.size for piece in self._pieces)

    def at_least(self, nbytes: int) -> Buffer:
        """Return a piece of `nbytes` or more."""
        if not self._pieces or self._pieces[-1].size < nbytes:
            self._pieces.append(self._allocate(nbytes))
        return self._pieces[-1]

    @property
    def pieces(self) -> tuple[Buffer, ...]:
        """Return what was given out."""
        return tuple(self._pieces)

    def keep(self, pieces: Iterable[Buffer]) -> None:
        """Free all pieces but these; nobody uses the others any more."""
        kept = {id(piece) for piece in pieces}
        unused = [piece for piece in self._pieces if id(piece) not in kept]
        self._pieces = [piece for piece in self._pieces if id(piece) in kept]
        for piece in unused:
            piece.close()

    def close(self) -> None:
        """Free all pieces; nobody uses them any more. May be called twice."""
        while self._pieces:
            self._pieces.pop().close()


def pinned(nbytes: int) -> Buffer:
    """Return host memory that the GPU copies to and from by itself."""
    from cuda.core import LegacyPinnedMemoryResource

    return LegacyPinnedMemoryResource().allocate(nbytes)


def host_view(buffer: Buffer) -> NDArray[np.uint8]:
    """Return pinned memory as bytes (n,), to be read and written; it must not outlive `buffer`."""
    exporter: Any = buffer  # cuda.core's stub promises less of what it exports than numpy's asks for
    view: NDArray[np.uint8] = np.from_dlpack(exporter).view(np.uint8)
    return view


def part_of(buffer: Buffer, nbytes: int) -> Buffer:
    """Return the first `nbytes` of `buffer`, which stays their owner."""
    from cuda.core import Buffer

    return Buffer.from_handle(int(buffer.handle), nbytes)


def open_stream(gpu: GpuContext, undo: ExitStack, *, urgent: bool = True) -> Stream:
    """Return a stream of its own; `undo` waits for what is queued there, after the memory that came later was freed."""
    stream = gpu.open_stream(urgent=urgent)
    undo.callback(stream.close)
    undo.callback(stream.sync)
    return stream


def allocate(gpu: GpuContext, nbytes: int, stream: Stream, undo: ExitStack) -> Buffer:
    """Return memory of the GPU's; it is given back in the order of `stream`, where it is used."""
    buffer = gpu.device.allocate(nbytes, stream=stream)
    undo.callback(buffer.close)
    return buffer


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory for running one engine by itself, with the host's halves of input and output."""

    stream: Stream
    workspace: Buffer
    input: Buffer
    output: Buffer
    host_input: Buffer  # pinned, like the next
    host_output: Buffer

    def upload(self, batch: NDArray[np.generic]) -> None:
        """Bring a batch to the beginning of `input`; what comes behind it stays as it is."""
        host_view(self.host_input)[: batch.nbytes] = np.ascontiguousarray(batch).reshape(-1).view(np.uint8)
        part_of(self.host_input, batch.nbytes).copy_to(part_of(self.input, batch.nbytes), stream=self.stream)

    def download(self, shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
        """Wait for the stream, and return a copy of what is at the beginning of `output`."""
        nbytes = int(np.prod(shape)) * dtype.itemsize
        part_of(self.output, nbytes).copy_to(part_of(self.host_output, nbytes), stream=self.stream)
        self.stream.sync()
        return host_view(self.host_output)[:nbytes].copy().view(dtype).reshape(shape)


def open_scratch(gpu: GpuContext, engine: Engine, batch: int, undo: ExitStack) -> Scratch:
    """Return memory for batches of `batch` of `engine`, with zeros as inputs."""
    input_bytes, output_bytes = engine.input.nbytes * batch, engine.output.nbytes * batch
    # the host's memory is given back last, when the stream has nothing to copy any more
    host_input, host_output = (_allocate_pinned(nbytes, undo) for nbytes in (input_bytes, output_bytes))
    stream = open_stream(gpu, undo, urgent=False)  # cameras may be inspected meanwhile
    workspace, images, outputs = (
        allocate(gpu, nbytes, stream, undo) for nbytes in (engine.workspace_bytes(batch), input_bytes, output_bytes)
    )
    host_view(host_input)[:] = 0
    host_input.copy_to(images, stream=stream)
    return Scratch(stream, workspace, images, outputs, host_input, host_output)


def _allocate_pinned(nbytes: int, undo: ExitStack) -> Buffer:
    buffer = pinned(nbytes)
    undo.callback(buffer.close)
    return buffer
