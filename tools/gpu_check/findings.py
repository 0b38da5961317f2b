# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a stage finds, written to a JSON file also where it fails."""

from __future__ import annotations

import json
import math
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vision_line.selftest.report import CheckOutcome, Status

#: Set by the runner: where stages write, whether the tests' fakes take the place of driver and libraries, and whether
#: torch takes TensorRT's.
OUT, FAKES, STANDIN = "GPU_CHECK_OUT", "GPU_CHECK_FAKES", "GPU_CHECK_STANDIN"

_TRACEBACK_CHARACTERS = 4000


class Findings:
    """Figures by name, and what is wrong."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.faults: list[str] = []

    def note(self, name: str, value: object) -> None:
        """Keep a figure, or whatever JSON can say."""
        self.figures[name] = value

    def fault(self, what: str) -> None:
        """Say that something is wrong; the stage goes on."""
        self.faults.append(what)

    def outcome(self, name: str, outcome: CheckOutcome) -> None:
        """Keep what a check of the self-test found."""
        figures = {f"{one.name}{f' ({one.of})' if one.of else ''}": one.value for one in outcome.figures}
        self.note(name, {"status": str(outcome.status), "sentence": outcome.sentence, "figures": figures})
        if outcome.status is Status.FAILED:
            self.fault(f"{name}: {outcome.sentence}")


def is_rehearsal() -> bool:
    """Whether the tests' fakes stand in for the hardware."""
    return os.environ.get(FAKES) == "1"


def uses_standin() -> bool:
    """Whether torch computes in TensorRT's place."""
    return os.environ.get(STANDIN) == "1"


def run_stage(name: str, stage: Callable[[Findings], None]) -> int:
    """Run a stage, write its file, print it in short, and return the exit code."""
    findings, began_s = Findings(), time.monotonic()
    trace = ""
    try:
        if is_rehearsal():
            from tools.gpu_check.rehearsal import load_fakes

            load_fakes()
        stage(findings)
    except BaseException as exc:  # noqa: BLE001  whatever it is, it is what the stage found
        findings.fault(f"{type(exc).__name__}: {exc}")
        trace = traceback.format_exc()[-_TRACEBACK_CHARACTERS:]
    found = {
        "stage": name,
        "passed": not findings.faults,
        "seconds": round(time.monotonic() - began_s, 2),
        "faults": findings.faults,
        **findings.figures,
        **({"traceback": trace} if trace else {}),
    }
    folder = Path(os.environ[OUT])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1, default=str), encoding="utf-8")
    print(json.dumps(found, default=str)[:2500], flush=True)
    return 1 if findings.faults else 0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that `share` of them do not exceed; NaN of none."""
    ascending = sorted(values)
    return ascending[max(1, math.ceil(share * len(ascending))) - 1] if ascending else math.nan
