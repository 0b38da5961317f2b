# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a source gives its camera's thread: one encoded frame after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vision_line.encoded import EncodedFrame


class Source(Protocol):
    """An open camera, video or image folder. Used by one thread."""

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield frames until the end of a file.

        Raises:
            SourceError: the source cannot be read any further; a camera's end is one too.
        """

    def close(self) -> None:
        """Release the source; idempotent."""
