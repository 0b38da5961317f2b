# SPDX-License-Identifier: AGPL-3.0-or-later
"""Words of others cannot move a cursor, begin a line of ours, or turn one around."""

from __future__ import annotations

import io
import logging
import unicodedata
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from rich.console import Console

from vision_line.cli.check import _table
from vision_line.config.models import Stream
from vision_line.errors import ConfigError, RunError, SourceError, SourceErrorCode
from vision_line.ingest.probe import ProbeResult
from vision_line.screens.logs import logging_to_stream
from vision_line.screens.status_line import plain_line
from vision_line.telemetry.snapshot import Snapshot
from vision_line.words import one_line, printable

EVIL = "title\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp.exe\n2026-01-01T00:00:00.000Z INFO all is well"
TEXT = st.text(st.characters(), max_size=40)


def is_safe(text: str) -> bool:
    """Whether `text` has no character that does anything but say something."""
    return not any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in text if letter not in "\n\t")


@given(TEXT)
def test_no_control_character_is_left(text: str) -> None:
    """And nothing is done twice; plain text stays as it is."""
    assert is_safe(printable(text))
    assert printable(printable(text)) == printable(text)
    assert "\n" not in one_line(text)


def test_plain_text_of_any_script_stays() -> None:
    """Letters with accents, Chinese, right-to-left scripts, emoji."""
    for text in ("Lötbrücke", "焊盘缺失", "נזק", "a\tb\nc", "🔧"):
        assert printable(text) == text


def test_errors_quote_without_harm() -> None:
    """What a camera or a file says ends up in messages, states and records by way of an error."""
    for error in (RunError(EVIL), ConfigError(EVIL), SourceError("a", SourceErrorCode.FAILED, EVIL)):
        assert is_safe(str(error))
        assert "\u202e" not in str(error)
    assert "\n" not in str(SourceError("a", SourceErrorCode.FAILED, EVIL))
    assert is_safe("".join(ConfigError(EVIL, EVIL).problems))


def test_a_log_line_cannot_be_forged() -> None:
    """Only our own lines begin at the margin."""
    stream = io.StringIO()
    with logging_to_stream(stream):
        logging.getLogger("test").warning("camera says %s", EVIL)
    first, second = stream.getvalue().splitlines()

    assert is_safe(stream.getvalue())
    assert "camera says title\\x1b]0;owned\\x07" in first
    assert second.startswith("    2026-01-01")


def test_the_status_line_is_one_line() -> None:
    """Whatever an alarm quotes."""
    line = Snapshot("0", "cpu", "m", 0.0, 0.0, 1)

    assert "\n" not in plain_line(replace(line, alarms=(EVIL,)))
    assert is_safe(plain_line(replace(line, alarms=(EVIL,), notices=(EVIL,))))


def test_the_table_of_a_probe_shows_words_as_they_are() -> None:
    """Neither control characters nor rich's own markup in what a camera answers are obeyed."""
    console = Console(file=io.StringIO(), width=300)
    result = ProbeResult("a", codec=f"[bold]{EVIL}", code=SourceErrorCode.FAILED, detail=EVIL)
    console.print(_table((Stream(name="a", url=SecretStr("rtsp://127.0.0.1/x")),), [result]))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO

    assert is_safe(text)
    assert is_safe(result.trouble)
    assert "[bold]title" in text
