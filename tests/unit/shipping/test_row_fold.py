# SPDX-License-Identifier: AGPL-3.0-or-later
"""A piece of a journal as what it does to tables."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from vision_line.records.journal import JournalEntry, canonical
from vision_line.shipping.row_fold import clean, fold, is_kept, rows_json

#: Of which row, what it says, whether it is taken back, whether it was carried.
SAID = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans(), st.booleans()), max_size=30)


def entry(number: int, name: str, value: int, *, back: bool = False, carried: bool = False) -> JournalEntry:
    """Return an entry of an interval."""
    body = {"interval": ord(name), "withdrawn": True} if back else {"interval": ord(name), "value": value}
    kind, key = ("carried", f"interval/{name}") if carried and not back else ("interval", name)
    return JournalEntry(number, 1, kind, key, 0.0, canonical(body))


@given(SAID)
def test_the_same_as_one_after_the_other(said: list[tuple[str, int, bool, bool]]) -> None:
    """Whatever is written, taken back and written again in one piece."""
    entries = [
        entry(number, name, value, back=back, carried=carried)
        for number, (name, value, back, carried) in enumerate(said, 1)
    ]
    expected: dict[str, int] = {}
    for name, value, back, _ in said:
        expected.pop(name, None)
        if not back:
            expected[name] = value

    found: dict[str, int] = {}
    taken_back = 0
    for changes in fold(entries):
        found |= {name.key: json.loads(row.body)["value"] for name, row in changes.rows.get("interval", {}).items()}
        taken_back += len(changes.withdrawn)
        for one in changes.withdrawn:
            found.pop(one.key, None)

    assert found == expected
    assert taken_back == sum(back for *_, back, _ in said)


def test_first_and_last_entry_of_a_row() -> None:
    """As the database notes them."""
    (changes,) = fold([entry(4, "a", 1), entry(5, "a", 2), entry(6, "b", 3)])

    found = json.loads(rows_json(changes.rows["interval"].values()))

    assert [(row["value"], row["first_entry"], row["entry"]) for row in found] == [(2, 4, 5), (3, 6, 6)]


def test_what_is_no_row() -> None:
    """Seals, configurations and the journal's own removals are entries alone; groups of detections are neither."""
    seal = JournalEntry(1, 0, "seal", "", 0.0, "{}")
    removal = JournalEntry(2, 0, "removal", "journal", 0.0, '{"removed_from":"journal"}')
    detections = JournalEntry(3, 1, "detections", "000001/000000000001/000000000002", 0.0, "{}")
    carried = JournalEntry(4, 1, "carried", "configuration/shifts", 0.0, "{}")

    (changes,) = fold([seal, removal, detections, carried])

    assert not changes.rows
    assert [is_kept(one) for one in (seal, removal, detections, carried)] == [True, True, False, True]


def test_what_postgresql_does_not_take() -> None:
    """A zero in a text, half of a character, and numbers that JSON has no words for; all else stays as it is."""
    plain = canonical({"detail": 'NaN, "withdrawn":true \\', "score": 0.1})
    odd = canonical({"a": "x\x00y", "b": float("inf"), "c": [float("nan")]})[:-1] + ',"d":"\\udc80"}'

    assert clean(plain) == plain
    assert json.loads(clean(odd)) == {"a": "x\ufffdy", "b": "inf", "c": ["nan"], "d": "?"}
    assert clean('{"a": "\\u0000') == '{"a": "\\u0000'
