# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one table from FFmpeg's and the network's errors to ours.

Only the kind of an error is used, never its text: FFmpeg's messages quote the URL with the password in it.
"""

from __future__ import annotations

import errno
import socket
import traceback
from pathlib import Path

import av

from vision_line.errors import SourceError, SourceErrorCode

_CODES: tuple[tuple[type[Exception], SourceErrorCode], ...] = (
    (av.HTTPUnauthorizedError, SourceErrorCode.AUTH_FAILED),
    (av.HTTPForbiddenError, SourceErrorCode.AUTH_FAILED),
    (av.HTTPNotFoundError, SourceErrorCode.NOT_FOUND),
    (FileNotFoundError, SourceErrorCode.NOT_FOUND),  # FFmpeg's is one too
    (av.ConnectionRefusedError, SourceErrorCode.REFUSED),
    (av.TimeoutError, SourceErrorCode.TIMEOUT),
    (av.EOFError, SourceErrorCode.ENDED),
    (av.ConnectionResetError, SourceErrorCode.ENDED),
    (av.ConnectionAbortedError, SourceErrorCode.ENDED),
    (av.BrokenPipeError, SourceErrorCode.ENDED),
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
#: What FFmpeg says of an open that failed for a reason it does not keep.
_VAGUE = frozenset({SourceErrorCode.CORRUPT, SourceErrorCode.FAILED, SourceErrorCode.ENDED})
_LOOK_TIMEOUT_S = 2.0


def code_of(exc: Exception) -> SourceErrorCode:
    """Return the code that stands for an error of FFmpeg or of the network."""
    for kind, code in _CODES:
        if isinstance(exc, kind):
            return code
    number = exc.errno if isinstance(exc, OSError | av.FFmpegError) else None
    return _ERRNO_CODES.get(number or 0, SourceErrorCode.FAILED)


def reading_error(camera: str, exc: av.FFmpegError) -> SourceError:
    """Return what a failed read means."""
    return SourceError(camera, code_of(exc), f"reading failed: {exc.strerror}")


def file_error(camera: str, path: str, exc: OSError | av.FFmpegError) -> SourceError:
    """Return what it means that a file cannot be read."""
    return SourceError(camera, code_of(exc), f"{path!r} cannot be read: {exc.strerror}")


def opening_error(
    camera: str, exc: av.FFmpegError, address: tuple[str, int], *, tls: bool, took_s: float, timeout_s: float
) -> SourceError:
    """Return what a failed open of a network camera means; looks at the network once more where FFmpeg is vague."""
    code = code_of(exc)
    if code in _VAGUE:
        # A timed-out open comes as InvalidDataError.
        code = SourceErrorCode.TIMEOUT if took_s >= 0.9 * timeout_s else _look(address, tls=tls, code=code)
    if code is SourceErrorCode.TIMEOUT:
        return SourceError(camera, code, f"{address[0]}:{address[1]} did not answer within {timeout_s:g} s")
    return SourceError(camera, code, f"opening {address[0]}:{address[1]} failed: {exc.strerror}")


def describe_fault(exc: Exception) -> str:
    """Return one line about a fault of ours: its kind and place. Its text is left out: it may quote a URL."""
    *_, place = traceback.extract_tb(exc.__traceback__) or [None]
    where = "" if place is None else f" in {Path(place.filename).name}:{place.lineno}"
    return f"a fault of vision-line ({type(exc).__name__}{where}); the log has its traceback"


def resolve(camera: str, host: str, port: int) -> None:
    """Make sure that the host has an address. May hang as long as the system's resolver does.

    Raises:
        SourceError: NAME_UNKNOWN.
    """
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        raise SourceError(camera, SourceErrorCode.NAME_UNKNOWN, f"host {host!r} has no address") from exc


def _look(address: tuple[str, int], *, tls: bool, code: SourceErrorCode) -> SourceErrorCode:
    try:
        socket.create_connection(address, timeout=_LOOK_TIMEOUT_S).close()
    except OSError as exc:
        return SourceErrorCode.TIMEOUT if isinstance(exc, TimeoutError) else code_of(exc)
    return SourceErrorCode.TLS_FAILED if tls else code
