# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics prints tables and bars to standard output, where results of our own belong; a file takes them instead."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

NOWHERE = Path(os.devnull)


@contextmanager
def ultralytics_log(path: Path) -> Iterator[None]:
    """Send what Ultralytics prints and logs to the file `path`, after what is there, while the block runs."""
    from ultralytics.utils import LOGGER

    before = LOGGER.handlers[:]
    with path.open("a", encoding="utf-8") as stream, redirect_stdout(stream):
        LOGGER.handlers[:] = [logging.StreamHandler(stream)]
        try:
            yield
        finally:
            LOGGER.handlers[:] = before
