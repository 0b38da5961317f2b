# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read `[central]` of a `streams.toml`, its secret filled in; nothing else of it has to be right."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vision_line.config.central_settings import CentralSettings
from vision_line.config.load import PLACEHOLDER, fill_placeholders
from vision_line.config.output_load import record_directory
from vision_line.config.toml import Problem, problems_of, read_toml


@dataclass(frozen=True, slots=True)
class LoadedCentral:
    """Where the records go, None: nowhere; and where they are."""

    settings: CentralSettings | None
    record: Path


def load_central(path: Path, environment: Mapping[str, str] | None = None) -> LoadedCentral:
    """Read `[central]` of `path`; `environment` is where its secret is found first, as for cameras.

    Raises:
        ConfigError: all problems of it, each as `file:line: key: what was found, what was expected`.
    """
    file = read_toml(path)
    record = record_directory(file.data)
    table = file.data.get("central")
    if table is None:
        return LoadedCentral(None, record)
    problems: list[Problem] = []
    if isinstance(table, dict) and isinstance(text := table.get("database"), str):
        filled, faults = fill_placeholders(text, os.environ if environment is None else environment)
        table = table | {"database": filled}
        problems = [(("central", "database"), fault) for fault in faults]
    try:
        settings = CentralSettings.model_validate(table)
    except ValidationError as exc:
        raise file.error(
            [*problems, *((("central", *where), words) for where, words in problems_of(exc, CentralSettings))]
        ) from None
    if problems:
        raise file.error(problems)
    return LoadedCentral(settings, record)


def central_secret_names(path: Path) -> frozenset[str]:
    """Return the names of the secrets that `[central]` of a file may ask for, and where systemd keeps them.

    Raises:
        ConfigError: the file cannot be read.
    """
    table = read_toml(path).data.get("central")
    text = str(table.get("database")) if isinstance(table, dict) else ""
    return frozenset({"CREDENTIALS_DIRECTORY", *PLACEHOLDER.findall(text)})
