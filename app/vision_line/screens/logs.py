# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program's own log: to a bounded file while the dashboard has the screen, else to standard error.

Who logs never waits for the disk or for who reads: lines go through a thread, and are lost where that is stuck.
Whatever writes a line, and whatever its arguments hold, no credentials of a camera's URL reach the log.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from vision_line.errors import RunError, mask_credentials
from vision_line.screens.lines import LineWriter, Sink, sink_on
from vision_line.words import printable

LOG_NAME = "vision-line.log"
MAX_BYTES, BACKUPS = 5_000_000, 4  # 25 MB at the most

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"


class MaskingFormatter(logging.Formatter):
    """Formats a line in UTC and masks credentials in all of it: message, arguments, exception and stack text.

    Masking the finished line rather than its parts also reaches arguments whose `str()` only then yields a URL, and
    foreign exceptions that quote one.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT, _TIME)
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the finished, masked text of `record`; whatever it quotes, only its first line begins like one."""
        lines = super().format(record).split("\n")
        return "\n    ".join(printable(mask_credentials(line)) for line in lines)


@contextmanager
def logging_to_file(directory: Path, level: int = logging.INFO) -> Iterator[Path]:
    """Log to `directory`/vision-line.log, rotated at 5 MB with 4 old files kept; yield the file's path.

    Raises:
        RunError: the file cannot be opened.
    """
    path = directory / LOG_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        sink = _RotatingFile(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
    except OSError as exc:
        raise RunError(f"{path}: the log file cannot be opened: {exc.strerror or exc}") from exc
    with _installed(sink, level):
        yield path


@contextmanager
def logging_to_stream(stream: TextIO | None = None, level: int = logging.INFO) -> Iterator[None]:
    """Log to `stream`, standard error by default."""
    with _installed(sink_on(stream or sys.stderr), level):
        yield


class _RotatingFile(RotatingFileHandler):
    """Writes finished lines into a rotating file."""

    def write(self, text: str) -> None:
        """Write `text`, in a new file where the old one is full."""
        self.emit(logging.makeLogRecord({"msg": text.removesuffix("\n")}))

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  the name is the standard library's
        """Raise what went wrong, instead of printing it over the dashboard."""
        raise  # noqa: PLE0704  it is called where the error is handled


class _LineHandler(logging.Handler):
    """Hands finished lines to a writer."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.setFormatter(MaskingFormatter())
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self.format(record))
        except Exception:  # noqa: BLE001  as every handler: a wrong log call is no reason to stop inspecting
            self.handleError(record)

    def close(self) -> None:
        self._writer.close()
        super().close()


@contextmanager
def _installed(sink: Sink, level: int) -> Iterator[None]:
    """Make this the root logger's only handler; restores the former handlers."""
    handler = _LineHandler(LineWriter(sink))
    root = logging.getLogger()
    before, before_level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
        root.setLevel(before_level)
        handler.close()
