# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read `streams.toml`: secrets filled in, every problem reported at once with its line."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vision_line.config.feasible import contradictions
from vision_line.config.locate import KeyPath, line_of, locate_keys
from vision_line.config.models import Config
from vision_line.config.placeholders import fill_placeholders
from vision_line.errors import ConfigError, mask_credentials

Problem = tuple[KeyPath, str]  # where, and what is wrong there

#: What says whom to trust; nothing in the clear can be held to it.
_TRUST = ("tls_ca_file", "tls_fingerprint", "tls_verify")

_SYNTAX_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, the file it came from and the SHA-256 of its text (secrets not filled in).

    `first`: only so many of the enabled cameras are left enabled; None: all of them. `left_out` are the names of those
    that are not for that reason.
    """

    config: Config
    path: Path
    sha256: str
    first: int | None = None
    left_out: tuple[str, ...] = ()


def load_config(path: Path, environment: Mapping[str, str] | None = None, *, first: int | None = None) -> LoadedConfig:
    """Read and check `path`.

    Args:
        path: the TOML file.
        environment: where `{NAME}` placeholders in URLs are looked up first; default: the process's environment. Then
            a file of that name in `$CREDENTIALS_DIRECTORY` and `/run/secrets`.
        first: leave only so many of the enabled cameras enabled; None: all of them.

    Raises:
        ConfigError: all problems, each as `file:line: key: what was found, what was expected`.
    """
    environment = os.environ if environment is None else environment
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        found = f"byte {exc.object[exc.start]:#04x} at {exc.start}"
        raise ConfigError(f"{path}: expected UTF-8 text, found {found}") from exc
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}:{_syntax_problem(exc, text)}") from exc
    lines = locate_keys(text)
    data, problems = _fill_urls(data, environment, path.parent)
    data = _anchor_trust(data, path.parent)
    config: Config | None = None
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        problems += [_problem(details) for details in _distinct(exc)]
    if config is not None:
        problems += _contradictions(config, data)
        problems += _trust_in_the_clear(config, data)
    problems += _repeated_names(data)
    if problems or config is None:
        located = sorted({(line_of(key, lines), _dotted(key, data), text) for key, text in problems})
        raise ConfigError(*(f"{path}:{line}: {key}: {text}" for line, key, text in located))
    left_out = () if first is None else tuple(stream.name for stream in config.enabled_streams[first:])
    if first is not None:
        config = _limited(config, first)
    return LoadedConfig(config, path, hashlib.sha256(text.encode()).hexdigest(), first, left_out)


def _limited(config: Config, first: int) -> Config:
    """Return the configuration with only the first so many of its enabled cameras enabled."""
    kept = {stream.name for stream in config.enabled_streams[:first]}
    off = {"enabled": False}
    streams = [stream if stream.name in kept else stream.model_copy(update=off) for stream in config.stream]
    return config.model_copy(update={"stream": streams})


def _syntax_problem(error: tomllib.TOMLDecodeError, text: str) -> str:
    """Return `line: what` of a syntax error; the parser has the line in its words only."""
    words = str(error)
    if found := _SYNTAX_AT.search(words):
        return f"{found[1]}: not valid TOML: {words[: found.start()]} (column {found[2]})"
    return f"{len(text.splitlines()) or 1}: not valid TOML: {words}"


def _fill_urls(
    data: dict[str, Any], environment: Mapping[str, str], folder: Path
) -> tuple[dict[str, Any], list[Problem]]:
    """Fill in the secrets of every URL, and make relative `file:` paths relative to the file's folder."""
    problems: list[Problem] = []
    streams = data.get("stream")
    if not isinstance(streams, list):
        return data, problems
    filled = []
    for index, stream in enumerate(streams):
        url = stream.get("url") if isinstance(stream, dict) else None
        if not isinstance(url, str):
            filled.append(stream)
            continue
        url, faults = fill_placeholders(url, environment)
        problems += [(("stream", index, "url"), fault) for fault in faults]
        filled.append(stream | {"url": _anchored(url, folder)})
    return data | {"stream": filled}, problems


