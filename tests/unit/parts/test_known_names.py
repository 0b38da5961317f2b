# SPDX-License-Identifier: AGPL-3.0-or-later
"""A lane or recipe that the line does not have is refused with those that it has; where nobody knows, that is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes.said_configuration import say_configuration
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.config.load import load_config
from vision_line.errors import ConfigError
from vision_line.parts.known_names import LANES, KnownNames, recorded_names
from vision_line.parts.line_commands import Answer, LineCommands, PartAsked
from vision_line.parts.orders import LOT, RECIPE, Asked, ask_lot, order_in_force
from vision_line.records.schema import FILE_NAME
from vision_line.runtime.configuration_record import configuration_change

MES = Asked("MES", "mqtt")


def asked(directory: Path, command: str, **values: object) -> Answer:
    def take(_part: PartAsked) -> int:
        return 1

    return LineCommands(directory, take).answer(command, json.dumps(values).encode(), MES, 7.5)


@pytest.fixture
def line(tmp_path: Path) -> Path:
    say_configuration(tmp_path, ["left", "right"], ["fine", "coarse"])
    return tmp_path


@pytest.mark.parametrize(
    ("command", "values", "said"),
    [
        ("lot", {"lot": "L-1", "lane": "lfet"}, "lane: found 'lfet', expected one of left, right, or * for all"),
        ("lot", {"lot": "", "lane": "lfet"}, "lane: found 'lfet'"),
        ("recipe", {"recipe": "fnie"}, "recipe: found 'fnie', expected one of coarse, fine, or \"\" for none"),
        ("recipe", {"recipe": "fine", "lane": "x"}, "lane: found 'x'"),
        ("recipe", {"recipe": "fnie", "lane": "x"}, "; recipe: found 'fnie'"),
        ("part", {"lane": "left", "recipe": "fnie"}, "recipe: found 'fnie'"),
    ],
)
def test_a_name_that_the_line_does_not_have_is_refused(
    line: Path, command: str, values: dict[str, object], said: str
) -> None:
    """By the one place that every door asks; nothing is entered."""
    answer = asked(line, command, **values)

    assert answer["accepted"] is False
    assert said in str(answer["error"])
    assert order_in_force(line, LOT) is order_in_force(line, RECIPE) is None


@pytest.mark.parametrize(
    ("command", "values", "state"),
    [
        ("lot", {"lot": "L-1"}, "recorded"),
        ("lot", {"lot": "L-1", "lane": "left"}, "recorded"),
        ("recipe", {"recipe": "fine", "lane": "right"}, "asked"),
        ("recipe", {"recipe": ""}, "asked"),
        ("part", {"lane": "left", "recipe": "fine"}, "taken"),
        ("part", {"lane": "left"}, "taken"),
    ],
)
def test_what_it_has_is_taken_and_the_answer_says_what_is_true(
    line: Path, command: str, values: dict[str, object], state: str
) -> None:
    """A recipe is asked for: whether the line takes it up is said later."""
    answer = asked(line, command, **values)

    assert (answer["accepted"], answer["state"], answer["checked"]) == (True, state, True)
    assert "note" not in answer


def test_where_the_records_do_not_say_it_is_recorded_and_said(tmp_path: Path) -> None:
    """No run has begun here; a version that entered no lanes; a file that is none."""
    nothing = asked(tmp_path / "none", "part", lane="left", recipe="fine")
    (tmp_path / "new").mkdir()
    first = asked(tmp_path / "new", "recipe", recipe="fine", lane="left")
    say_configuration(tmp_path / "old", None, ["fine"])
    old = asked(tmp_path / "old", "lot", lot="L-1", lane="left")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / FILE_NAME).write_text("no database", encoding="ascii")

    assert nothing["note"] == "taken; not checked: the records do not say which recipes there are"
    assert first["note"] == "recorded; not checked: the records do not say which lanes and recipes there are"
    assert (first["accepted"], first["checked"]) == (True, False)
    assert old["note"] == "recorded; not checked: the records do not say which lanes there are"
    assert recorded_names(tmp_path / "old") == KnownNames(None, ("fine",))
    assert recorded_names(tmp_path / "torn") == KnownNames()


def test_a_line_without_lanes_has_none(tmp_path: Path) -> None:
    """That is another thing than not knowing."""
    say_configuration(tmp_path, [], [])

    assert recorded_names(tmp_path) == KnownNames((), ())
    with pytest.raises(ConfigError, match=r"lane: found 'left', expected \* for all: the configuration has none"):
        KnownNames((), ()).check(lane="left")


def test_a_lot_of_a_lane_that_has_gone_can_be_ended(line: Path) -> None:
    """It was begun there, and would count for ever."""
    ask_lot(line, "L-1", MES, "gone")

    assert asked(line, "lot", lot="", lane="gone")["accepted"] is True
    assert asked(line, "lot", lot="", lane="gone")["accepted"] is False


def test_a_run_enters_the_lanes_that_it_has(tmp_path: Path) -> None:
    """At its start and at each change, also that there are none."""
    streams = tmp_path / "streams.toml"
    text = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://h/x"\n'
    found = []
    for lanes in ("", '[[lane]]\nname = "left"\ncameras = ["a"]\nwindow_ms = [0, 5]\nejector_ms = 900\n'):
        streams.write_text(text + lanes, encoding="utf-8")
        found += [entry for entry in configuration_change(load_config(streams, {})) if entry.complete == LANES]

    assert [list(entry.settings) for entry in found] == [[LANES]] * 2
    none, left = (entry.settings[LANES] for entry in found)
    assert none == {}
    assert isinstance(left, dict)
    assert (list(left), left["left"]["cameras"]) == (["left"], ["a"])


def test_the_command_refuses_too_and_says_what_nobody_checked(line: Path, tmp_path: Path) -> None:
    """`vision-line lots`."""

    def lots(directory: Path, *arguments: str) -> tuple[int, str]:
        ended = CliRunner().invoke(cli, ["lots", "begin", *arguments, "--record", str(directory)])
        return ended.exit_code, ended.output

    refused = lots(line, "L-1", "--lane", "lfet")
    taken = lots(line, "L-1", "--lane", "left")
    (tmp_path / "new").mkdir()
    unchecked = lots(tmp_path / "new", "L-1", "--lane", "left")

    assert refused[0] == 2
    assert "expected one of left, right" in refused[1]
    assert taken[0] == 0
    assert taken[1].endswith(" on\n")
    assert unchecked[1].endswith("(recorded; not checked: the records do not say which lanes there are)\n")
