# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one table from FFmpeg's and the network's errors to ours.

Only the kind of an error is used, never its text: FFmpeg's messages quote the URL with the password in it.
"""

from __future__ import annotations

import errno
import socket
import ssl
import traceback
from pathlib import Path

import av

from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.wire.message import ProtocolError

_CODES: tuple[tuple[type[Exception], SourceErrorCode], ...] = (
    # FFmpeg's errors are of Python's kinds too, where there is one.
    (FileNotFoundError, SourceErrorCode.NOT_FOUND),
    (ConnectionRefusedError, SourceErrorCode.REFUSED),
    (TimeoutError, SourceErrorCode.TIMEOUT),
    (EOFError, SourceErrorCode.ENDED),
    (ConnectionError, SourceErrorCode.ENDED),
    (ssl.SSLError, SourceErrorCode.ENDED),  # of a connection that had been made
    (socket.gaierror, SourceErrorCode.NAME_UNKNOWN),
    (av.DecoderNotFoundError, SourceErrorCode.CODEC_UNSUPPORTED),
    (av.DemuxerNotFoundError, SourceErrorCode.CODEC_UNSUPPORTED),
    (av.PatchWelcomeError, SourceErrorCode.CODEC_UNSUPPORTED),
    (av.NotImplementedError, SourceErrorCode.CODEC_UNSUPPORTED),
    (av.InvalidDataError, SourceErrorCode.CORRUPT),
)
_ERRNO_CODES = {
    errno.EHOSTUNREACH: SourceErrorCode.UNREACHABLE,
    errno.ENETUNREACH: SourceErrorCode.UNREACHABLE,
    errno.EHOSTDOWN: SourceErrorCode.UNREACHABLE,
    errno.ETIMEDOUT: SourceErrorCode.TIMEOUT,
    errno.EAGAIN: SourceErrorCode.TIMEOUT,
    errno.ECONNREFUSED: SourceErrorCode.REFUSED,
}


def code_of(exc: Exception) -> SourceErrorCode:
    """Return the code that stands for an error of FFmpeg or of the network."""
    for kind, code in _CODES:
        if isinstance(exc, kind):
            return code
    number = exc.errno if isinstance(exc, OSError | av.FFmpegError) else None
    return _ERRNO_CODES.get(number or 0, SourceErrorCode.FAILED)


def file_error(camera: str, path: str, exc: OSError | av.FFmpegError) -> SourceError:
    """Return what it means that a file cannot be read."""
    return SourceError(camera, code_of(exc), f"{path!r} cannot be read: {exc.strerror}")


def connection_error(camera: str, exc: OSError | ProtocolError, doing: str) -> SourceError:
    """Return what it means that a network camera cannot be opened or read any further."""
    if isinstance(exc, ProtocolError):
        return SourceError(camera, SourceErrorCode.CORRUPT, f"{doing} failed: {exc}")
    return SourceError(camera, code_of(exc), f"{doing} failed: {exc.strerror or exc}")


def describe_fault(exc: Exception) -> str:
    """Return one line about a fault of ours: its kind and place. Its text is left out: it may quote a URL."""
    *_, place = traceback.extract_tb(exc.__traceback__) or [None]
    where = "" if place is None else f" in {Path(place.filename).name}:{place.lineno}"
    return f"a fault of vision-line ({type(exc).__name__}{where}); the log has its traceback"
