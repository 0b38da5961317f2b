# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dashboard's screen at many sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from vision_line.frames import CameraState
from vision_line.ports import LogStatus
from vision_line.screens.dashboard import render, screen_lines, screen_with_foot, svg_of
from vision_line.screens.segments import width_of
from vision_line.telemetry.alarms import plan_alarms
from vision_line.telemetry.snapshot import CameraSnapshot, RecipeInForce, Snapshot

Maker = Callable[[int], Snapshot]
SIZES = [(80, 24), (80, 40), (120, 30), (120, 50), (160, 40), (200, 60)]


def text_of(snapshot: Snapshot, width: int, height: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in screen_lines(snapshot, width, height)]


def under(snapshot: Snapshot, *names: str) -> Snapshot:
    """Return the line with its cameras under these recipes in turn."""
    cameras = (
        replace(camera, recipe=RecipeInForce(names[index % len(names)], 1.0))
        for index, camera in enumerate(snapshot.cameras)
    )
    return replace(snapshot, cameras=tuple(cameras))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("cameras", [4, 16, 64])
def test_screen_fits(troubled_line: Maker, width: int, height: int, cameras: int) -> None:
    """Every line is exactly as wide as the terminal, and there are no more lines than it has."""
    lines = screen_lines(troubled_line(cameras), width, height)

    assert {width_of(line) for line in lines} == {width}
    assert len(lines) <= height


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(20, 220), height=st.integers(6, 70), cameras=st.integers(2, 80))
def test_screen_fits_any_size(troubled_line: Maker, width: int, height: int, cameras: int) -> None:
    """No size of terminal and no number of cameras breaks the screen."""
    lines = screen_lines(troubled_line(cameras), width, height)

    assert {width_of(line) for line in lines} == {width}
    assert len(lines) <= height


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(20, 220), cameras=st.integers(2, 40), names=st.lists(st.text(max_size=64), min_size=1, max_size=5)
)
def test_screen_with_recipes_fits_any_size(troubled_line: Maker, width: int, cameras: int, names: list[str]) -> None:
    """However long their names are."""
    lines = screen_lines(under(troubled_line(cameras), *names), width, 40)

    assert {width_of(line) for line in lines} == {width}
    assert len(lines) <= 40


@pytest.mark.parametrize("width", [80, 89, 120, 160])
def test_each_camera_has_its_recipe_once_one_was_asked_for(well_line: Maker, width: int) -> None:
    """Where none is in use the columns are what they were; 80 columns hold it instead of two latencies."""
    plain = text_of(well_line(3), width, 30)
    shown = text_of(under(well_line(3), "board-7", ""), width, 30)
    title, first, second = (next(line for line in shown if word in line) for word in ("camera ", "cam01 ", "cam02 "))
    column = title.index("recipe")

    assert not any("recipe" in line for line in plain)
    assert first[column:].startswith("board-7 ")
    assert second[column:].startswith("– ")
    assert ("p50" in title, "insp." in title, "defects" in title) == (width > 80, True, True)


def test_where_cameras_stand_side_by_side_recipes_have_a_line(well_line: Maker) -> None:
    """With how many cameras each is in force at."""
    shown = text_of(under(well_line(40), "board-7", "board-7", "board-7", ""), 80, 24)

    assert " recipes board-7 at 30, none at 10" in [line.rstrip() for line in shown]
    assert not any("recipes" in line for line in text_of(well_line(40), 80, 24))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("cameras", [4, 16, 64])
