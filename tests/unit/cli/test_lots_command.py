# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lots from a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.fakes.passed_parts import make_part
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_part
from vision_line.parts.parts_file import reading, writing
from vision_line.records.side_journal import entries


def run(directory: Path, *arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(cli, ["lots", *arguments, "--record", str(directory)])
    return ended.exit_code, ended.output


def test_a_lot_is_begun_listed_with_its_parts_and_ended(tmp_path: Path) -> None:
    assert run(tmp_path, "list") == (0, f"no lot has begun in {tmp_path}\n")
    code, said = run(tmp_path, "begin", "L-1")
    assert code == 0
    assert re.fullmatch(r"L-1 everywhere from \S+Z on\n", said)
    with reading(tmp_path) as connection:
        assert connection is not None
        (entry,) = entries(connection, ["lot"])
    assert str(entry.body["by"]).endswith("on the command line")
    with writing(tmp_path) as connection:
        add_part(connection, make_part(1, entry.at_utc + 1.0, lot="L-1"))
        add_part(connection, make_part(2, entry.at_utc + 2.0, lot="L-1", verdict=PartVerdict.REJECT))
    assert run(tmp_path, "list")[1].endswith(" on: 2 parts, 1 rejected, 0 not inspected\n")
    assert run(tmp_path, "end")[0] == 0
    (span,) = json.loads(run(tmp_path, "list", "--json")[1])
    assert (span["lot"], span["lane"], span["until_utc"] > span["since_utc"]) == ("L-1", "*", True)


def test_what_cannot_be_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    for arguments, words in (
        (("end",), "no lot is made everywhere"),
        (("end", "--lane", "a"), "no lot is made at a"),
        (("begin", " "), "expected a lot"),
        (("begin", "x" * 65), "at most 64 printable characters"),
    ):
        code, said = run(tmp_path, *arguments)
        assert (code, words in said) == (2, True), said
    assert run(tmp_path / "nowhere", "begin", "L")[0] == 2
