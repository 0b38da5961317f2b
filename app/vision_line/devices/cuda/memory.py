# SPDX-License-Identifier: AGPL-3.0-or-later
"""Memory that stays where it is: graphs and kernels hold its addresses for as long as the device is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cuda.core import Buffer


class Reserve:
    """Memory whose users take turns: each gets the largest piece there is, or a larger one is made.

    Pieces that were given out stay valid until `close`. One thread at a time.
    """

    def __init__(self, allocate: Callable[[int], Buffer]) -> None:
        """Start empty; `allocate` makes a piece of so many bytes."""
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
