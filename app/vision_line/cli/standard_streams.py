# SPDX-License-Identifier: AGPL-3.0-or-later
"""The standard streams, whatever the program was started with: closed, full, or with a reader that goes away."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from vision_line.errors import ExitCode, RunError, VisionLineError
from vision_line.screens.lines import say

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare_standard_streams() -> None:
    """Have all three streams, and errors of the first output as errors of ours.

    A standard stream that is closed gets a descriptor that takes nothing: else the next file that is opened, a database
    say, would get its number, and whatever a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest free number: this one
            os.set_inheritable(number, True)
    sys.stdout = _text_on(io.BufferedWriter(_Output(1, "w", closefd=False)), sys.stdout)
    sys.stderr = _text_on(_Messages(2, "w", closefd=False), sys.stderr)


@contextmanager
def watched_output() -> Iterator[None]:
    """Turn an output whose reader went away, and one that cannot be written, into exit codes.

    Raises:
        SystemExit: the block's own, or one of those.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, and not when Python ends, where it could not be handled
    except BrokenPipeError as exc:
        _let_go_of_output()
        raise SystemExit(ExitCode.OUTPUT_CLOSED) from exc
    except VisionLineError as exc:
        _let_go_of_output()
        say(f"vision-line: {exc}", sys.stderr)
        raise SystemExit(exc.exit_code) from exc
    except SystemExit as exc:
        # Click and rich have noticed it themselves, and end with a code that says nothing.
        raise SystemExit(ExitCode.OUTPUT_CLOSED if isinstance(exc.__context__, BrokenPipeError) else exc.code) from exc


class _Output(io.FileIO):
    """The standard output; a reader that went away is distinguished from an error."""

    def write(self, data: ReadableBuffer) -> int:
        """Write `data`.

        Raises:
            BrokenPipeError: its reader went away.
            RunError: it cannot be written.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise RunError(f"the standard output cannot be written: {exc.strerror}") from exc


class _Messages(io.FileIO):
    """Standard error; what cannot be said there cannot be said at all."""

    def write(self, data: ReadableBuffer) -> int:
        """Write `data`, or lose it."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


def _text_on(binary: io.BufferedWriter | _Messages, before: IO[str] | None) -> io.TextIOWrapper:
    """Return a text stream as Python makes it, in the way of the one `before` where there was one."""
    return io.TextIOWrapper(
        binary,
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors=getattr(before, "errors", None) or "backslashreplace",
        line_buffering=binary.isatty(),
        write_through=isinstance(binary, _Messages),
    )


def _let_go_of_output() -> None:
    """Lead the standard output nowhere: what waits in its buffer would fail once more when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
