# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line challenge` as a script sees it: what is said, and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.challenge_plans import CRITERIA
from tests.fakes.desk_records import writing as writing_records
from typer.testing import CliRunner, Result

from vision_line.challenges.doing import going_on
from vision_line.challenges.entry_bodies import ChallengeAct, ChallengeOutcome, ResultBody
from vision_line.cli.main import cli
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import writing

PLAN = """every = "8h"
positions = ["left"]
[[part]]
id = "A17"
expects = ["open"]
repeats = 20
[[challenge]]
camera = "cam01"
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Return a folder with a configuration, a plan and records."""
    streams = 'config_version = 1\n[[stream]]\nname = "cam01"\nurl = "rtsp://10.0.0.1/1"\n'
    (tmp_path / "streams.toml").write_text(streams, encoding="utf-8")
    (tmp_path / "challenge.toml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "records").mkdir()
    with writing_records(tmp_path / "records") as rows:
        rows.run(0, 600, "cam01")
    return tmp_path


def call(line: Path, *words: str) -> Result:
    places = ("--streams", str(line / "streams.toml"), "--record", str(line / "records"))
    return CliRunner().invoke(cli, ["challenge", *words, *places])


def test_a_script_leads_through_a_challenge(line: Path) -> None:
    begun = call(line, "start", "cam01")
    assert begun.exit_code == 0, begun.output
    assert begun.output.count("A17, left") == 20
    assert "20 passes without a miss show a miss rate below 13.9 %; for 1 % it takes 299, for 5 % 59" in begun.output
    assert "A17, left: lay it down now. 19 more" in call(line, "next", "cam01").output
    assert "goes on: 1 of 20 passes" in call(line, "status").output
    assert call(line, "abort", "cam01", "--why", "wrong box").exit_code == 0
    assert going_on(line / "records") == []
    assert "broken off" in call(line, "results").output


def test_what_cannot_be_is_one_sentence(line: Path) -> None:
    for words in (("next", "cam01"), ("start", "cam02")):
        refused = call(line, *words)
        assert refused.exit_code == 2
    (line / "challenge.toml").unlink()
    assert call(line, "status").exit_code == 2


def test_a_file_that_is_no_clip_of_the_plan_is_refused(line: Path) -> None:
    assert "expected [[clip]]" in call(line, "replay").output
    clip = '[[clip]]\nfile = "a.mp4"\ncamera = "cam01"\nexpects = "good"\n'
    (line / "challenge.toml").write_text(PLAN + clip, encoding="utf-8")
    for words, said in ((["other.mp4"], "other.mp4: expected the file of a [[clip]]"), ([], "a.mp4: cannot be read")):
        refused = call(line, "replay", *words)
        assert (refused.exit_code, said in refused.output.replace("\n", "")) == (2, True), refused.output


@pytest.mark.parametrize(("outcome", "code"), [(None, 6), (ChallengeOutcome.PASSED, 6), (ChallengeOutcome.FAILED, 7)])
def test_the_exit_code_of_status_says_what_is_due(line: Path, outcome: ChallengeOutcome | None, code: int) -> None:
    """One that was passed years ago is overdue, one that failed stays failed."""
    if outcome is not None:
        body = ResultBody(
            challenge=1, at_utc=1e9, outcome=outcome, why=(), passes=(), strays=0, criteria=CRITERIA, record_number=1,
            record_head="",
        )  # fmt: skip
        with writing(line / "records") as connection:
            append(connection, ChallengeAct.RESULT, "cam01", body.model_dump(mode="json"))
    assert call(line, "status").exit_code == code


def test_a_challenge_by_the_clock_in_which_nothing_runs_shows_nothing(line: Path) -> None:
    """It goes through all parts by itself, and waits for records that never come."""
    few = PLAN.replace("repeats = 20", "repeats = 2")
    (line / "challenge.toml").write_text(few, encoding="utf-8")
    done = call(line, "start", "cam01", "--interval", "0.5")
    assert done.exit_code == 6, done.output
    assert "2 of 2 passes were not inspected" in done.output
