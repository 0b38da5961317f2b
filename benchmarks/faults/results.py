# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a peer does with a frame: it reads the stamp, keeps a line in its file of results, and informs the bench."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from benchmarks.stamps import read_stamp


class StampedFrame(NamedTuple):
    """One line: when, by both clocks of the program, which camera, and which frame (None: no frame)."""

    at_s: float
    at_utc: float
    camera: int
    number: int | None


class Results:
    """The file in which a peer keeps its results; the bench hears of a result once it is kept."""

    def __init__(self, path: str) -> None:
        """Append to the file, line by line."""
        self._file = Path(path).open("a", buffering=1, encoding="ascii")  # noqa: SIM115  as long as the program runs

    def note(self, camera: int, frame: NDArray[Any]) -> None:
        """Note a frame.

        Raises:
            OSError: its result could not be kept.
        """
        line = json.dumps(StampedFrame(time.monotonic(), time.time(), camera, read_stamp(frame)))
        self._file.write(line + "\n")
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
