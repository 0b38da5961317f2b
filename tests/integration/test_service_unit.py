# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unit files of docs/deploy/, read by systemd's own tool."""

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
DESK_UNIT = UNIT.with_name("vision-line-desk.service")
NODE_UNIT = UNIT.with_name("vision-line-node.service")
UNITS = {path.stem.removeprefix("vision-line-"): path for path in sorted(UNIT.parent.glob("*.service"))}


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (apt install systemd)")
    return subprocess.run(["systemd-analyze", *arguments], text=True, capture_output=True, check=False)


@pytest.fixture(params=[*UNITS.values()], ids=[*UNITS])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a unit with a program that is there, as systemd looks for it."""
    text = request.param.read_text(encoding="utf-8").replace("/opt/vision-line/bin/vision-line", sys.executable)
    path = tmp_path / str(request.param.name)
    path.write_text(text, encoding="utf-8")
    return path


def value_of(key: str, unit: Path = UNIT) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    return str(value)


def test_there_are_all_that_the_page_names() -> None:
    assert {"desk", "lanes", "node", "outputs", "ship"} <= {*UNITS}
    text = (UNIT.parents[1] / "deploy.md").read_text(encoding="utf-8")
    assert all(f"deploy/{path.name}" in text for path in UNITS.values())


def test_a_node_is_kept_alive_and_confined_as_a_line_is() -> None:
    """Of what the two units say, only what they start is different, and what ends a node for good."""
    starts = ("# ", "Description=", "Conflicts=", "ExecStart=", "ExecReload=", "EnvironmentFile=", "#LoadCredential=")
    ends = "RestartPreventExitStatus="
    line, node = (
        [row for row in path.read_text(encoding="utf-8").splitlines() if not row.startswith((*starts, ends))]
        for path in (UNIT, NODE_UNIT)
    )
    assert node == line


def test_systemd_takes_every_line_of_it(unit: Path) -> None:
    """No unknown key, no wrong value: systemd only warns of those."""
    done = analyze("verify", unit)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_line_is_found(unit: Path) -> None:
    """So the test above looks."""
    unit.write_text(unit.read_text(encoding="utf-8").replace("TimeoutStopSec=", "TimeoutStopSecs="), encoding="utf-8")

    assert "TimeoutStopSecs" in analyze("verify", unit).stderr


def test_the_service_is_confined(unit: Path) -> None:
    """By systemd's own measure of what a service may do, from 0 to 10, it is OK."""
    done = analyze("security", "--offline=yes", "--threshold=30", unit)

    assert done.returncode == 0, done.stdout[-1000:]


def test_its_times_are_longer_than_the_programs() -> None:
    """The watchdog is slower than the program's own verdict, and a drain is not cut off."""
    assert float(value_of("WatchdogSec")) >= 2 * HANGS_AFTER_S
    assert float(value_of("TimeoutStopSec")) >= END_TAKES_S > DRAIN_S + ABORT_S


@pytest.mark.parametrize("of", [*UNITS.values()], ids=[*UNITS])
def test_its_exit_codes_are_the_programs(of: Path) -> None:
    """An ordered end is a success; all are started again."""
    assert value_of("Restart", of) == "always"
    assert value_of("SuccessExitStatus", of) == f"{ExitCode.INTERRUPTED:d}"


def test_what_reads_streams_toml_begins_again_when_that_is_mended() -> None:
    """Else a crash while it is wrong ends inspection for good. Lanes, tried each second, would take a core from it.

    A node whose name another box has must not wait for that box to restart, and take its place.
    """
    stays = {name for name, of in UNITS.items() if "RestartPreventExitStatus=" in of.read_text(encoding="utf-8")}

    assert stays == {"desk", "lanes", "node"}
    assert value_of("RestartPreventExitStatus", UNITS["lanes"]) == f"{ExitCode.CONFIG:d}"
    assert float(value_of("RestartSec")) >= 5


def test_the_desk_comes_after_the_line_in_everything() -> None:
    """It reads the same records as the same user, with less of the machine, and is not tied to the line's life."""
    assert value_of("User", DESK_UNIT) == value_of("User")
    assert value_of("ExecStart", DESK_UNIT).split()[3] == value_of("ExecStart").split()[4]
    assert int(value_of("Nice", DESK_UNIT)) > 0
    assert int(value_of("OOMScoreAdjust", DESK_UNIT)) > 0 > int(value_of("OOMScoreAdjust"))
    assert not re.search("^(Requires|BindsTo|PartOf)=", DESK_UNIT.read_text(encoding="utf-8"), re.MULTILINE)


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
