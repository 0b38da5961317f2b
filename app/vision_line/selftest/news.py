# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the process that checks says to the one that waits for it: one JSON object a line."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from vision_line.errors import DeviceError, ModelError, RunError, VisionLineError
from vision_line.selftest.device_under_test import Settings
from vision_line.selftest.report import CheckResult, Selftest

_KINDS = {kind.__name__: kind for kind in (DeviceError, ModelError, RunError)}


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckRequest(_Message):
    """What is to be checked. `opens`: the device may be opened; without, nothing that needs it is checked."""

    device: str
    model: Path | None
    settings: Settings
    checks: tuple[str, ...]
    opens: bool


class Begun(_Message):
    """A check has begun, and is ended after `limit_s` seconds."""

    check: str
    limit_s: float


class RaisedError(_Message):
    """The program cannot go on; `kind` is the error's class."""

    kind: str
    words: str

    @classmethod
    def of(cls, exc: VisionLineError) -> RaisedError:
        """Return what `exc` says."""
        return cls(kind=type(exc).__name__, words=str(exc))

    def error(self) -> VisionLineError:
        """Return the error again."""
        return _KINDS.get(self.kind, RunError)(self.words)


class News(_Message):
    """One of these. `head` is a report without checks: it is said again when more is known."""

    head: Selftest | None = None
    begun: Begun | None = None
    result: CheckResult | None = None
    warning: str = ""
    raised: RaisedError | None = None


def heading_of(check: str) -> str:
    """Return the line that is printed before all that is printed while `check` runs."""
    return f"== {check} ==\n"
