# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run asks of its approved baselines. The code of the desk is loaded where somebody has decided anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision_line.reviews.reviews_file import FILE_NAME
from vision_line.telemetry.baseline_watch import WatchedBaseline


def read_baselines(directory: Path) -> Sequence[WatchedBaseline]:
    """Return what the baselines of a record directory have waited for.

    Raises:
        RunError: the records, the parts or the reviews cannot be read, or that takes too long.
    """
    if not (directory / FILE_NAME).exists():
        return ()
    from vision_line.desk.inspected.watched_baselines import read_watched_baselines

    return read_watched_baselines(directory)
