# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers: append-only, taken back by an entry, the latest by a person counts; and who notices that one was changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.answers import EVENT, make_answer

from vision_line.errors import BrokenRecordError, ConfigError
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import append, entries
from vision_line.reviews.answer import Answer, ItemKey, ItemKind, LineCall, ReviewedBox, ReviewVerdict
from vision_line.reviews.answer_journal import (
    AnswerChange,
    answer_counts,
    answers_by_item,
    answers_of,
    answers_problem,
    append_answer,
    current_answers,
    fold,
    withdraw,
)
from vision_line.reviews.reviews_check import check_reviews
from vision_line.reviews.reviews_file import _ADDED, FILE_NAME, reading, writing

AUDIT = ItemKey(ItemKind.AUDIT, "run 1", "cam/2/700")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Yield an empty file of reviews, in memory."""
    with closing(in_memory()) as made:
        yield made


def in_memory() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.row_factory = sqlite3.Row
    for statements in _ADDED.values():
        for statement in statements:
            made.execute(statement)
    return made


def content(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in asdict(answer).items() if name not in {"number", "at_utc", "is_second"}}


def changed(directory: Path, *statements: str) -> None:
    """Change the file behind the program's back."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as made:
        for statement in statements:
            made.execute(statement)
        made.commit()


def test_an_answer_is_kept_whole(connection: sqlite3.Connection) -> None:
    """In the journal's entry; the row has what one searches by."""
    answer = make_answer(
        AUDIT,
        verdict=ReviewVerdict.OVERRULED,
        class_name="short",
        boxes=(ReviewedBox("short", 1.25, 2.5, 30.75, 40.0),),
        note="über dem Rand",
        took_s=2.5,
        stratum="audits",
        inclusion=0.25,
        call=LineCall("reject", "open", 0.75, 0.4, 0.6),
        submission="s1",
    )
    number = append_answer(connection, answer)
    (kept,) = current_answers(connection)
    assert content(kept) == content(answer)
    assert (kept.number, kept.is_second) == (number, False)
    row = connection.execute("SELECT * FROM answers").fetchone()
    assert (row["key"], row["id"], row["verdict"], row["stratum"]) == (str(AUDIT), "cam/2/700", "overruled", "audits")
    assert ItemKey.parse(row["key"]) == AUDIT


def test_nothing_drawn_and_not_touched_are_two_things(connection: sqlite3.Connection) -> None:
    append_answer(connection, make_answer(AUDIT, boxes=()))
    append_answer(connection, make_answer(EVENT, boxes=None))
    assert [answer.boxes for answer in current_answers(connection)] == [(), None]


def test_the_latest_of_a_person_counts_and_the_second_person_is_second(connection: sqlite3.Connection) -> None:
    append_answer(connection, make_answer(person="anna"))
    append_answer(connection, make_answer(person="vera"))
    last = append_answer(connection, make_answer(person="anna", verdict=ReviewVerdict.UNSURE))
    ((key, own),) = answers_by_item(connection)
    assert key == str(EVENT)
    assert [(one.person, one.is_second, one.verdict.value) for one in own] == [
        ("anna", False, "unsure"),
        ("vera", True, "confirmed"),
    ]
    assert answers_of(connection, [str(EVENT), str(AUDIT)]) == {str(EVENT): own}
    withdraw(connection, last, "anna")
    assert [one.verdict.value for one in current_answers(connection)] == ["confirmed", "confirmed"]


def test_what_is_sent_twice_is_one_answer(connection: sqlite3.Connection) -> None:
    """A double click, or a browser that tries again; of another person it is another."""
    first = append_answer(connection, make_answer(submission="a"))
    assert append_answer(connection, make_answer(submission="a", verdict=ReviewVerdict.UNSURE)) == first
    assert append_answer(connection, make_answer(submission="b")) != first
    assert append_answer(connection, make_answer(person="vera", submission="a")) != first
    assert len(entries(connection, AnswerChange)) == 3


