# SPDX-License-Identifier: AGPL-3.0-or-later
"""The follower: nothing is skipped, order holds, what is gone is said; over real record files."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.desk_records import DeskRecords, writing

from vision_line.config.output_settings import OutputSettings
from vision_line.errors import RunError
from vision_line.outputs.cloud_events import body_of
from vision_line.outputs.cursor import CursorKey
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_source import JournalSource
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.json_lines import JsonLines, events_settings
from vision_line.outputs.notification import Notification
from vision_line.records.journal import Kind
from vision_line.records.journal_removal import remove_entries
from vision_line.records.journal_writer import read_head
from vision_line.records.schema import FILE_NAME, transaction


class Setting:
    """Records, cursors, and a follower that can be started anew."""

    def __init__(self, directory: Path, rows: DeskRecords) -> None:
        self.directory = directory
        self.rows = rows
        self.source = JournalSource(directory)
        self.cursors = CursorFile(directory)

    def follower(self, **settings: object) -> Follower:
        asked = {"name": "plant", "since": "all", "kinds": ["event"], **settings}
        return Follower(OutputSettings.model_validate(asked), self.source, self.cursors)

    def close(self) -> None:
        self.source.close()
        self.cursors.close()


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    with writing(tmp_path) as rows:
        rows.connection.execute("PRAGMA synchronous=OFF")
        made = Setting(tmp_path, rows)
        yield made
        made.close()


def taken(follower: Follower, window: int = 20) -> list[Notification]:
    """Take all that is there, acknowledged."""
    found: list[Notification] = []
    while (batch := follower.next(window)) is not None:
        assert len(batch.messages) <= window
        follower.tried(batch)
        follower.done(batch)
        found += batch.messages
    return found


def events_of(messages: list[Notification]) -> list[object]:
    return [said.content["event_id"] for said in messages if said.kind == "event"]


def no_space() -> None:
    raise RunError("database or disk is full")


def shortened(rows: DeskRecords, removed_rows: int) -> None:
    """Have the journal lose its beginning, as retention does."""
    with transaction(rows.connection):
        rows.connection.execute("DELETE FROM events WHERE event <= ?", (removed_rows,))
        (at_utc,) = rows.connection.execute("SELECT max(at_utc) FROM journal").fetchone()
        assert at_utc
        assert remove_entries(
            rows.connection, rows.connection.journal, "prune", removed_rows=removed_rows, by_size=True
        )


def test_everything_comes_once_and_in_order(setting: Setting) -> None:
    """More than is read ahead, in windows; afterwards nothing is there."""
    run = setting.rows.run(0, None, "cam1")
    with transaction(setting.rows.connection):
        pass
    wanted = [f"event {setting.rows.event(run, 'cam1', 1.0 * number)}" for number in range(30)]
    follower = setting.follower()

    assert events_of(taken(follower, 7)) == wanted
    assert follower.next(7) is None
    assert follower.cursor.sent == 30


def test_a_window_that_failed_comes_again(setting: Setting) -> None:
    """The same messages with the same ids, and no more of them than the window."""
    run = setting.rows.run(0, None, "cam1")
    for number in range(10):
        setting.rows.event(run, "cam1", 1.0 * number)
    follower = setting.follower()
    first = follower.next(4)
    assert first is not None
    assert follower.tried(first) == 0
    again = follower.next(4)
    assert again is not None

    assert [said.id for said in again.messages] == [said.id for said in first.messages]
    assert follower.tried(again) == 4
    follower.done(again)
    assert len(taken(follower)) == 6
    assert follower.cursor.repeated == 4


def test_a_killed_process_goes_on_behind_what_was_acknowledged(setting: Setting) -> None:
    """The cursor is in the file before the next window goes."""
    run = setting.rows.run(0, None, "cam1")
    wanted = [f"event {setting.rows.event(run, 'cam1', 1.0 * number)}" for number in range(10)]
    follower = setting.follower()
    batch = follower.next(4)
    assert batch is not None
    follower.done(batch)

    assert events_of(taken(setting.follower())) == wanted[4:]


def test_a_new_output_begins_now_or_with_all(setting: Setting) -> None:
    """`since` is of an output's first start alone."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    new = setting.follower(name="new", since="now")
    setting.rows.event(run, "cam1", 2.0)

    assert events_of(taken(new)) == ["event 2"]
    assert events_of(taken(setting.follower())) == ["event 1", "event 2"]
    assert taken(setting.follower(name="new", since="all")) == []


