# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read the TOML files of both programs; each problem reads `file:line: key: what was found, what was expected`.

`tomllib` keeps no line numbers, and whoever wrote the file needs them: `locate_keys` finds them in the text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vision_line.config.file_signature import Signature, file_signature
from vision_line.config.known_keys import header_of, unknown_key
from vision_line.errors import ConfigError, mask_credentials

TomlValue: TypeAlias = "str | int | float | bool | datetime | date | time | list[TomlValue] | TomlTable"
TomlTable: TypeAlias = dict[str, TomlValue]

KeyPath = tuple[str | int, ...]
Problem = tuple[KeyPath, str]  # where, and what is wrong there

_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_TABLE = re.compile(rf"^\s*\[(?P<array>\[)?\s*(?P<name>{_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*(?P<key>{_DOTTED})\s*=")
_SYNTAX_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_LONGEST_SHOWN = 80
#: What is expected, where pydantic says it in the words of its Python types.
_WORDS = {
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "list_type": "a list in [ ]",
    "string_type": "a text in quotation marks",
}


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that is valid TOML: where it is, its text and what it says.

    `signature` tells the state that was read from later ones; None: it was not read from the disk.
    """

    path: Path
    text: str
    data: TomlTable
    signature: Signature | None = None

    def error(self, problems: Iterable[Problem]) -> ConfigError:
        """Return the error that names all `problems`, each once, in the order of their lines."""
        lines = locate_keys(self.text)
        located = sorted({(line_of(key, lines), dotted(key, self.data), words) for key, words in problems})
        return ConfigError(*(f"{self.path}:{line}: {key}: {words}" for line, key, words in located))


def read_toml(path: Path) -> TomlFile:
    """Read `path`.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8 or is not TOML; with the line of the mistake.
    """
    signature = file_signature(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        found = f"byte {exc.object[exc.start]:#04x} at {exc.start}"
        raise ConfigError(f"{path}: expected UTF-8 text, found {found}") from exc
    try:
        return TomlFile(path, text, tomllib.loads(text), signature)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}:{_syntax_problem(exc, text)}") from exc


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return what pydantic found wrong where `model` was read, in the words of an operator."""
    return [_problem(details, model) for details in error.errors(include_url=False)]


def locate_keys(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table header and key at the start of a line, by its key path.

    Array tables are numbered in order: the second `[[stream]]` is `("stream", 1)`, and a `[stream.thresholds]` below it
    `("stream", 1, "thresholds")`. Keys inside inline tables and multi-line values are not located; `line_of` then gives
    the line of what encloses them.
    """
    lines: dict[KeyPath, int] = {}
    arrays: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _table_path(header, arrays)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _split(key["key"]), number)
    return lines


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int:
    """Return the line of `path`, of the first thing in it, or of what encloses it; 1 for the file itself."""
    while path:
        if within := [line for key, line in lines.items() if key[: len(path)] == path]:
            return lines.get(path, min(within))
        path = path[:-1]
    return 1


def dotted(path: KeyPath, data: TomlTable) -> str:
    """Write a key path as people do: a table of an array by its name, `stream[cam03].url`; all else counted from 1."""
    words: list[str] = []
    value: TomlValue | None = data
    for part in path:
        value = _inside(value, part)
        if isinstance(part, int) and words:
            words[-1] += f"[{_name_of(value) or part + 1}]"
        else:
            words.append(str(part))
    return ".".join(words) or "file"


def _inside(value: TomlValue | None, part: str | int) -> TomlValue | None:
    """Return what `value` has there, None where that is missing or `value` is of another kind, the problem perhaps."""
    if isinstance(value, dict):
        return value.get(str(part))
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _name_of(value: TomlValue | None) -> str | None:
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str) -> str:
    """Return `line: what` of a syntax error; the parser has the line in its words only."""
    words = str(error)
    if found := _SYNTAX_AT.search(words):
        if repeated := _repeated(text, int(found[1])):
            return f"{found[1]}: {repeated}"
        return f"{found[1]}: not valid TOML: {words[: found.start()]} (column {found[2]})"
    return f"{len(text.splitlines()) or 1}: not valid TOML: {words}"


def _repeated(text: str, number: int) -> str | None:
    """Return what is wrong with the header of line `number` where it was there before; None: it was not."""
    headers = [(at, found) for at, line in enumerate(text.splitlines(), start=1) if (found := _TABLE.match(line))]
    here = next((found for at, found in headers if at == number), None)
    before = [one for one in headers if here is not None and one[0] < number and _same(one[1], here)]
    if here is None or not before:
        return None
    at, first = before[0]
    name, is_array = here["name"], here["array"] is not None
    if is_array is (first["array"] is not None):
        return f"{name}: [{name}] is there already, in line {at}"
    ways = f"[{name}]", f"[[{name}]]"
    return f"{name}: found {ways[is_array]} here and {ways[not is_array]} in line {at}, expected [[{name}]] for each"


def _same(one: re.Match[str], other: re.Match[str]) -> bool:
    return _split(one["name"]) == _split(other["name"])


def _problem(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    path = tuple(part for part in details["loc"] if isinstance(part, str | int))
    if details["type"] in {"missing", "union_tag_not_found"}:  # the latter is of a table without its `type`
        return path if details["type"] == "missing" else (*path, "type"), "is missing"
    if details["type"] == "extra_forbidden":
        return path, unknown_key(path, model)
    if details["type"] == "value_error":  # of a validator of ours: its words say what was found
        return path, details["msg"].removeprefix("Value error, ")
    if details["type"] == "union_tag_invalid":
        tag, known = details["ctx"]["tag"], details["ctx"]["expected_tags"]
        return (*path, "type"), f"found {_shown(tag)}, expected one of {known}"
    if words := _WORDS.get(details["type"]):
        return path, _of_wrong_kind(path, details.get("input"), words, model)
    message = details["msg"][:1].lower() + details["msg"][1:]
    return path, f"found {_shown(details.get('input'))}, {message.replace('input should be', 'expected')}"


def _of_wrong_kind(path: KeyPath, value: object, words: str, model: type[BaseModel]) -> str:
    if len(path) == 1 and (header := header_of(str(path[0]), model)):
        return f"found {_found_header(str(path[0]), value)}, expected {header}"
    return f"found {_shown(value)}, expected {words}"


def _found_header(name: str, value: object) -> str:
    """Return how a table of the file is written that should be another way, or the value in its place."""
    if isinstance(value, dict):
        return f"[{name}]"
    is_array = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    return f"[[{name}]]" if is_array else f"{name} = {_shown(value)}"


def _shown(value: object) -> str:
    if isinstance(value, dict) and value:
        return "a table"  # a camera's URL may be in it
    text = mask_credentials(repr(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _table_path(header: re.Match[str], arrays: dict[KeyPath, int]) -> KeyPath:
    """Return the path of a table's header, with the number of each array's table that it stands in."""
    *above, last = _split(header["name"])
    path: KeyPath = ()
    for name in above:
        path = _newest((*path, name), arrays)
    path = (*path, last)
    if not header["array"]:
        return path
    arrays[path] = arrays.get(path, -1) + 1
    return _newest(path, arrays)


def _newest(path: KeyPath, arrays: dict[KeyPath, int]) -> KeyPath:
    return (*path, arrays[path]) if path in arrays else path


def _split(names: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_NAME, names))
