# SPDX-License-Identifier: AGPL-3.0-or-later
"""What others may ask: checked, carried out once, answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vision_line.parts.line_commands import CANNOT, Answer, LineCommands, PartAsked
from vision_line.parts.orders import LOT, Asked, order_in_force

LONG = "x" * 65
MES = Asked("MES", "mqtt")


class Lanes:
    """Takes parts, and counts them."""

    def __init__(self) -> None:
        self.parts: list[PartAsked] = []

    def __call__(self, part: PartAsked) -> int:
        self.parts.append(part)
        return len(self.parts)


def asked(directory: Path, command: str, payload: str | bytes, by: Asked = MES) -> tuple[Answer, Lanes]:
    lanes = Lanes()
    content = payload.encode() if isinstance(payload, str) else payload
    return LineCommands(directory, lanes).answer(command, content, by, 7.5), lanes


@pytest.mark.parametrize(
    ("command", "payload", "said"),
    [
        ("lot", json.dumps({"lot": LONG}), "64 printable"),
        ("lot", json.dumps({"lot": "L\n7"}), "64 printable"),
        ("lot", '{"lot": "\\ud800"}', ""),
        ("lot", '{"lot": "L-7", "lane": "a/b"}', "lane: found 'a/b', expected the name of a lane, or *"),
        ("lot", '{"lot": 7}', "lot: found 7, expected a text of at most 64 printable characters"),
        ("lot", "{}", "lot: found nothing, expected a text"),
        ("lot", "[]", "the message: found a list, expected an object with request, lot, lane"),
        ("lot", '{"lot": "L-7", "then": "more"}', "then: unknown key, expected request, lot, lane"),
        ("lot", json.dumps({"lot": "L-7", LONG: 1}), "a key: unknown key"),
        ("lot", '{"lot": null, "lane": true}', "lane: found true, expected the name of a lane, or *"),
        ("lot", "L-7", "JSON"),
        ("lot", "[" * 4000, "JSON"),
        ("lot", b"\xff\xfe", "JSON"),
        ("lot", '"' + "x" * 5000 + '"', "at most 4096 bytes"),
        ("part", '{"lane": "*"}', "the name of a lane"),
        ("part", '{"lane": "lane1", "number": -1}', "number: found -1, expected a whole number of 32 bits"),
        ("challenge", '{"target": "cam01", "act": "go"}', "act: found 'go', expected one of start, next, end, abort"),
        ("challenge", '{"target": "cam01"}', "challenges are not begun here"),
        ("part", json.dumps({"lane": "lane1", "part_id": LONG}), "64 printable"),
    ],
)
def test_what_is_no_command_is_refused_in_words(tmp_path: Path, command: str, payload: str | bytes, said: str) -> None:
    """Nothing is entered, and what came is not quoted."""
    answer, lanes = asked(tmp_path, command, payload)

    assert answer["accepted"] is False
    assert said in str(answer["error"])
    assert LONG not in str(answer)
    assert not lanes.parts
    assert order_in_force(tmp_path, LOT) is None


def test_who_asks_is_checked_as_all_that_comes_in(tmp_path: Path) -> None:
    answer, _ = asked(tmp_path, "lot", '{"lot": "L-7"}', Asked(LONG, "mqtt"))

    assert answer["accepted"] is False
    assert order_in_force(tmp_path, LOT) is None


def test_only_a_request_with_a_name_is_known_again(tmp_path: Path) -> None:
    """And one that was refused may be tried again."""
    lanes = Lanes()
    commands = LineCommands(tmp_path, lanes)
    for payload in (b'{"lane": "a"}', b'{"lane": "a"}', b'{"lane": "a", "request": "r", "number": -1}'):
        commands.answer("part", payload, MES, 1.0)
    first, again = (commands.answer("part", b'{"lane": "a", "request": "r"}', MES, at_s) for at_s in (2.0, 3.0))

    assert first is again
    assert [part.at_s for part in lanes.parts] == [1.0, 1.0, 2.0]


def test_what_cannot_be_recorded_is_refused_without_paths(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says more than the broker is told."""
    (tmp_path / "parts.sqlite").write_text("no database", encoding="ascii")
    answer, _ = asked(tmp_path, "lot", '{"lot": "L-7"}')

    assert (answer["accepted"], answer["error"]) == (False, CANNOT)
    assert "parts.sqlite" in caplog.text
