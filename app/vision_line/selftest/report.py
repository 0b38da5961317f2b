# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report of a selftest: the public JSON object that `vision-line selftest --json FILE` writes.

Stable: within one `selftest_version` fields, checks and figures are only added. It can be shared: it holds
only what is listed here, and no host or user names, addresses, serial numbers, folders or images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vision_line.documented import Documented

#: The folders of an absolute path, which say where a user keeps things; they may have spaces in their names.
_FOLDERS = re.compile(r"(?<![\w.:/])(?:~/|/)(?:[^/'\",;:\n]+/)*(?=[^/\s])")


class Status(StrEnum):
    """How a check ended. Stable: stored and shown."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class _Public(Documented, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measurement(_Public):
    """One number."""

    name: str
    """What was measured, such as engine_ms. Stable."""
    of: str
    """Of what: a batch, a decoder and a codec; "" where there is only one."""
    value: float
    """The number."""
    unit: str
    """ms, frames/s, MB, W, J, levels, px, ..."""


class CheckResult(_Public):
    """One check."""

    name: str
    """Which check, such as kernel_bits. Stable."""
    status: Status
    """A check that only measures passes when it could measure."""
    sentence: str
    """What was found, or why it failed or was skipped; for people, without folders."""
    figures: list[Measurement]
    """What was measured."""
    traceback: list[str] = []
    """Where the program was when something unforeseen ended the check, without folders."""


class GpuFacts(_Public):
    """The GPU."""

    name: str
    """As the driver calls its kind."""
    compute_capability: str
    """Such as 8.6."""
    cuda_version: str
    """That the driver supports."""
    memory_mb: int
    """All of its memory, MiB."""


class MachineFacts(_Public):
    """The computer."""

    system: str
    """Operating system and kind of processor, such as "Linux x86_64"."""
    python: str
    """Version."""
    cores: int
    """Cores that the process may use."""
    libraries: dict[str, str]
    """Versions of the libraries that inspect, by package; those that are not installed are left out."""
    gpu: GpuFacts | None
    """Null on the CPU."""


class ModelUnderTest(_Public):
    """The model that was used; of an ONNX file without a bundle the name is left out, because it is a file's."""

    name: str | None
    """The bundle's name."""
    sha256: str
    """Of the ONNX file."""
    precision: str
    """int8, fp32, ..."""
    input_hw: tuple[int, int]
    """The input shape, height and width in pixels."""
    classes: int
    """How many."""


class SettingsFacts(_Public):
    """Settings of the measurements."""

    seconds: float
    """Length of each load."""
    repeats: int
    """Measured runs of kernel and engine for each batch."""
    picture_wh: tuple[int, int]
    """Size of the cameras' frames."""
    cameras: int
    """Cameras of the paced load."""
    fps: float
    """Frames a second of each of them."""


class Selftest(_Public):
    """One selftest."""

    selftest_version: Literal[1] = 1
    """Rises when a field changes its meaning or goes."""
    vision_line: str
    """The program's version."""
    day_utc: str
    """YYYY-MM-DD."""
    device: str
    """cpu, cuda:0, ..."""
    detail: str
    """Processor or GPU, and the versions of what drives it."""
    machine: MachineFacts
    """The computer."""
    model: ModelUnderTest
    """The model."""
    settings: SettingsFacts
    """What was asked for."""
    checks: list[CheckResult]
    """In the order in which they ran."""
    unfinished: list[str] = []
    """Checks that are still to come: the file was written while it went on, or the program was ended then."""
    others: list[Selftest] = []
    """With --streams: what was found with the other models of the line, without the checks that need no model."""

    @property
    def failed(self) -> tuple[str, ...]:
        """Return the names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.status is Status.FAILED)

    @property
    def inspected_fps(self) -> float | None:
        """Return how many frames a second were inspected at the most, None where that was not measured."""
        figures = [one for check in self.checks if check.name == "throughput" for one in check.figures]
        return max((one.value for one in figures if one.name == "inspected_fps"), default=None)


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """Result of a check."""

    status: Status
    sentence: str
    figures: tuple[Measurement, ...] = ()


def passed(sentence: str, figures: Iterable[Measurement] = ()) -> CheckOutcome:
    """Return the outcome of a check that passed, or that measured."""
    return CheckOutcome(Status.PASSED, sentence, tuple(figures))


def failed(sentence: str, figures: Iterable[Measurement] = ()) -> CheckOutcome:
    """Return the outcome of a check that failed."""
    return CheckOutcome(Status.FAILED, sentence, tuple(figures))


def skipped(reason: str) -> CheckOutcome:
    """Return the outcome of a check that does not apply here."""
    return CheckOutcome(Status.SKIPPED, reason)


def figure(name: str, of: str, value: float, unit: str) -> Measurement:
    """Return a figure with six significant digits."""
    return Measurement(name=name, of=of, value=float(f"{value:.6g}"), unit=unit)


def result(name: str, outcome: CheckOutcome, traceback: Iterable[str] = ()) -> CheckResult:
    """Return the outcome of the check `name` for the report, with where something unforeseen arose."""
    return CheckResult(
        name=name,
        status=outcome.status,
        sentence=without_folders(outcome.sentence),
        figures=list(outcome.figures),
        traceback=[without_folders(line) for line in "".join(traceback).splitlines()],
    )


def without_folders(text: str, home: Path | None = None) -> str:
    """Return `text` with the last part alone of every path in it; `home` (None: the user's) is written `~`."""
    return _FOLDERS.sub("", text.replace(str(Path.home() if home is None else home), "~"))