def _anchor_trust(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative `tls_ca_file` paths relative to the file's folder."""

    def anchored(table: Any) -> Any:
        path = table.get("tls_ca_file") if isinstance(table, dict) else None
        return table | {"tls_ca_file": str(folder.absolute() / path)} if isinstance(path, str) else table

    streams = data.get("stream")
    done = {"defaults": anchored(data["defaults"])} if "defaults" in data else {}
    return data | done | ({"stream": [anchored(stream) for stream in streams]} if isinstance(streams, list) else {})


def _anchored(url: str, folder: Path) -> str:
    scheme, _, path = url.partition(":")
    if scheme.lower() != "file" or path.startswith("/"):
        return url
    return f"{scheme}:{folder.absolute() / path}"


def _distinct(error: ValidationError) -> Iterator[ErrorDetails]:
    """Give each place's first error; a wrong `[defaults]` value is not repeated for every stream that inherits it."""
    details = error.errors(include_url=False)
    in_defaults = {item["loc"][1] for item in details if item["loc"][:1] == ("defaults",) and len(item["loc"]) > 1}
    for item in details:
        loc = item["loc"]
        if loc[:1] == ("stream",) and len(loc) > 2 and loc[2] in in_defaults:
            continue
        yield item


def _problem(details: ErrorDetails) -> Problem:
    loc = tuple(part for part in details["loc"] if isinstance(part, str | int))
    kind, found = details["type"], details.get("input")
    if kind == "missing":
        return loc, "is missing"
    if kind == "extra_forbidden":
        return loc, "unknown key"
    message = details["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if message.startswith(("expected", "is ")):
        return loc, message
    return loc, f"found {_shown(found)}, {message.replace('input should be', 'expected')}"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value:
        return "a table"  # a camera's URL may be in it
    text = mask_credentials(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def _repeated_names(data: dict[str, Any]) -> list[Problem]:
    streams = data.get("stream")
    if not isinstance(streams, list):
        return []
    names = [stream.get("name") if isinstance(stream, dict) else None for stream in streams]
    counts = Counter(name for name in names if isinstance(name, str))
    first = {name: names.index(name) for name in counts}
    return [
        (("stream", index, "name"), f"{name!r} is already the name of stream {first[name] + 1}, expected unique names")
        for index, name in enumerate(names)
        if isinstance(name, str) and index != first[name]
    ]


def _contradictions(config: Config, data: dict[str, Any]) -> Iterator[Problem]:
    """Give what can never work, each at its own key or where it was inherited from; once, however many inherit it."""
    found: dict[Problem, None] = {}
    for index, stream in enumerate(config.stream):
        for key, text in contradictions(stream) if stream.enabled else ():
            inherits = key not in data["stream"][index] and key in data.get("defaults", {})
            found[("defaults", key) if inherits else ("stream", index, key), text] = None
    yield from found


def _trust_in_the_clear(config: Config, data: dict[str, Any]) -> Iterator[Problem]:
    """Give each key of TLS in the own table of a camera that is asked without it; from `[defaults]` it reaches none."""
    for index, stream in enumerate(config.stream):
        for key in _TRUST if stream.is_live and not stream.is_encrypted else ():
            if key in data["stream"][index]:
                yield ("stream", index, key), "is for rtsps:// only, found rtsp://: use rtsps:// or remove it"


def _dotted(path: KeyPath, data: dict[str, Any]) -> str:
    """Write a key path as people do, naming a stream by its name: `stream[cam03].url`."""
    words: list[str] = []
    for part in path:
        if isinstance(part, int):
            words[-1] += f"[{_stream_name(part, data) if words == ['stream'] else part}]"
        else:
            words.append(part)
    return ".".join(words) or "file"


def _stream_name(index: int, data: dict[str, Any]) -> str:
    streams = data.get("stream", [])
    name = streams[index].get("name") if index < len(streams) and isinstance(streams[index], dict) else None
    return name if isinstance(name, str) else str(index + 1)