def test_taking_back_twice_is_once_and_only_ones_own(connection: sqlite3.Connection) -> None:
    number = append_answer(connection, make_answer())
    with pytest.raises(ConfigError, match="another person's"):
        withdraw(connection, number, "vera")
    with pytest.raises(ConfigError, match="there is no answer 9"):
        withdraw(connection, 9, "anna")
    assert withdraw(connection, number, "anna")
    assert not withdraw(connection, number, "anna")
    assert not list(current_answers(connection))
    assert len(entries(connection, AnswerChange)) == 2
    assert append_answer(connection, make_answer()) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"note": "x" * 2001},
        {"note": "\ud800"},
        {"class_name": "a\0b"},
        {"person": "x" * 201},
        {"took_s": float("nan")},
        {"took_s": -1.0},
        {"inclusion": 0.0},
        {"inclusion": 1.5},
        {"boxes": (ReviewedBox("a", 3, 1, 2, 9),)},
        {"boxes": (ReviewedBox("a", 1, 1, float("inf"), 9),)},
        {"boxes": (ReviewedBox("", 1, 1, 2, 9),)},
        {"boxes": (ReviewedBox("a", 1, 1, 2, 9),) * 201},
    ],
)
def test_what_no_person_says_is_refused(connection: sqlite3.Connection, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        append_answer(connection, make_answer(**wrong))
    assert not entries(connection, AnswerChange)


@pytest.mark.parametrize("text", ["", "event", "event/run", "event//x", "clip/run/x", "event/run/"])
def test_what_names_no_item(text: str) -> None:
    with pytest.raises(ConfigError):
        ItemKey.parse(text)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["anna", "vera", "otto"]),
        st.sampled_from([EVENT, AUDIT]),
        st.sampled_from([*ReviewVerdict, None]),  # None: the person takes back their latest answer for the item
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_history_folds_to_its_table(steps: list[tuple[str, ItemKey, ReviewVerdict | None]]) -> None:
    """And what counts is what a stack for each person and item says; at most one first answer an item."""
    expected: dict[tuple[ItemKey, str], list[tuple[int, str]]] = {}
    with closing(in_memory()) as connection:
        for person, item, verdict in steps:
            stack = expected.setdefault((item, person), [])
            if verdict is not None:
                number = append_answer(connection, make_answer(item, person, verdict=verdict))
                stack.append((number, verdict.value))
            elif stack:
                assert withdraw(connection, stack.pop()[0], person)
        assert (answers_problem(connection), chain_problem(connection)) == ("", "")
        current = list(current_answers(connection))
        assert {(one.item, one.person): (one.number, one.verdict.value) for one in current} == {
            key: stack[-1] for key, stack in expected.items() if stack
        }
        for _, own in answers_by_item(connection):
            assert sum(not one.is_second for one in own) <= 1
        counts = answer_counts(connection)
        assert counts.answers == len(current)
        assert counts.items == len({one.item for one in current})
        assert set(fold(entries(connection, AnswerChange))) == {
            number for (number,) in connection.execute("SELECT number FROM answers")
        }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE answers SET verdict = 'overruled' WHERE number = 1",
        "UPDATE answers SET withdrawn = 2 WHERE number = 1",
        "UPDATE answers SET person = 'otto' WHERE number = 1",
        "DELETE FROM answers WHERE number = 1",
        "INSERT INTO answers SELECT 7, key, kind, run_id, id, 'otto', at_utc, verdict, class, 0, '', 1, NULL, NULL"
        " FROM answers WHERE number = 1",
    ],
)
def test_a_row_that_no_entry_made_so_is_named(tmp_path: Path, statement: str) -> None:
    with writing(tmp_path) as connection:
        append_answer(connection, make_answer())
        append_answer(connection, make_answer(AUDIT))
    checked = check_reviews(tmp_path)
    assert checked is not None
    assert (checked.entries, checked.answers.items) == (2, 2)
    changed(tmp_path, statement)
    with pytest.raises(BrokenRecordError, match=r"answer [17] is not as the entries say"):
        check_reviews(tmp_path)


def test_a_changed_entry_is_named(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        append_answer(connection, make_answer())
    changed(
        tmp_path,
        "DROP TRIGGER journal_no_update",
        "UPDATE journal SET body = replace(body, 'confirmed', 'overruled')",
        "UPDATE answers SET verdict = 'overruled'",
    )
    with pytest.raises(BrokenRecordError, match="entry 1 is not what was written"):
        check_reviews(tmp_path)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (AnswerChange.WITHDRAWN, {"by": "vera", "answer": 1}),
        (AnswerChange.WITHDRAWN, {"by": "anna", "answer": 5}),
        (AnswerChange.GIVEN, {"by": "anna"}),
        (AnswerChange.GIVEN, []),
    ],
)
def test_an_entry_that_says_no_answer_is_named(tmp_path: Path, kind: AnswerChange, body: Any) -> None:
    """Also where the chain was made anew around it."""
    with writing(tmp_path) as connection:
        append_answer(connection, make_answer())
        append(connection, kind, str(EVENT), body)
    with pytest.raises(BrokenRecordError):
        check_reviews(tmp_path)


def test_a_damaged_file_is_broken_and_no_file_is_nothing(tmp_path: Path) -> None:
    assert check_reviews(tmp_path) is None
    with writing(tmp_path) as connection:
        append_answer(connection, make_answer())
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096 + path.read_bytes()[8192:])
    with pytest.raises(BrokenRecordError, match="damaged"):
        check_reviews(tmp_path)


def test_one_of_two_writers_waits(tmp_path: Path) -> None:
    """And sees the other's answer, so that its own is the second."""
    with writing(tmp_path) as connection:
        append_answer(connection, make_answer(person="anna"))
    with writing(tmp_path) as connection:
        append_answer(connection, replace(make_answer(), person="vera"))
    with reading(tmp_path) as reader:
        assert reader is not None
        assert [one.is_second for one in current_answers(reader)] == [False, True]
