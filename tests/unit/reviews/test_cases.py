# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases are what the entries of the journal say: who made what of them, and that nothing else changes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vision_line.errors import ConfigError, RunError
from vision_line.records.side_chain import chain_problem
from vision_line.reviews.cases import MOST_EVENTS, CaseEvent, Cases, EventKey
from vision_line.reviews.reviews_file import FILE_NAME, reading


def event(number: int) -> CaseEvent:
    return CaseEvent("run", f"event {number}", "cam01", "open", 1_795_896_000.0 + number)


@pytest.fixture
def cases(tmp_path: Path) -> Cases:
    """Return the cases of a directory: none."""
    return Cases(tmp_path)


def test_without_a_case_nothing_is_made(cases: Cases, tmp_path: Path) -> None:
    assert cases.all() == []
    assert cases.find(1) is None
    assert list(tmp_path.iterdir()) == []


def test_a_case_is_what_its_entries_say(cases: Cases, tmp_path: Path) -> None:
    """With who did what, and before and after."""
    number = cases.make(" Claim 7 ", "a\r\nb", [event(2), event(1), event(2)], by="rita")
    assert cases.add(number, [event(2), event(3)], by="anna") == 1
    assert cases.remove(number, [event(1).key, EventKey("run", "none")], by="anna") == 1
    cases.describe(number, "Claim 8", "", by="rita")
    cases.close(number, by="anna")
    case = cases.find(number)
    assert case is not None
    assert (case.number, case.name, case.note, case.by, case.is_open) == (1, "Claim 8", "", "rita", False)
    assert case.events == (event(2), event(3))
    assert [(entry.kind, entry.body["by"]) for entry in case.entries] == [
        ("case_made", "rita"),
        ("case_events_added", "anna"),
        ("case_events_removed", "anna"),
        ("case_described", "rita"),
        ("case_closed", "anna"),
    ]
    described = case.entries[3].body
    assert described["before"] == {"name": "Claim 7", "note": "a\nb"}
    assert described["after"] == {"name": "Claim 8", "note": ""}
    with reading(tmp_path) as connection:
        assert connection is not None
        assert chain_problem(connection) == ""


def test_the_newest_case_comes_first(cases: Cases) -> None:
    assert [cases.make(name, "", [], by="rita") for name in ("one", "two")] == [1, 2]
    assert [case.name for case in cases.all()] == ["two", "one"]


def test_what_changes_nothing_leaves_no_entry(cases: Cases) -> None:
    number = cases.make("one", "", [event(1)], by="rita")
    assert cases.add(number, [event(1)], by="rita") == 0
    assert cases.remove(number, [event(2).key], by="rita") == 0
    cases.describe(number, "one", "", by="rita")
    case = cases.find(number)
    assert case is not None
    assert len(case.entries) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda cases: cases.add(1, [event(2)], by="rita"),
        lambda cases: cases.remove(1, [event(1).key], by="rita"),
        lambda cases: cases.describe(1, "two", "", by="rita"),
        lambda cases: cases.close(1, by="rita"),
    ],
)
def test_a_closed_case_is_changed_by_nobody(cases: Cases, change: Callable[[Cases], None]) -> None:
    """Until it is reopened."""
    cases.make("one", "", [event(1)], by="rita")
    cases.close(1, by="rita")
    with pytest.raises(ConfigError, match="case 1 is closed"):
        change(cases)
    cases.reopen(1, by="anna")
    change(cases)
    case = cases.find(1)
    assert case is not None
    assert len(case.entries) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda cases: cases.make("", "", [], by="rita"), "name of the case"),
        (lambda cases: cases.make("x" * 81, "", [], by="rita"), "name of the case"),
        (lambda cases: cases.make("x", "y" * 2001, [], by="rita"), "note of at most"),
        (lambda cases: cases.make("x", "", map(event, range(MOST_EVENTS + 1)), by="rita"), "at most 500 events"),
        (lambda cases: cases.add(1, map(event, range(MOST_EVENTS + 1)), by="rita"), "at most 500 events"),
        (lambda cases: cases.add(2, [event(1)], by="rita"), "no case 2"),
        (lambda cases: cases.reopen(1, by="rita"), "case 1 is open"),
    ],
)
def test_what_cannot_be_leaves_no_entry(cases: Cases, change: Callable[[Cases], None], says: str) -> None:
    cases.make("one", "", [event(1)], by="rita")
    with pytest.raises(ConfigError, match=says):
        change(cases)
    (case,) = cases.all()
    assert len(case.entries) == 1


def test_a_name_is_one_line_without_control_characters(cases: Cases) -> None:
    cases.make("one\n\x1b[2Jtwo\u202e", "\x07 bell", [], by="rita")
    (case,) = cases.all()
    assert case.name == "one\\n\\x1b[2Jtwo\\u202e"
    assert case.note == "\\x07 bell"


@pytest.mark.parametrize("body", ["{}", "[]", '{"by":"x","after":{"name":"a","note":"b"},"events":[{}]}'])
def test_an_entry_that_somebody_made_up_is_named(cases: Cases, tmp_path: Path, body: str) -> None:
    cases.make("one", "", [], by="rita")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        values = (2, "case_made", "2", 0.0, body, bytes(32))
        connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", values)
        connection.commit()
    with pytest.raises(RunError, match="entry 2 of the reviews says nothing of a case"):
        cases.all()
