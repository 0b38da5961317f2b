# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a side file is what was written: readable, its chain whole, and what its owner checks besides."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vision_line.errors import BrokenRecordError, RunError
from vision_line.records.journal_removal import is_bad_text
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_file import SideFile

Checked = TypeVar("Checked")

#: What text that vision-line never wrote raises where it is read.
_NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


def check_side_file(
    file: SideFile, directory: Path, check: Callable[[sqlite3.Connection, Path], Checked]
) -> Checked | None:
    """Check a side file, and return what `check` finds of it, None: there is no file yet.

    Raises:
        BrokenRecordError: something does not fit, or the file is damaged; it names the first.
        RunError: it is none of ours, of a newer version, or cannot be read.
    """
    path = directory / file.name
    try:
        with file.reading(directory) as connection:
            if connection is None:
                return None
            _check_whole(connection, path)
            return check(connection, path)
    except _NOT_OURS as exc:
        raise BrokenRecordError(f"{path}: holds what vision-line does not write: {type(exc).__name__}: {exc}") from exc
    except RunError as exc:
        if _is_damage(exc.__cause__):
            raise BrokenRecordError(f"{path} is damaged: {exc.__cause__}") from exc
        raise


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BrokenRecordError(f"{path} is damaged: {found}")
    if problem := chain_problem(connection):
        raise BrokenRecordError(f"{path}: {problem}")


def _is_damage(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or is_bad_text(cause)
    return isinstance(cause, UnicodeDecodeError)
