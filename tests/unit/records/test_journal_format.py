# SPDX-License-Identifier: AGPL-3.0-or-later
"""The digest of an entry is the one that docs/records.md describes, whatever the entry says."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from vision_line.records.journal import JournalEntry, canonical, chained, row_texts

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    previous=st.binary(min_size=32, max_size=32),
    entry=st.builds(
        JournalEntry,
        st.integers(1, 2**62),
        st.integers(0, 2**40),
        TEXT,
        TEXT,
        st.floats(allow_nan=False, allow_infinity=False),
        TEXT,
    ),
)
def test_an_entry_is_chained_by_its_canonical_json(previous: bytes, entry: JournalEntry) -> None:
    """The list of what comes before the body is written faster than by the encoder, and the same."""
    text = f"{canonical(entry[:5])}\n{entry.body}"
    assert chained(previous, entry) == sha256(previous + text.encode()).digest()


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), NUMBERS, st.text(max_size=20))


@given(row=st.dictionaries(TEXT, VALUES, max_size=8))
def test_a_row_is_the_text_that_the_encoder_writes(row: dict[str, int | float | str | None]) -> None:
    """Names and values whatever they hold: signs of the format, halves of characters."""
    columns = sorted(row)
    assert row_texts(columns)([row[column] for column in columns]) == canonical(row)
