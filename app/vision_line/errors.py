# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can go wrong, as one tree; each branch knows its exit code.

VisionLineError
├── ConfigError        streams.toml or a command's option; every problem at once            exit 2
├── SourceError        one camera's affair: shown, retried, never ends the program
├── ModelError         bundle or ONNX file unusable                                         exit 3
├── DeviceError        device, its libraries or its engine unusable                         exit 3
└── RunError           the program cannot go on: engine failed, records lost, port busy     exit 4
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar

_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/'\"]*(?:/[^\s/'\"@]*)*@")


def mask_credentials(text: str) -> str:
    """Return `text` with the user-info part of every URL in it replaced by `***`.

    Passwords that hold an unencoded `@` or `/` are masked too: everything up to the last `@` of the word goes.
    """
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


class VisionLineError(Exception):
    """Base of all errors that vision-line raises on purpose; the message is one clear sentence for the operator."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str) -> None:
        """Keep `message` with credentials masked."""
        super().__init__(mask_credentials(message))


class ConfigError(VisionLineError):
    """The configuration is wrong; `problems` holds one line for each fault: `file:line: key: found, expected`."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        """Keep every problem; the message is all of them, one a line."""
        self.problems = tuple(mask_credentials(problem) for problem in problems)
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
    NO_VIDEO = "NO_VIDEO"
    CORRUPT = "CORRUPT"
    ENDED = "ENDED"
    ABANDONED_LIMIT = "ABANDONED_LIMIT"
    FAILED = "FAILED"


#: Codes that no quick retry will cure; they are retried at the slow pace only.
SLOW_RETRY_CODES = frozenset(
    {
        SourceErrorCode.AUTH_FAILED,
        SourceErrorCode.NOT_FOUND,
        SourceErrorCode.CODEC_UNSUPPORTED,
        SourceErrorCode.NO_VIDEO,
        SourceErrorCode.TLS_FAILED,
    }
)


class SourceError(VisionLineError):
    """A camera, video or picture folder cannot be read; `code` says why."""

    def __init__(self, camera: str, code: SourceErrorCode, detail: str) -> None:
        """Name the camera, the code and what was found."""
        self.camera = camera
        self.code = code
        super().__init__(f"camera {camera!r}: {code}: {detail}")


class ModelError(VisionLineError):
    """A bundle or ONNX file cannot be used: missing, corrupt, another task, a wrong input."""

    exit_code = 3


class DeviceError(VisionLineError):
    """The device, its libraries or its engine cannot be used here."""

    exit_code = 3


class RunError(VisionLineError):
    """The program cannot go on; a broken engine or log must never look like "no defects"."""

    exit_code = 4
