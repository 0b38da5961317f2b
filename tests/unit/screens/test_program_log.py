# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program's own log."""

from __future__ import annotations

import io
import logging
import re
import warnings
from pathlib import Path

import pytest

from vision_line.errors import RunError
from vision_line.screens.logs import logging_to_file, logging_to_stream

URL = "rtsp://admin:s3cret@10.0.3.7/stream"
logger = logging.getLogger("vision_line.test")


class Lazy:
    """Yields the URL only when it is formatted."""

    def __str__(self) -> str:
        return URL


def test_credentials_are_masked_everywhere() -> None:
    """No part of a record brings a password into the log: message, arguments, exception, or an object's text."""
    stream = io.StringIO()
    with logging_to_stream(stream):
        logger.warning("opening %s and %s", URL, Lazy())
        logger.warning(f"opening {URL}")  # noqa: G004  what a library may do
        try:
            raise ConnectionError(f"refused by {URL}")
        except ConnectionError:
            logger.exception("failed")

    assert "s3cret" not in stream.getvalue()
    assert stream.getvalue().count("rtsp://***@10.0.3.7") >= 4


def test_lines_are_in_utc_and_name_their_source() -> None:
    """A line begins with the time in UTC, its level and its logger."""
    stream = io.StringIO()
    with logging_to_stream(stream):
        logger.info("camera %s is %s", "cam01", "RUNNING")

    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    vision_line\.test: camera cam01 is RUNNING\n"
    assert re.fullmatch(pattern, stream.getvalue())


def test_file_holds_the_log_and_the_rest_is_put_back(tmp_path: Path) -> None:
    """The log goes to the file and to nothing else; afterwards logging is as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    with logging_to_file(tmp_path / "records") as path:
        logger.info("hello")

    assert "hello" in path.read_text()
    assert (root.handlers[:], root.level) == before


def test_warnings_go_to_the_log(tmp_path: Path) -> None:
    """What libraries warn of does not disturb the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with logging_to_file(tmp_path) as path:
            warnings.warn("old call", DeprecationWarning, stacklevel=1)

    assert "old call" in path.read_text()


def test_unwritable_directory_is_one_clear_error(tmp_path: Path) -> None:
    """A path that cannot hold the log is named in the error."""
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match="log file cannot be opened"), logging_to_file(tmp_path / "file"):
        pass