def test_every_camera_is_accounted_for(troubled_line: Maker, width: int, height: int, cameras: int) -> None:
    """Each camera has its place, or the screen says how many have none."""
    snapshot = troubled_line(cameras)
    rest = replace(snapshot, alarms=(), latest_events=())
    screen = "\n".join(text_of(rest, width, height))
    shown = sum(camera.name in screen for camera in snapshot.cameras)

    assert shown == cameras or f"+ {cameras - shown} more, all well" in screen


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (CameraState.CONNECTING, "not insp."),
        (CameraState.RUNNING, "not insp."),
        (CameraState.RECONNECTING, "not insp."),
        (CameraState.DEGRADED, "troubled"),
        (CameraState.ENDED, "all well"),
    ],
)
def test_cameras_without_a_place_are_well_only_if_they_are_inspected(
    well_line: Maker, state: CameraState, said: str
) -> None:
    """At the start nothing is wrong with them, and nobody inspects them either."""
    sequence = 9 if state is CameraState.DEGRADED else None
    every = tuple(CameraSnapshot(f"cam{number:03}", state, sequence=sequence) for number in range(255))
    screen = "\n".join(text_of(replace(well_line(1), cameras=every), 80, 24))

    hidden = 255 - sum(camera.name in screen for camera in every)
    count = "" if said == "all well" else f"{hidden} "
    assert hidden > 99
    assert f" + {hidden} more, {count}{said}" in screen


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_troubled_cameras_are_shown_first(troubled_line: Maker, width: int, height: int) -> None:
    """The cameras in trouble are on the screen, with their state, however many there are."""
    screen = "\n".join(text_of(replace(troubled_line(64), alarms=(), latest_events=()), width, height))

    for word in ("cam01", "cam63", "FROZEN", "cam64", "RECONNECTING"):
        assert word in screen


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("cameras", [4, 16, 64])
def test_worst_alarm_is_in_the_band(troubled_line: Maker, width: int, height: int, cameras: int) -> None:
    """The band at the top says how many cameras are not inspected, and the worst alarm."""
    snapshot = troubled_line(cameras)
    top = "\n".join(text_of(snapshot, width, height)[:4])

    assert f"2 OF {cameras} NOT INSPECTED" in top
    assert snapshot.alarms[0] in top


def test_nothing_moves_when_an_alarm_comes(well_line: Maker, troubled_line: Maker) -> None:
    """A camera keeps its line of the screen when others get into trouble."""
    before, after = text_of(well_line(16), 80, 24), text_of(troubled_line(16), 80, 24)

    position = {line.split()[1]: index for index, line in enumerate(before) if " cam" in line[:6]}
    assert position == {line.split()[1]: index for index, line in enumerate(after) if " cam" in line[:6]}


def test_stopped_log_is_trouble(well_line: Maker) -> None:
    """A log that cannot be written is the first alarm, and never looks well."""
    line = well_line(4)
    log = LogStatus(writable=False, reason="disk full: 0 MB free")
    screen = "\n".join(text_of(replace(line, log=log, alarms=plan_alarms(line.cameras, log, (), 0.0)), 80, 24)[:7])

    assert "■ 4 OF 4 NOT INSPECTED" in screen
    assert "disk full" in screen
    assert "STOPPED" in screen


def test_camera_that_runs_uninspected_is_trouble(well_line: Maker) -> None:
    """A camera that runs with open downtime is not counted as inspected."""
    line = well_line(4)
    cameras = (replace(line.cameras[0], not_inspected="capacity"), *line.cameras[1:])
    screen = "\n".join(text_of(replace(line, cameras=cameras), 80, 24))

    assert "1 OF 4 NOT INSPECTED" in screen
    assert "NOT INSPECTED" in screen.split("cam01")[1].split("\n")[0]


def test_a_rate_below_the_need_turns_the_headline_red(well_line: Maker) -> None:
    """However well the cameras run: the present rate decides, the sentence says why, and no defect is no comfort."""
    line = well_line(4)
    cameras = tuple(replace(camera, needed_fps=12.0, spare_fps=12.0, is_settled=True) for camera in line.cameras)
    slow = replace(line, cameras=cameras, alarms=plan_alarms(cameras, line.log, (), 0.0), latest_events=())
    screen = text_of(slow, 120, 40)

    assert "■ 4 OF 4 NOT INSPECTED   --cameras 2 works here: this machine inspects 8.2 frames/s" in "\n".join(screen)
    assert sum("UNDERSAMPLED" in row for row in screen) == 4
    assert any("none found, but parts pass inspected too seldom" in row for row in screen)
    assert "--cameras 2 works here" in "\n".join(text_of(slow, 80, 24)[:3]), "what to do has room on any terminal"


def test_inspections_without_one_to_spare_are_no_green(well_line: Maker) -> None:
    """Just enough inspections leave no reserve for a missed detection: inspected, and a notice."""
    line = well_line(4)
    cameras = tuple(replace(camera, needed_fps=8.0, spare_fps=12.0, is_settled=True) for camera in line.cameras)
    scarce = replace(line, cameras=cameras, alarms=plan_alarms(cameras, line.log, (), 0.0))

    assert "▲ 4 of 4 cameras inspected   only just enough inspections" in "\n".join(text_of(scarce, 120, 40))


