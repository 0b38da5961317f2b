# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can go wrong, as one tree; each branch knows its exit code.

VisionLineError
├── ConfigError        streams.toml or a command's option; every problem at once            CONFIG
├── SourceError        one camera's affair: shown, retried, never ends the program
├── ModelError         bundle or ONNX file unusable                                         UNUSABLE
├── DeviceError        device, its libraries or its engine unusable                         UNUSABLE
├── RunError           the program cannot go on: engine failed, records lost, port busy     FAILED
└── BrokenRecordError  records are not what was written                                     BROKEN
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum
from typing import ClassVar

from vision_line.words import one_line, printable

#: Where a URL begins, one that lacks a slash or two as well. Schemes are short; the bound keeps long words cheap.
_SCHEME = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]{0,15}://|\brtsps?:/?)", re.ASCII)
#: A user part goes up to the last `@` before a host: the password may hold spaces, quotes, slashes and `@`.
_USER_PART = re.compile(r".*@(?=[\w\[])")
#: The same where no scheme says that a URL begins: one word, and a colon in it.
_BARE_USER_PART = re.compile(r"(?<!\S)[^\s:@]+:\S*@(?=[\w\[])")
#: Many cameras take them in the query, some as a part of the path.
SECRET_KEY = re.compile(
    r"((?<![a-z0-9])(?:user(?:name)?|usr|login|account|pass(?:word|wd)?|pwd|psw|token|auth|key|secret)=)[^&\s]*",
    re.IGNORECASE,
)


def mask_credentials(text: str) -> str:
    """Return `text` with `***` for the user part of every URL in it, and for names and passwords in its query.

    Text does not say where a URL ends, and a password may hold anything. So it errs on the safe side: what stands
    between a scheme and the last `@` of the same line goes, up to the next URL.
    """
    before, *urls = _SCHEME.split(text)
    masked = [_masked_words(before)]
    for scheme, rest in zip(urls[::2], urls[1::2], strict=True):
        masked += [scheme, rest if scheme.lower() == "file://" else _masked_url(rest)]
    return "".join(masked)


def _masked_url(rest: str) -> str:
    """Return what stands behind a scheme, masked; later lines are no part of the URL."""
    line, newline, more = rest.partition("\n")
    line = SECRET_KEY.sub(r"\1***", _USER_PART.sub("***@", line, count=1))
    return line + newline + _masked_words(more)


def _masked_words(text: str) -> str:
    """Return text in which no URL begins, masked: a camera may repeat only a part of the one that it was asked for."""
    return SECRET_KEY.sub(r"\1***", _BARE_USER_PART.sub("***@", text))


class ExitCode(IntEnum):
    """How a command of either program ends."""

    DONE = 0
    GATE_FAILED = 1  # of vision-line-compress: the model was made, and is not as good as the recipe asks
    CONFIG = 2  # options or configuration, or what `check` found
    UNUSABLE = 3  # model or device
    FAILED = 4  # while it ran, or a check of `selftest`
    BROKEN = 5  # of `verify`: the records are not what was written
    CHALLENGE_DUE = 6  # of `challenge`: one is overdue, or showed too little
    CHALLENGE_FAILED = 7
    INTERRUPTED = 130  # by Ctrl-C or SIGTERM, as a shell counts them
    OUTPUT_CLOSED = 141  # as of a program that SIGPIPE ended: the reader (`| head`) did not want more


class VisionLineError(Exception):
    """Base of all errors that vision-line raises on purpose; the message is one clear sentence for the operator."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str) -> None:
        """Keep `message` with credentials masked and without control characters: it may quote a camera or a file."""
        super().__init__(printable(mask_credentials(message)))


class ConfigError(VisionLineError):
    """The configuration is wrong; `problems` holds one line for each fault: `file:line: key: found, expected`."""

    exit_code = ExitCode.CONFIG

    def __init__(self, *problems: str) -> None:
        """Keep every problem; the message is all of them, one a line."""
        self.problems = tuple(printable(mask_credentials(problem)) for problem in problems)
        super().__init__("\n".join(problems))


class SourceErrorCode(StrEnum):
    """Why a camera cannot be read. Stable: they are logged, shown and exported."""

    AUTH_FAILED = "AUTH_FAILED"
    NOT_FOUND = "NOT_FOUND"
    REFUSED = "REFUSED"
    UNREACHABLE = "UNREACHABLE"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    TIMEOUT = "TIMEOUT"
    TLS_FAILED = "TLS_FAILED"
    CODEC_UNSUPPORTED = "CODEC_UNSUPPORTED"
    FORMAT_REFUSED = "FORMAT_REFUSED"
    NO_VIDEO = "NO_VIDEO"
    CORRUPT = "CORRUPT"
    ENDED = "ENDED"
    BEHIND = "BEHIND"
    ABANDONED_LIMIT = "ABANDONED_LIMIT"
    FAILED = "FAILED"
    FRAME_TOO_LARGE = "FRAME_TOO_LARGE"
    REDIRECTED = "REDIRECTED"
    INTERNAL = "INTERNAL"  # a fault of ours while this camera was read; its traceback is in the log


#: Codes that no quick retry will cure; they are retried at the slow pace only.
SLOW_RETRY_CODES = frozenset(
    {
        SourceErrorCode.AUTH_FAILED,
        SourceErrorCode.NOT_FOUND,
        SourceErrorCode.CODEC_UNSUPPORTED,
        SourceErrorCode.NO_VIDEO,
        SourceErrorCode.TLS_FAILED,
        SourceErrorCode.FRAME_TOO_LARGE,
        SourceErrorCode.REDIRECTED,
        SourceErrorCode.INTERNAL,
    }
)


class SourceError(VisionLineError):
    """A camera, video or image folder cannot be read; `code` says why."""

    def __init__(self, camera: str, code: SourceErrorCode, detail: str) -> None:
        """Name the camera, the code and what was found."""
        self.camera = camera
        self.code = code
        self.detail = one_line(mask_credentials(detail))
        super().__init__(camera_trouble(camera, code, self.detail))


def camera_trouble(camera: str, code: str, detail: str) -> str:
    """Return the one sentence about what is wrong with a camera, for where nothing else names camera and code. Pure."""
    return f"camera {camera!r}: {code}: {detail}"


class ModelError(VisionLineError):
    """A bundle or ONNX file cannot be used: missing, corrupt, another task, a wrong input."""

    exit_code = ExitCode.UNUSABLE


class DeviceError(VisionLineError):
    """The device, its libraries or its engine cannot be used here."""

    exit_code = ExitCode.UNUSABLE


class RunError(VisionLineError):
    """The program cannot go on; a broken engine or log must never look like "no defects"."""

    exit_code = ExitCode.FAILED


class BrokenRecordError(VisionLineError):
    """The records are not what was written; the message names the first entry that does not fit."""

    exit_code = ExitCode.BROKEN
