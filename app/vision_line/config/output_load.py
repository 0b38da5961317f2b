# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read the `[[output]]`s of a `streams.toml`, their secrets filled in; nothing else of it has to be right.

The line reads the same tables without their secrets, and this does not read the cameras': neither knows the other's
passwords, and a mistake in one is no reason to end the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vision_line.config.file_signature import Signature
from vision_line.config.listening import listeners_of_outputs, shared_ports
from vision_line.config.load import PLACEHOLDER, fill_placeholders, repeated_names
from vision_line.config.output_settings import AnyOutput, Output, output_problems
from vision_line.config.shared_topics import shared_topics
from vision_line.config.toml import Problem, TomlFile, TomlTable, TomlValue, problems_of, read_toml

#: Keys that may hold a `{NAME}`.
_SECRETS = ("url", "secret")
#: Keys that name files.
_PATHS = ("ca", "certificates")


class _OutputsOfFile(BaseModel):
    """What is read of the file."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)

    output: list[Output] = []


@dataclass(frozen=True, slots=True)
class LoadedOutputs:
    """The outputs of a file with their secrets; `enabled` are those that get something, by their name.

    `signature` is that of the file as it was read.
    """

    path: Path
    outputs: tuple[AnyOutput, ...]
    record: Path
    signature: Signature | None = None

    @property
    def enabled(self) -> dict[str, AnyOutput]:
        """The outputs that get something, by their name."""
        return {output.name: output for output in self.outputs if output.enabled}


def load_outputs(path: Path, environment: Mapping[str, str] | None = None) -> LoadedOutputs:
    """Read the outputs of `path`; `environment` is where their secrets are found first, as for cameras.

    Raises:
        ConfigError: all problems of them, each as `file:line: key: what was found, what was expected`.
    """
    file = read_toml(path)
    outputs, problems = _filled(file, os.environ if environment is None else environment)
    try:
        found = _OutputsOfFile.model_validate({"output": outputs})
    except ValidationError as exc:
        raise file.error([*problems, *output_problems(problems_of(exc, _OutputsOfFile))]) from None
    shared = [
        *shared_ports(listeners_of_outputs(found.output), file.data),
        *shared_topics(found.output, file.data),
    ]
    if problems := [*problems, *repeated_names(file.data, "output"), *shared]:
        raise file.error(problems)
    return LoadedOutputs(path, tuple(found.output), record_directory(file.data), file.signature)


def secret_names(path: Path) -> frozenset[str]:
    """Return the names of all secrets that the outputs of a file may ask for, and where systemd keeps them.

    Raises:
        ConfigError: the file cannot be read.
    """
    tables = read_toml(path).data.get("output", [])
    texts = (
        [str(table.get(key)) for table in tables if isinstance(table, dict) for key in _SECRETS]
        if isinstance(tables, list)
        else []
    )
    return frozenset({"CREDENTIALS_DIRECTORY", *(name for text in texts for name in PLACEHOLDER.findall(text))})


def _anchored(output: TomlTable, folder: Path) -> TomlTable:
    """Make relative paths relative to the file's folder."""
    paths = ((key, output.get(key)) for key in _PATHS)
    return output | {key: str(folder.absolute() / path) for key, path in paths if isinstance(path, str)}


def _filled(file: TomlFile, environment: Mapping[str, str]) -> tuple[TomlValue, list[Problem]]:
    problems: list[Problem] = []
    tables = file.data.get("output", [])
    if not isinstance(tables, list):
        return tables, problems
    filled: list[TomlValue] = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict):
            filled.append(table)
            continue
        values = _anchored(table, file.path.parent)
        for key in _SECRETS:
            if isinstance(text := table.get(key), str) and table.get("enabled") is not False:
                values[key], faults = fill_placeholders(text, environment)
                problems += [(("output", index, key), fault) for fault in faults]
        filled.append(values)
    return filled, problems


def record_directory(data: TomlTable) -> Path:
    """Return where a file says that the records are."""
    section = data.get("record")
    directory = section.get("directory") if isinstance(section, dict) else None
    return Path(directory if isinstance(directory, str) else "records")