def test_a_degraded_camera_that_is_missed_is_red(troubled_line: Maker, well_line: Maker) -> None:
    """A poor frame is a notice while it is inspected, and only then."""
    line = well_line(2)
    cameras = (line.cameras[0], replace(line.cameras[1], state=CameraState.DEGRADED, not_inspected="capacity"))

    assert "■ 1 OF 2 NOT INSPECTED" in "\n".join(text_of(replace(line, cameras=cameras), 80, 24))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_notices_are_shown_below_alarms(well_line: Maker, troubled_line: Maker, width: int, height: int) -> None:
    """What is amiss beside the inspection is shown, after the alarms, and never makes the run look troubled."""
    notice = "overlay: 10 of 100 frames are missing from the videos"
    well = text_of(replace(well_line(4), notices=(notice,)), width, height)
    assert any(f"▲ {notice}"[: width // 2] in line for line in well)
    assert "• 4 of 4 cameras inspected" in "\n".join(well)

    troubled = "\n".join(text_of(replace(troubled_line(4), notices=(notice,)), width, height))
    assert troubled.rindex("■ ") < troubled.index("▲ overlay") or "more" in troubled


def test_a_node_says_which_of_its_fleet_it_is(well_line: Maker) -> None:
    """Where it hides nothing else of the first line."""
    words = "node hall-1, 3 of 4 boxes"
    node = replace(well_line(4), fleet=words)

    assert words in text_of(node, 160, 40)[0]
    assert text_of(node, 80, 24)[0] == text_of(well_line(4), 80, 24)[0]


def test_start_is_not_trouble(well_line: Maker) -> None:
    """Cameras that connect for the first time are told apart from those that cannot be reached."""
    line = well_line(2)
    starting = replace(line, cameras=(*line.cameras, CameraSnapshot("cam03")))
    unreached = CameraSnapshot("cam03", CameraState.CONNECTING, code="REFUSED")

    assert "2 of 3 cameras inspected, 1 starting" in "\n".join(text_of(starting, 80, 24))
    assert "1 OF 3" in "\n".join(text_of(replace(line, cameras=(*line.cameras, unreached)), 80, 24))


def test_degraded_camera_is_a_notice(troubled_line: Maker) -> None:
    """A camera with a poor frame is still inspected: that is a notice, not the red bar."""
    line = troubled_line(4)
    cameras = line.cameras[:2]
    notice = replace(line, cameras=cameras, alarms=plan_alarms(cameras, line.log, (), 0.0))
    screen = "\n".join(text_of(notice, 80, 24)[:4])

    assert "▲ 2 of 2 cameras inspected   DEGRADED: cam01 (blurred)" in screen


def test_ended_camera_is_not_expected(well_line: Maker) -> None:
    """A video that was played to its end is not a camera that is missing."""
    line = well_line(3)
    cameras = (replace(line.cameras[0], state=CameraState.ENDED), *line.cameras[1:])

    assert "2 of 2 cameras inspected" in "\n".join(text_of(replace(line, cameras=cameras), 80, 24))


def test_hostile_words_stay_words(well_line: Maker) -> None:
    """Square brackets and control characters in a camera's detail are no markup and move no cursor."""
    line = well_line(2)
    bad = CameraSnapshot("cam02", CameraState.RECONNECTING, "FAILED", "[red]\x1b[2J\nnext", last_frame_age_s=1.0)
    console = Console(width=120, height=24, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(render(replace(line, cameras=(line.cameras[0], bad)), 120, 24))

    assert "[red]" in capture.get()
    assert "\x1b[2J" not in capture.get()


def test_svg_is_self_contained(troubled_line: Maker) -> None:
    """The image of the screen holds its words and loads nothing from anywhere."""
    svg = svg_of(troubled_line(16), 80, 30)

    assert "RECONNECTING" in svg
    assert svg.count("http") == svg.count("http://www.w3.org/2000/svg")


def test_the_foot_is_the_last_line_whole_or_what_follows_its_colon(troubled_line: Maker) -> None:
    """A link is of use only whole."""
    line = troubled_line(4)
    link = "http://127.0.0.1:8080/enter?token=" + "x" * 43
    for width, shown in ((120, f" open once in a browser: {link}"), (80, f" {link}")):
        lines = screen_with_foot(line, width, 30, f"open once in a browser: {link}")
        assert len(lines) == 30
        assert "".join(text for text, _ in lines[-1]).rstrip() == shown
    assert screen_with_foot(line, 100, 30, "") == screen_lines(line, 100, 30)
    assert link not in svg_of(line)
