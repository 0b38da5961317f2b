# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers in `reviews.sqlite`: an entry with the whole of each, and a row to join and search by in the same commit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import cast

from vision_line.errors import ConfigError
from vision_line.records.records import Records
from vision_line.records.side_journal import SideEntry, append, entries
from vision_line.reviews.answer import Answer, AnswerBody, GivenAnswer, ItemKey, answer_of, body_of
from vision_line.reviews.blind_answers import SLIP_S


class AnswerChange(StrEnum):
    """What an entry says of an item, which is its key."""

    GIVEN = "answer"
    WITHDRAWN = "answer_withdrawn"


#: A row of the table `answers`, by the names of its columns.
AnswerRow = Mapping[str, object]

_COLUMNS = (
    *("number", "key", "kind", "run_id", "id", "person", "at_utc", "verdict", "class", "is_second", "stratum"),
    *("inclusion", "submission", "withdrawn"),
)
_ALL = f"SELECT {', '.join(_COLUMNS)} FROM answers ORDER BY number"  # noqa: S608  names, of this file
_INSERT = f"INSERT INTO answers ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"  # noqa: S608  the same
#: The latest that each person did not take back.
_COUNTS = (
    """a.number = (SELECT max(number) FROM answers WHERE key = a.key AND person = a.person AND withdrawn IS NULL)"""
)
_CURRENT = f"""SELECT a.number, a.key, j.at_utc, j.body FROM answers a JOIN journal j ON j.number = a.number
    WHERE {_COUNTS} AND {{where}}"""  # noqa: S608  the same
_BY_ITEM = f"{_CURRENT} ORDER BY a.key, a.is_second, a.number"
_AFTER = f"{_CURRENT.format(where='a.number > ?')} ORDER BY a.number LIMIT ?"
_PEOPLE = f"SELECT a.key, a.person FROM answers a WHERE {_COUNTS}"  # noqa: S608  the same
_NEWEST_OF = "SELECT max(number) FROM answers WHERE person = ? AND withdrawn IS NULL"
_FIRST_OF_ANOTHER = f"SELECT 1 FROM answers a WHERE key = ? AND person <> ? AND NOT is_second AND {_COUNTS}"  # noqa: S608  the same
#: The first blind second answer of each item that was no slip, and what the first person had said until then.
_BLIND = """SELECT s.key, max(f.number), s.number FROM answers s JOIN answers f ON f.key = s.key
    AND f.person <> s.person AND NOT f.is_second AND f.number < s.number
    AND (f.withdrawn IS NULL OR f.withdrawn > s.number)
    WHERE s.number IN (SELECT min(b.number) FROM answers b LEFT JOIN journal w ON w.number = b.withdrawn
        WHERE b.is_second AND (w.number IS NULL OR w.at_utc < b.at_utc OR w.at_utc >= b.at_utc + ?) GROUP BY b.key)
    GROUP BY s.key"""
_NUMBERED = """SELECT a.number, a.key, j.at_utc, j.body FROM answers a JOIN journal j ON j.number = a.number
    WHERE a.number IN (?, ?) ORDER BY a.number"""
_NUMBERS = f"""SELECT count(DISTINCT key), count(*), coalesce(sum(is_second), 0), count(DISTINCT person)
    FROM answers a WHERE {_COUNTS}"""  # noqa: S608  the same
#: What two people said of an item when neither had seen the other's answer, the first one first.
BlindPair = tuple[GivenAnswer, GivenAnswer]
#: SQLite takes more; a statement of a page has fewer.
_KEYS_AT_ONCE = 500
_ALL_OF_THEM = 2**62


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """How many items have an answer that counts, how many such answers there are, and of how many people."""

    items: int
    answers: int
    second: int
    people: int


def append_answer(connection: sqlite3.Connection, answer: Answer) -> int:
    """Enter an answer within the transaction of `writing`; return its number, of one that was sent before that one's.

    It is the second, blind one where another person's first answer counts.

    Raises:
        ConfigError: it holds what no person says.
    """
    answer.checked()
    key = str(answer.item)
    sent = connection.execute(
        "SELECT number FROM answers WHERE person = ? AND submission = ?", (answer.person, answer.submission or None)
    ).fetchone()
    if sent is not None:
        return int(sent[0])
    is_second = connection.execute(_FIRST_OF_ANOTHER, (key, answer.person)).fetchone() is not None
    number = append(connection, AnswerChange.GIVEN, key, body_of(answer, is_second=is_second))
    (at_utc,) = connection.execute("SELECT at_utc FROM journal WHERE number = ?", (number,)).fetchone()
    connection.execute(_INSERT, _row(answer, number, at_utc, is_second=is_second))
    return number


