# SPDX-License-Identifier: AGPL-3.0-or-later
"""Words of others (cameras, files, libraries, records) as text that only says something.

Control characters move the cursor of a terminal, set its title, or hide what stands before them; marks of direction
turn a line around. Both are written out as escapes. Numbers of things are counted as English does. Pure.
"""

from __future__ import annotations

import re

#: C0 and C1 but the line feed and the tab, DEL, line and paragraph separators, marks of direction, lone surrogates.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]",
)


def printable(text: str) -> str:
    """Return `text` with every control character but line feed and tab written out as its escape."""
    return _CONTROLS.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return `text` as `printable` does, on one line: a line feed in it cannot begin what looks like a line of ours."""
    return printable(text).replace("\n", "\\n")


def counted(number: int, noun: str) -> str:
    """Return a number of things in English: `1 camera`, `2 cameras`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable_json(text: str) -> str:
    """Return JSON `text` of the same meaning without control characters; it is on one line."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
