# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where in a TOML text a key stands: `tomllib` keeps no line numbers, and an operator needs them."""

from __future__ import annotations

import re
from collections import defaultdict

KeyPath = tuple[str | int, ...]

_TABLE = re.compile(r"^\s*\[(?P<array>\[)?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*(?P<key>[A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*|\"[^\"]*\"|'[^']*')\s*=")


def locate_keys(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table header and key at the start of a line, by its key path.

    Array tables are numbered in order: the second `[[stream]]` is `("stream", 1)`. Keys inside inline tables and
    multi-line values are not located; `line_of` then gives the line of what encloses them.
    """
    lines: dict[KeyPath, int] = {}
    arrays: defaultdict[KeyPath, int] = defaultdict(int)
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _table_path(header, arrays)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _split(key["key"]), number)
    return lines


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    """Return the line of `path`, or of the nearest thing that encloses it; 1 for the file itself."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


def _table_path(header: re.Match[str], arrays: defaultdict[KeyPath, int]) -> KeyPath:
    names = _split(header["name"])
    if not header["array"]:
        return names
    index = arrays[names]
    arrays[names] += 1
    return (*names, index)


def _split(dotted: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
