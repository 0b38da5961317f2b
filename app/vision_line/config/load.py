# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read `streams.toml`: secrets filled in, its problems reported at once, each with its line."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from vision_line.config.camera_recipes import recipe_problems, recipe_words, unknown_cameras
from vision_line.config.feasible import contradictions
from vision_line.config.file_signature import Signature
from vision_line.config.listening import listeners, shared_ports
from vision_line.config.modbus_settings import repeated_outputs
from vision_line.config.models import Config
from vision_line.config.output_settings import output_problems
from vision_line.config.shared_topics import shared_topics
from vision_line.config.toml import Problem, TomlFile, TomlTable, TomlValue, problems_of, read_toml
from vision_line.errors import ConfigError

#: What says whom to trust; nothing in the clear can be held to it.
_TRUST = ("tls_ca_file", "tls_fingerprint", "tls_verify")

PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_SECRET_FOLDERS = ("/run/secrets",)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, the file it came from and the SHA-256 of its text (secrets not filled in).

    `first`: only this many of the enabled cameras are left enabled; None: all of them. `left_out` are the names of
    those that are not for that reason. `signature` is that of the file as it was read.
    """

    config: Config
    path: Path
    sha256: str
    first: int | None = None
    left_out: tuple[str, ...] = ()
    signature: Signature | None = None


def load_config(path: Path, environment: Mapping[str, str] | None = None, *, first: int | None = None) -> LoadedConfig:
    """Read and check `path`.

    Args:
        path: the TOML file.
        environment: where `{NAME}` placeholders in URLs are looked up first; default: the process's environment. Then
            a file of that name in `$CREDENTIALS_DIRECTORY` and `/run/secrets`.
        first: leave only this many of the enabled cameras enabled; None: all of them.

    Raises:
        ConfigError: all problems, each as `file:line: key: what was found, what was expected`.
    """
    return checked_config(read_toml(path), os.environ if environment is None else environment, first=first)


def checked_config(file: TomlFile, environment: Mapping[str, str], *, first: int | None = None) -> LoadedConfig:
    """Check what `file` says, which need not be on the disk; as `load_config` otherwise.

    Raises:
        ConfigError: as `load_config`.
    """
    folder = file.path.parent
    data, problems = _fill_urls(file.data, environment, folder)
    data = _anchor_trust(data, folder)
    config: Config | None = None
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        problems += recipe_words(_distinct(output_problems(problems_of(exc, Config))))
    if config is not None:
        problems += _contradictions(config, data)
        problems += _trust_in_the_clear(config, data)
        problems += _unknown_cameras(config)
        problems += _unknown_lanes(config)
        problems += repeated_outputs(config.coil)
        problems += unknown_cameras(config)
        problems += recipe_problems(config)
        problems += shared_ports(listeners(config), data)
        problems += shared_topics(config.output, data)
    problems += repeated_names(data, "stream")
    problems += repeated_names(data, "output")
    problems += repeated_names(data, "lane")
    if problems or config is None:
        raise file.error(problems)
    left_out = () if first is None else tuple(stream.name for stream in config.enabled_streams[first:])
    if first is not None:
        config = _limited(config, first)
    sha256 = hashlib.sha256(file.text.encode()).hexdigest()
    return LoadedConfig(config, file.path, sha256, first, left_out, file.signature)


def _limited(config: Config, first: int) -> Config:
    """Return the configuration with only the first N of its enabled cameras enabled."""
    kept = {stream.name for stream in config.enabled_streams[:first]}
    off = {"enabled": False}
    streams = [stream if stream.name in kept else stream.model_copy(update=off) for stream in config.stream]
    return config.model_copy(update={"stream": streams})


def _fill_urls(data: TomlTable, environment: Mapping[str, str], folder: Path) -> tuple[TomlTable, list[Problem]]:
    """Fill in the secrets of every URL, and make relative `file:` paths relative to the file's folder."""
    problems: list[Problem] = []
    streams = data.get("stream")
    if not isinstance(streams, list):
        return data, problems
    filled = []
    for index, stream in enumerate(streams):
        url = stream.get("url") if isinstance(stream, dict) else None
        if not isinstance(stream, dict) or not isinstance(url, str):
            filled.append(stream)
            continue
        url, faults = fill_placeholders(url, environment)
        problems += [(("stream", index, "url"), fault) for fault in faults]
        filled.append(stream | {"url": _anchored(url, folder)})
    return data | {"stream": filled}, problems


def _anchor_trust(data: TomlTable, folder: Path) -> TomlTable:
    """Make relative `tls_ca_file` paths relative to the file's folder."""

    def anchored(table: TomlValue) -> TomlValue:
        if not isinstance(table, dict) or not isinstance(path := table.get("tls_ca_file"), str):
            return table
        return table | {"tls_ca_file": str(folder.absolute() / path)}

    streams = data.get("stream")
    done: TomlTable = {"defaults": anchored(data["defaults"])} if "defaults" in data else {}
    if isinstance(streams, list):
        done["stream"] = [anchored(stream) for stream in streams]
    return data | done


def _anchored(url: str, folder: Path) -> str:
    scheme, _, path = url.partition(":")
    if scheme.lower() != "file" or path.startswith("/"):
        return url
    return f"{scheme}:{folder.absolute() / path}"


