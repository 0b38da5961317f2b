# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unit file of docs/deploy/, read by systemd's own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.service_filter import allowed_calls

from vision_line.errors import ExitCode
from vision_line.runtime.live_inspection import ABORT_S, DRAIN_S
from vision_line.runtime.service_notifier import END_TAKES_S
from vision_line.telemetry.liveness import HANGS_AFTER_S

UNIT = Path(__file__).parents[2] / "docs" / "deploy" / "vision-line.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (apt install systemd)")
    return subprocess.run(["systemd-analyze", *arguments], text=True, capture_output=True, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that is there, as systemd looks for it."""
    text = UNIT.read_text(encoding="utf-8").replace("/opt/vision-line/bin/vision-line", sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(text, encoding="utf-8")
    return path


def value_of(key: str) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    return str(value)


def test_systemd_takes_every_line_of_it(unit: Path) -> None:
    """No unknown key, no wrong value: systemd only warns of those."""
    done = analyze("verify", unit)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_line_is_found(unit: Path) -> None:
    """So the test above looks."""
    unit.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec=30", "WatchdogSecs=30"), encoding="utf-8")

    assert "WatchdogSecs" in analyze("verify", unit).stderr


def test_the_service_is_confined(unit: Path) -> None:
    """By systemd's own measure of what a service may do, from 0 to 10, it is OK."""
    done = analyze("security", "--offline=yes", "--threshold=30", unit)

    assert done.returncode == 0, done.stdout[-1000:]


def test_its_times_are_longer_than_the_programs() -> None:
    """The watchdog is slower than the program's own verdict, and a drain is not cut off."""
    assert float(value_of("WatchdogSec")) >= 2 * HANGS_AFTER_S
    assert float(value_of("TimeoutStopSec")) >= END_TAKES_S > DRAIN_S + ABORT_S


def test_its_exit_codes_are_the_programs() -> None:
    """A wrong configuration ends it for good; an ordered end is a success."""
    assert value_of("RestartPreventExitStatus") == f"{ExitCode.CONFIG:d}"
    assert value_of("SuccessExitStatus") == f"{ExitCode.INTERRUPTED:d}"


def test_the_clock_can_be_read_and_not_set() -> None:
    """A seal reads how sure the clock is; without capabilities the same call sets nothing."""
    analyze("--version")
    calls = allowed_calls(UNIT.read_text(encoding="utf-8"))

    assert {"adjtimex", "clock_adjtime", "openat"} <= calls
    assert not {"clock_settime", "settimeofday"} & calls
    assert value_of("CapabilityBoundingSet") == ""
    assert value_of("SystemCallErrorNumber") == "EPERM"


def test_protect_clock_would_take_the_reading_away() -> None:
    """So the unit does without it."""
    analyze("--version")
    unit = UNIT.read_text(encoding="utf-8")

    assert "clock_adjtime" not in allowed_calls(f"{unit}ProtectClock=yes\n")
