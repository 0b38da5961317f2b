# SPDX-License-Identifier: AGPL-3.0-or-later
"""The map for a PLC: what is encoded is decoded the same, and every address and code stands where it always stood."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.lanes import modbus_map as plc
from vision_line.parts.part import PartCause, PartVerdict

BLOCKS = {"HEAD": plc.HEAD, "LANE": plc.LANE, "RECENT": plc.RECENT, "HANDSHAKE": plc.HANDSHAKE}
SIZES = {"HEAD": 16, "LANE": plc.LANE_WORDS, "RECENT": plc.LANE_WORDS, "HANDSHAKE": plc.HANDSHAKE_WORDS}
printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=32)


def values_of(block: tuple[plc.Field, ...]) -> st.SearchStrategy[dict[str, int | str]]:
    kinds: dict[str, st.SearchStrategy[int | str]] = {
        "word": st.integers(0, 65535),
        "double": st.integers(0, 2**32 - 1),
        "text": printable,
    }
    return st.fixed_dictionaries({field.name: kinds[field.kind] for field in block})


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_comes_back_as_it_was(name: str) -> None:
    block, words = BLOCKS[name], SIZES[name]

    @settings(max_examples=30)
    @given(values_of(block))
    def comes_back(values: dict[str, int | str]) -> None:
        encoded = plc.encode(block, values, words)
        assert len(encoded) == words
        assert plc.decode(block, encoded) == values

    comes_back()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_has_room_and_each_name_once(name: str) -> None:
    assert plc.size(BLOCKS[name]) <= SIZES[name]
    assert len({field.name for field in BLOCKS[name]}) == len(BLOCKS[name])


def test_blocks_do_not_run_into_each_other() -> None:
    assert plc.LANE_AT + plc.MAX_LANES * plc.LANE_WORDS <= plc.RESULTS_AT
    assert plc.HANDSHAKE_AT + plc.MAX_LANES * plc.HANDSHAKE_WORDS <= 65536


def test_addresses_never_change() -> None:
    assert {name: plc.offset(plc.HEAD, name) for name in ("state", "heartbeat", "uptime_s", "refused")} == {
        "state": 1,
        "heartbeat": 2,
        "uptime_s": 6,
        "refused": 8,
    }
    assert [plc.offset(plc.LANE, name) for name in ("trigger_taken", "verdict", "trigger", "result")] == [5, 12, 13, 14]
    names = ("enable", "age_ms", "encoder", "part_id", "lot", "trigger")
    assert [plc.offset(plc.HANDSHAKE, name) for name in names] == [0, 5, 6, 8, 24, 40]


def test_number_and_trigger_come_last() -> None:
    assert plc.LANE[-1].name == "result"
    assert plc.HANDSHAKE[-1].name == "trigger"


def test_every_verdict_and_cause_has_a_code_of_its_own() -> None:
    assert set(plc.VERDICTS) == set(PartVerdict)
    assert set(plc.CAUSES) == set(PartCause)
    assert len(set(plc.CAUSES.values())) == len(PartCause)
    assert [plc.VERDICTS[verdict] for verdict in PartVerdict] == [1, 2, 3, 4]


@settings(max_examples=30)
@given(st.integers(0, 1 << 40))
def test_counters_wrap_around(count: int) -> None:
    words = plc.encode(plc.LANE, {field.name: count for field in plc.LANE}, plc.LANE_WORDS)
    found = plc.decode(plc.LANE, words)
    assert (found["parts"], found["sequence"]) == (count % 65536, count % 2**32)


@given(st.binary(min_size=32, max_size=32))
def test_texts_of_any_words_are_printable_or_refused(raw: bytes) -> None:
    words = [0] * plc.size(plc.HANDSHAKE)
    words[8:24] = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 32, 2)]
    expected = raw.split(b"\0")[0].decode("latin-1").rstrip(" ")
    if expected.isascii() and expected.isprintable():
        assert plc.decode(plc.HANDSHAKE, words)["part_id"] == expected
    else:
        with pytest.raises(ValueError, match="part_id: expected printable ASCII"):
            plc.decode(plc.HANDSHAKE, words)


def test_which_fields_a_write_touches() -> None:
    assert plc.fields_in(plc.HANDSHAKE, 7, 2) == {"encoder", "part_id"}
    assert plc.fields_in(plc.HANDSHAKE, 40, 1) == {"trigger"}


def table(block: tuple[plc.Field, ...], begin: int) -> str:
    """Return a block as the page shows it."""
    rows = ["| word | name | meaning |", "|---|---|---|"]
    for field in block:
        at = begin + plc.offset(block, field.name)
        words = f"{at}" if field.words == 1 else f"{at}–{at + field.words - 1}"
        rows.append(f"| {words} | `{field.name}` | {field.meaning} |")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    "expected",
    [
        table(plc.HEAD, plc.HEAD_AT),
        table(plc.LANE, plc.LANE_AT),
        table(plc.HANDSHAKE, plc.HANDSHAKE_AT),
        "".join(f"| {code} | `{cause}` |" + "\n" for cause, code in plc.CAUSES.items() if cause),
        "".join(f"| {number} | {words} |\n" for number, words in enumerate(plc.STATE_BITS)),
    ],
    ids=["head", "lane", "handshake", "causes", "state bits"],
)
def test_the_page_shows_the_map(expected: str) -> None:
    page = (Path(__file__).parents[3] / "docs/outputs/modbus.md").read_text(encoding="utf-8")
    assert expected in page, f"docs/outputs/modbus.md lacks:\n{expected}"