def _distinct(problems: list[Problem]) -> Iterator[Problem]:
    """Leave out what every stream inherits: a wrong `[defaults]` value is reported once."""
    in_defaults = {path[1] for path, _ in problems if path[:1] == ("defaults",) and len(path) > 1}
    for path, words in problems:
        if not (path[:1] == ("stream",) and len(path) > 2 and path[2] in in_defaults):
            yield path, words


def repeated_names(data: TomlTable, array: str) -> list[Problem]:
    """Return which tables of `[[array]]` have a name that one before them has. Pure."""
    tables = data.get(array)
    if not isinstance(tables, list):
        return []
    names = [table.get("name") if isinstance(table, dict) else None for table in tables]
    counts = Counter(name for name in names if isinstance(name, str))
    first = {name: names.index(name) for name in counts}
    return [
        ((array, index, "name"), f"{name!r} is already the name of {array} {first[name] + 1}, expected unique names")
        for index, name in enumerate(names)
        if isinstance(name, str) and index != first[name]
    ]


def _contradictions(config: Config, data: TomlTable) -> Iterator[Problem]:
    """Give what can never work, each at its own key or where it was inherited from; once, however many inherit it."""
    found: dict[Problem, None] = {}
    defaults = _table(data.get("defaults"))
    for index, stream in enumerate(config.stream):
        for key, text in contradictions(stream) if stream.enabled else ():
            inherits = key not in _own_keys(data, index) and key in defaults
            found[("defaults", key) if inherits else ("stream", index, key), text] = None
    yield from found


def _trust_in_the_clear(config: Config, data: TomlTable) -> Iterator[Problem]:
    """Give each key of TLS in the own table of a camera that is asked without it; from `[defaults]` it reaches none."""
    for index, stream in enumerate(config.stream):
        for key in _TRUST if stream.is_live and not stream.is_encrypted else ():
            if key in _own_keys(data, index):
                yield ("stream", index, key), "is for rtsps:// only, found rtsp://: use rtsps:// or remove it"


def _unknown_cameras(config: Config) -> Iterator[Problem]:
    """Give each lane whose cameras are not all there."""
    known = {stream.name for stream in config.stream}
    for index, lane in enumerate(config.lane):
        if missing := [name for name in lane.cameras if name not in known]:
            yield ("lane", index, "cameras"), f"expected names of streams, found {', '.join(missing)}"


def _unknown_lanes(config: Config) -> Iterator[Problem]:
    """Give each output of a module whose lane is not there."""
    known = {lane.name for lane in config.lane}
    for index, coil in enumerate(config.coil):
        if coil.lane not in known:
            yield ("coil", index, "lane"), f"expected the name of a lane, found {coil.lane!r}"


def fill_placeholders(url: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return `url` with its secrets filled in, and what is wrong with those that cannot be.

    A secret is given as it is. In the user part, and behind a `=`, it is percent-encoded, so that a password may hold
    `#`, `/`, `?`, `@` and `%`; elsewhere (a host, a path, a whole URL) it is a piece of the URL and taken as it stands.
    """
    problems: list[str] = []

    def secret(match: re.Match[str]) -> str:
        try:
            return _written(_secret(match[1], environment), url, match.start())
        except ConfigError as exc:
            problems.append(str(exc))
            return "unset"  # something must stand there, so that the URL's own faults are found in the same run

    return PLACEHOLDER.sub(secret, url), problems


def _secret(name: str, environment: Mapping[str, str]) -> str:
    if name in environment:
        return environment[name]
    for folder in filter(None, (environment.get("CREDENTIALS_DIRECTORY"), *_SECRET_FOLDERS)):
        file = Path(folder) / name
        try:
            return file.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as exc:
            raise ConfigError(f"{{{name}}}: {file} cannot be read: {exc.strerror or exc}") from exc
        except UnicodeDecodeError:
            # Not chained and without the byte: it is a piece of the secret.
            raise ConfigError(f"{{{name}}}: {file}: expected UTF-8 text") from None
    raise ConfigError(f"{{{name}}} is neither an environment variable nor a secret file")


def _written(secret: str, url: str, at: int) -> str:
    """Return `secret` as it is written at position `at` of `url`."""
    if url[:5].lower() == "file:":
        return secret
    start, end = _user_part(url)
    if start <= at < end:
        # A single placeholder for both, `{LOGIN}@`, brings the colon between name and password along.
        return _encoded(secret, safe="" if ":" in url[start:end] else ":")
    return _encoded(secret) if url[at - 1 : at] == "=" else secret


def _user_part(url: str) -> tuple[int, int]:
    """Return where the user part of `url` begins and ends; it is empty where there is no `@` before the path."""
    start = url.find("://") + 3
    if start < 3:
        return 0, 0
    authority = re.match(r"[^/?#]*", url[start:])
    return start, start + max(authority[0].rfind("@") if authority else -1, 0)


def _encoded(secret: str, safe: str = "") -> str:
    # An environment variable that is not UTF-8 comes with surrogates for its bytes.
    return quote(secret, safe=safe, errors="surrogateescape")


def _own_keys(data: TomlTable, index: int) -> TomlTable:
    """Return the table of a stream as the file has it."""
    streams = data.get("stream")
    return _table(streams[index]) if isinstance(streams, list) else {}


def _table(value: TomlValue | None) -> TomlTable:
    return value if isinstance(value, dict) else {}