def withdraw(connection: sqlite3.Connection, number: int, person: str) -> bool:
    """Enter that a person takes their answer back, within the transaction of `writing`; whether it had counted.

    Raises:
        ConfigError: it is no answer, or another person's.
    """
    row = connection.execute("SELECT key, person, withdrawn FROM answers WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise ConfigError(f"there is no answer {number}")
    if row["person"] != person:
        raise ConfigError(f"answer {number} is another person's: only they can take it back")
    if row["withdrawn"] is not None:
        return False
    entry = append(connection, AnswerChange.WITHDRAWN, row["key"], {"by": person, "answer": number})
    connection.execute("UPDATE answers SET withdrawn = ? WHERE number = ?", (entry, number))
    return True


def current_answers(connection: sqlite3.Connection) -> Iterator[GivenAnswer]:
    """Yield every person's latest answer for each item that they did not take back; by item, the first one first."""
    yield from map(_given, connection.execute(_BY_ITEM.format(where="1")))


def answers_by_item(connection: sqlite3.Connection) -> Iterator[tuple[str, list[GivenAnswer]]]:
    """Yield the key of each item with the answers that count, the first one first: it is the one that decides."""
    for key, own in groupby(current_answers(connection), key=lambda answer: str(answer.item)):
        yield key, list(own)


def answers_of(connection: Records, keys: Sequence[str]) -> dict[str, list[GivenAnswer]]:
    """Return the answers that count for these items; items without one are not in it."""
    found: dict[str, list[GivenAnswer]] = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[start : start + _KEYS_AT_ONCE]
        sql = _BY_ITEM.format(where=f"a.key IN ({', '.join('?' * len(some))})")
        for answer in map(_given, connection.execute(sql, some)):
            found.setdefault(str(answer.item), []).append(answer)
    return found


def blind_pairs(connection: sqlite3.Connection) -> dict[str, BlindPair]:
    """Return what two people said of items, by key, whatever either said or took back later.

    Then they could have seen each other's: only a second answer that was taken back as a slip is none.
    """
    pairs: dict[str, BlindPair] = {}
    for key, first, second in connection.execute(_BLIND, (SLIP_S,)).fetchall():
        one, other = map(_given, connection.execute(_NUMBERED, (first, second)))
        pairs[key] = (one, other)
    return pairs


def answers_after(connection: Records, number: int, most: int) -> list[GivenAnswer]:
    """Return the answers that count behind the entry `number`, in their order; `most` below 0: all of them."""
    return [_given(row) for row in connection.execute(_AFTER, (number, most if most >= 0 else _ALL_OF_THEM))]


def people_by_item(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return who has an answer that counts, by the key of each item."""
    people: dict[str, set[str]] = {}
    for key, person in connection.execute(_PEOPLE):
        people.setdefault(key, set()).add(person)
    return people


def newest_of(connection: sqlite3.Connection, person: str) -> int | None:
    """Return the number of a person's newest answer that they did not take back; None: they have none."""
    (number,) = connection.execute(_NEWEST_OF, (person,)).fetchone()
    return None if number is None else int(number)


def answer_numbered(connection: sqlite3.Connection, number: int) -> ItemKey | None:
    """Return the item of an answer; None: there is no such answer."""
    row = connection.execute("SELECT key FROM answers WHERE number = ?", (number,)).fetchone()
    return None if row is None else ItemKey.parse(row["key"])


def answer_counts(connection: sqlite3.Connection) -> AnswerCounts:
    """Return how many answers count."""
    return AnswerCounts(*connection.execute(_NUMBERS).fetchone())


def answers_problem(connection: sqlite3.Connection) -> str:
    """Return which answer is not as the entries say, the first by number; "" where all are."""
    try:
        expected = fold(entries(connection, AnswerChange))
    except _NoAnswerError as exc:
        return str(exc)
    found = {row["number"]: dict(row) for row in connection.execute(_ALL)}
    for number in sorted(expected.keys() | found.keys()):
        if expected.get(number) != found.get(number):
            return f"answer {number} is not as the entries say"
    return ""


def fold(said: Iterable[SideEntry]) -> dict[int, AnswerRow]:
    """Return the rows that entries of answers say, in their order; raises where one says none."""
    rows: dict[int, dict[str, object]] = {}
    for entry in said:
        if entry.kind == AnswerChange.GIVEN:
            answer = _read(entry)
            rows[entry.number] = _row(answer, entry.number, entry.at_utc, is_second=answer.is_second)
            continue
        row = rows.get(cast("int", entry.body.get("answer", 0)))
        if row is None or (row["key"], row["person"], row["withdrawn"]) != (entry.key, entry.body.get("by"), None):
            raise _NoAnswerError(entry.number)
        row["withdrawn"] = entry.number
    return dict(rows)


class _NoAnswerError(ValueError):
    """An entry of answers that vision-line does not write."""

    def __str__(self) -> str:
        return f"entry {self.args[0]} is not what is written of an answer"


def _read(entry: SideEntry) -> GivenAnswer:
    try:
        return answer_of(entry.number, entry.key, entry.at_utc, cast("AnswerBody", entry.body))
    except (ConfigError, LookupError, TypeError, ValueError) as exc:
        raise _NoAnswerError(entry.number) from exc


def _given(row: sqlite3.Row) -> GivenAnswer:
    return answer_of(row["number"], row["key"], row["at_utc"], json.loads(row["body"]))


def _row(answer: Answer, number: int, at_utc: float, *, is_second: bool) -> dict[str, object]:
    """Return the row of an answer that nobody took back."""
    item = answer.item
    values = (
        *(number, str(item), item.kind.value, item.run_id, item.id, answer.person, at_utc, answer.verdict.value),
        *(answer.class_name, int(is_second), answer.stratum, answer.inclusion, answer.submission or None, None),
    )
    return dict(zip(_COLUMNS, values, strict=True))