def test_a_new_output_begins_now_also_where_that_cannot_be_noted_yet(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: it begins all the same, so that what comes meanwhile is not skipped, and notes its place later."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    with monkeypatch.context() as full:
        full.setattr(CursorFile, "save", lambda *_: no_space())
        new = setting.follower(since="now")
        with pytest.raises(RunError, match="disk is full"):
            new.note()
    setting.rows.event(run, "cam1", 2.0)
    new.note()

    assert setting.cursors.cursor(CursorKey("plant")) is not None
    assert events_of(taken(new)) == ["event 2"]


def test_filters(setting: Setting) -> None:
    """By camera, class, verdict and kind; what was passed over does not come back."""
    run = setting.rows.run(0, None, "cam1", "cam2")
    setting.rows.event(run, "cam1", 1.0, verdict="warn")
    setting.rows.event(run, "cam2", 2.0, verdict="reject", class_name="short")
    setting.rows.event(run, "cam1", 3.0, verdict="reject")
    setting.rows.gap(run, "cam1", "capacity", 4.0, 5.0)

    assert events_of(taken(setting.follower(name="a", verdicts=["reject"]))) == ["event 2", "event 3"]
    assert events_of(taken(setting.follower(name="b", cameras=["cam1"], classes=["open"]))) == ["event 1", "event 3"]
    assert [said.kind for said in taken(setting.follower(name="c", kinds=["interval"]))] == ["interval"]
    assert taken(setting.follower(name="c", kinds=["interval"])) == []


def test_what_may_be_wrong_is_said_unless_it_is_not_asked_for(setting: Setting) -> None:
    """Whatever cameras and verdicts are: an engine that turned wrong inspected all of them."""
    run = setting.rows.run(0, None, "cam1")
    with transaction(setting.rows.connection):
        body = {"since_utc": 1.0, "until_utc": 2.0, "why": "cpu: it computes wrongly now"}
        setting.rows.connection.journal.append(Kind.DOUBT, "engine", body, run)
    asked = OutputSettings.model_validate({"name": "e", "since": "all", "cameras": ["cam2"], "verdicts": ["reject"]})

    assert "doubt" in [said.kind for said in taken(Follower(asked, setting.source, setting.cursors))]
    assert taken(setting.follower(name="f", kinds=["event"])) == []


def test_the_image_of_an_event_follows_its_verdict_and_is_never_inline(setting: Setting) -> None:
    """Filtered as its event is, by hash alone."""
    run = setting.rows.run(0, None, "cam1")
    event = setting.rows.event(run, "cam1", 1.0, verdict="warn")
    setting.rows.images(event, b"jpeg")
    messages = taken(setting.follower(kinds=["event", "evidence"]))
    evidence = messages[-1]

    assert [said.kind for said in messages] == ["event", "evidence"]
    assert (evidence.camera, evidence.verdict, evidence.content["event_id"]) == ("cam1", "warn", "event 1")
    assert len(str(evidence.content["image_sha256"])) == 64
    assert not {"path", "overlay_path", "crop_path"} & evidence.content.keys()
    assert taken(setting.follower(name="r", kinds=["event", "evidence"], verdicts=["reject"])) == []


def test_an_image_comes_whose_event_becomes_a_reject_later(setting: Setting) -> None:
    """It comes once: the verdict of an event that goes on keeps it from nobody, nor does what another output heard."""
    run = setting.rows.run(0, None, "cam1")
    event = setting.rows.event(run, "cam1", 1.0, verdict="warn")
    setting.rows.connection.execute("UPDATE events SET phase = 'new', ended = 0")
    setting.rows.images(event, b"jpeg")
    asked = {"kinds": ["event", "evidence"], "verdicts": ["reject"]}
    live = taken(setting.follower(name="live", **asked))
    away = setting.follower(name="away", **asked)
    with transaction(setting.rows.connection):
        setting.rows.connection.execute("UPDATE events SET phase = 'end', ended = 1, verdict = 'reject'")

    assert [(said.kind, said.content["verdict"]) for said in live] == [("evidence", "warn")]
    assert [(said.kind, said.content["verdict"]) for said in taken(away)] == [
        ("evidence", "reject"),
        ("event", "reject"),
    ]


def test_an_event_reads_as_flat_json(setting: Setting) -> None:
    """Times as ISO 8601, the box in pixels and shares, the run's model; no number of a row, no monotonic clock."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    (said,) = taken(setting.follower())
    found = json.loads(said.as_json(1_795_896_009.5))

    assert found["schema"] == "vision-line.event/1"
    assert found["id"] == f"run at 0:{found['number']}"
    assert found["sent"] == "2026-11-28T20:00:09.500000Z"
    assert found["first_seen_utc"] == "2026-11-28T20:00:01.000000Z"
    assert (found["x1"], found["left"], found["bottom"]) == (1.0, 0.00156, 0.11111)
    assert (found["verdict"], found["class"], found["ended"], found["is_simulated"]) == ("reject", "open", True, False)
    assert found["model_sha256"] == "1" * 64
    assert not {name for name in found if name.endswith("_s") or name == "event"}
    assert not [value for value in found.values() if isinstance(value, dict | list)]


def test_a_message_is_the_same_each_time_but_for_its_moment() -> None:
    """What is kept of its JSON holds for all moments, also where a text of it looks like one."""
    content = {"run": None, "note": ',"sent":"1970-01-01T00:00:00.000000Z"', "camera": "cam1"}
    said = Notification("0:7", 7, "event", 1_795_896_009.0, content)
    for at_utc in (0.0, 1_795_896_010.25, 1_795_896_011.5):
        assert json.loads(said.as_json(at_utc)) == said.as_object(at_utc)
        assert list(json.loads(said.as_json(at_utc))) == list(said.as_object(at_utc))
        assert json.loads(body_of([said], "/line", at_utc, batched=False))["data"] == said.as_object(at_utc)
        assert [one["id"] for one in json.loads(body_of([said] * 3, "/line", at_utc, batched=True))] == ["0:7"] * 3


def test_an_entry_with_sent_of_its_own_becomes_json() -> None:
    """One that cannot be told would hold up everything behind it."""
    said = Notification("0:7", 7, "event", 1_795_896_009.0, {"sent": "never", "camera": "cam1"})

    assert [json.loads(said.as_json(at_utc)) for at_utc in (5.0, 6.0)] == [said.as_object(5.0)] * 2


def test_what_one_output_has_read_is_not_read_again_for_the_next(setting: Setting) -> None:
    """As long as nothing was written since: else an image would have a verdict that holds no more."""
    statements: list[str] = []

    class Traced(JournalSource):
        def _opened(self, path: Path) -> sqlite3.Connection:
            connection = super()._opened(path)
            connection.set_trace_callback(statements.append)
            return connection

    run = setting.rows.run(0, None, "cam1")
    event = setting.rows.event(run, "cam1", 1.0)
    setting.rows.images(event, b"", path="evidence/1.jpg")
    setting.source.close()
    setting.source = Traced(setting.directory)
    first, second, third = (setting.follower(name=name, kinds=["event", "evidence"]) for name in ("a", "b", "c"))
    by_first = taken(first)
    statements.clear()
    by_second = taken(second)
    asked = [one for one in statements if "FROM" in one]
    with transaction(setting.rows.connection):
        setting.rows.connection.execute("UPDATE events SET verdict = 'warn'")
    by_third = taken(third)

    assert [said.kind for said in by_first] == ["event", "evidence"]
    assert by_second == by_first
    assert asked == []
    assert [said.content["verdict"] for said in by_third] == ["reject", "warn", "warn"]


def test_an_interval_that_was_taken_back_still_has_its_camera(setting: Setting) -> None:
    """From the entry that said it first."""
    run = setting.rows.run(0, None, "cam1", "cam2")
    setting.rows.gap(run, "cam1", "capacity", 4.0, None)
    with transaction(setting.rows.connection):
        setting.rows.connection.execute("DELETE FROM not_inspected")
    messages = taken(setting.follower(kinds=["interval"], cameras=["cam1"]))

    assert [said.content.get("withdrawn") for said in messages] == [None, True]
    assert messages[1].content["key"] == "cam1 4.0"


def test_entries_that_retention_took_are_said_to_be_lost(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, before what is still there, and only once."""
    monkeypatch.setattr("vision_line.records.journal_removal.SPARED_S", -1e9)
    run = setting.rows.run(0, None, "cam1")
    for number in range(40):
        setting.rows.event(run, "cam1", 1.0 * number)
    follower = setting.follower()
    batch = follower.next(5)
    assert batch is not None
    follower.done(batch)
    shortened(setting.rows, 20)
    messages = taken(setting.follower())
    begins = setting.source.beginning().number

    assert messages[0].kind == "lost"
    assert messages[0].content == {
        "journal": "records",
        "from": batch.ends.number + 1,
        "to": begins,
        "entries": begins - batch.ends.number,
        "why": "removed",
    }
    assert all(said.number > begins for said in messages[1:])
    assert taken(setting.follower()) == []
    assert setting.cursors.cursor(CursorKey("plant")) is not None
    assert setting.follower().cursor.lost == begins - batch.ends.number


def test_what_was_carried_is_no_news(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention enters again what still holds; who had it before does not get it again, who lost it does."""
    monkeypatch.setattr("vision_line.records.journal_removal.SPARED_S", -1e9)
    run = setting.rows.run(0, None, "cam1")
    for number in range(40):
        setting.rows.event(run, "cam1", 1.0 * number)
    early = setting.follower(kinds=["run"])
    late = setting.follower(name="late", kinds=["run"])
    assert len(taken(early)) == 1
    shortened(setting.rows, 20)

    assert taken(early) == []
    assert [said.kind for said in taken(late)] == ["lost", "run"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_replay_has_what_was_carried(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, *, is_restarted: bool
) -> None:
    """A receiver that lost its store gets what still holds, whose first entry is gone; and what comes then, once."""
    monkeypatch.setattr("vision_line.records.journal_removal.SPARED_S", -1e9)
    run = setting.rows.run(0, None, "cam1")
    for number in range(40):
        setting.rows.event(run, "cam1", 1.0 * number)
    follower = setting.follower(kinds=["run"])
    assert len(taken(follower)) == 1
    shortened(setting.rows, 20)
    assert taken(follower) == []

    follower.go_back(setting.source.beginning().number)
    if is_restarted:
        follower = setting.follower(kinds=["run"])
    assert [(said.kind, said.content["carried"]) for said in taken(follower)] == [("run", True)]
    shortened(setting.rows, 20)
    assert taken(follower) == []


def test_who_wants_all_that_is_kept_gets_what_was_carried_before_it_began(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first entry is gone: also after a restart. Who begins with what happens now does not."""
    monkeypatch.setattr("vision_line.records.journal_removal.SPARED_S", -1e9)
    run = setting.rows.run(0, None, "cam1")
    for number in range(40):
        setting.rows.event(run, "cam1", 1.0 * number)
    shortened(setting.rows, 20)
    setting.follower(kinds=["run"])

    assert [said.kind for said in taken(setting.follower(kinds=["run"]))] == ["run"]
    assert taken(setting.follower(name="now", kinds=["run"], since="now")) == []


def test_a_reader_by_a_pipe_hears_what_is_gone_behind_its_id(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision_line.records.journal_removal.SPARED_S", -1e9)
    run = setting.rows.run(0, None, "cam1")
    for number in range(40):
        setting.rows.event(run, "cam1", 1.0 * number)
    shortened(setting.rows, 20)
    begins = setting.source.beginning().number
    assert begins > 3
    sources = JournalSources(setting.directory)
    lines = list(JsonLines(events_settings(["event"], [], [], [], "run:3"), sources, "run:3").lines())
    sources.close()
    first = json.loads(lines[0])

    assert (first["schema"], first["from"], first["to"]) == ("vision-line.lost/1", 4, begins)


def test_an_older_backup_is_found_and_said(setting: Setting) -> None:
    """The number went back: what is behind the last mark that both have comes, perhaps again."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    follower = setting.follower()
    taken(follower)
    backup = setting.directory / "backup.sqlite"
    setting.rows.connection.execute("VACUUM INTO ?", (str(backup),))
    for number in range(5):
        setting.rows.event(run, "cam1", 2.0 + number)
    taken(follower)
    setting.rows.connection.close()
    for name in ("", "-wal", "-shm"):
        (setting.directory / f"{FILE_NAME}{name}").unlink(missing_ok=True)
    shutil.copy(backup, setting.directory / FILE_NAME)
    with writing(setting.directory) as rows:
        rows.event(run, "cam1", 50.0, verdict="warn")
        messages = taken(follower)

    assert messages[0].kind == "fork"
    assert messages[-1].content["verdict"] == "warn"
    assert taken(follower) == []


def test_another_journal_of_the_same_length_is_found(setting: Setting, tmp_path: Path) -> None:
    """By the digest at the cursor."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    follower = setting.follower()
    taken(follower)
    setting.rows.connection.close()
    for name in ("", "-wal", "-shm"):
        (setting.directory / f"{FILE_NAME}{name}").unlink(missing_ok=True)
    with writing(setting.directory) as rows:
        run = rows.run(100, None, "cam1")
        rows.event(run, "cam1", 101.0)
        assert read_head(rows.connection).number == follower.cursor.number
        messages = taken(follower)

    assert [said.kind for said in messages] == ["fork", "event"]
    assert messages[0].content == {"journal": "records", "followed_to": messages[1].number, "goes_on_behind": 0}


def test_a_backlog_beyond_its_limit_is_given_up_and_said(setting: Setting) -> None:
    """The oldest go."""
    run = setting.rows.run(0, None, "cam1")
    for number in range(30):
        setting.rows.event(run, "cam1", 1.0 * number)
    messages = taken(setting.follower(max_backlog=10))

    assert messages[0].content["why"] == "max_backlog"
    assert len(messages) == 11
    assert messages[1].number == messages[0].number + 1


def test_a_replay_is_no_backlog(setting: Setting) -> None:
    """What the other side had is not said to be lost, also where a restart cuts the replay short."""
    run = setting.rows.run(0, None, "cam1")
    follower = setting.follower(max_backlog=10)
    for number in range(40):
        setting.rows.event(run, "cam1", 1.0 * number)
        taken(follower)
    follower.go_back(0)
    batch = follower.next(4)
    assert batch is not None
    follower.tried(batch)
    follower.done(batch)
    for number in range(40, 60):
        setting.rows.event(run, "cam1", 1.0 * number)
    again = setting.follower(max_backlog=10)
    messages = taken(again)

    assert [said.kind for said in messages] == ["event"] * 56
    assert again.cursor.lost == 0


def test_memory_holds_a_bounded_part_however_long_the_output_is_away(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record file is the queue."""
    monkeypatch.setattr("vision_line.outputs.follower.READ_AHEAD", 8)
    run = setting.rows.run(0, None, "cam1")
    follower = setting.follower()
    for number in range(100):
        setting.rows.event(run, "cam1", 1.0 * number)
        follower.next(20)

    assert len(follower._read) <= 8
    assert len(events_of(taken(follower))) == 100


def test_replay_goes_back_and_comes_forward_again(setting: Setting) -> None:
    """Everything behind the entry, counted as repeated."""
    run = setting.rows.run(0, None, "cam1")
    for number in range(10):
        setting.rows.event(run, "cam1", 1.0 * number)
    follower = setting.follower()
    first = taken(follower)
    follower.go_back(first[5].number)

    assert [said.id for said in taken(follower)] == [said.id for said in first[6:]]
    assert follower.cursor.repeated == 4


def test_records_may_come_later(tmp_path: Path) -> None:
    """The outputs may be started before the line was ever."""
    source, cursors = JournalSource(tmp_path), CursorFile(tmp_path)
    settings = OutputSettings(name="plant", kinds=["event"])
    follower = Follower(settings, source, cursors)
    assert follower.next(20) is None
    with writing(tmp_path) as rows:
        rows.event(rows.run(0, None, "cam1"), "cam1", 1.0)
        assert events_of(taken(follower)) == ["event 1"]
    source.close()
    cursors.close()


@pytest.mark.parametrize(
    "damage",
    [
        "body = '['",
        "body = replace(body, '\"open\"', '\"' || CAST(x'ff' AS TEXT))",  # a byte that is no text, and a quote less
        f"body = '{{\"box\":{'[' * 100_000}'",
        "at_utc = 1e300",
    ],
    ids=["half", "no text", "deep", "no moment"],
)
def test_a_damaged_entry_stops_nobody(setting: Setting, damage: str) -> None:
    """It is said to be unreadable, and `verify` names it."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    setting.rows.event(run, "cam1", 2.0)
    setting.rows.connection.execute(f"UPDATE journal SET {damage} WHERE key = 'event 1'")

    found = [json.loads(said.as_json(0.0)) for said in taken(setting.follower())]
    assert [said.get("unreadable") for said in found] == [True, None]
    assert (found[0]["time"] == "1970-01-01T00:00:00.000000Z") is damage.startswith("at_utc")


def test_a_byte_that_is_no_text_becomes_a_question_mark(setting: Setting) -> None:
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    damaged = "replace(body, '\"class\":\"open\"', '\"class\":\"op' || CAST(x'ff' AS TEXT) || 'n\"')"
    setting.rows.connection.execute(f"UPDATE journal SET body = {damaged} WHERE key = 'event 1'")
    (said,) = taken(setting.follower())

    assert said.content["class"] == "op\N{REPLACEMENT CHARACTER}n"


def test_half_a_character_ends_nobody(setting: Setting) -> None:
    """JSON can hold what UTF-8 cannot: a name that somebody put into the file by hand."""
    run = setting.rows.run(0, None, "cam1")
    setting.rows.event(run, "cam1", 1.0)
    (body,) = setting.rows.connection.execute("SELECT body FROM journal WHERE key = 'event 1'").fetchone()
    damaged = body.replace('"class":"open"', '"class":"\\ud800"')
    setting.rows.connection.execute("UPDATE journal SET body = ? WHERE key = 'event 1'", (damaged,))
    (said,) = taken(setting.follower())

    assert json.loads(said.as_json(0.0))["class"] == "?"
    assert json.loads(body_of([said], "/line", 0.0, batched=False))["data"]["class"] == "?"


def test_a_turn_that_finds_nothing_asks_for_nothing_but_a_count(setting: Setting) -> None:
    """Each output asks 20 times a second for each journal; what comes is found all the same, by all of them."""
    one, other = setting.follower(), setting.follower(name="other")
    run = setting.rows.run(0, None, "cam1")
    for number in range(2):
        setting.rows.event(run, "cam1", float(number))
        assert [len(taken(follower)) for follower in (one, other)] == [1, 1]
        assert setting.source._connection is not None
        asked: list[str] = []
        setting.source._connection.set_trace_callback(asked.append)
        assert (one.next(20), other.next(20)) == (None, None)
        setting.source._connection.set_trace_callback(None)
        assert asked == ["PRAGMA data_version"] * 2
