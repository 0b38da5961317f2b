# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who changed what: the configuration in force, as journal entries with before and after."""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import TYPE_CHECKING, cast

from vision_line.records.entries import ConfigurationEntry
from vision_line.records.journal import Kind
from vision_line.records.records import Records

if TYPE_CHECKING:
    from vision_line.records.journal_writer import JournalWriter

logger = logging.getLogger(__name__)

#: The newest entry of each key: by the index alone, as there are many where probabilities change.
_SAID = """SELECT said, body FROM journal JOIN (
    SELECT max(number) AS newest,
        CASE WHEN kind = 'carried' THEN substr(key, length('configuration/') + 1) ELSE key END AS said
    FROM journal
    WHERE kind = 'configuration' OR (kind = 'carried' AND key >= 'configuration/' AND key < 'configuration0')
    GROUP BY said) newer ON number = newest ORDER BY number"""


#: The same of one key.
_SAID_OF = """SELECT number, body FROM journal
    WHERE (kind = 'configuration' AND key = ?) OR (kind = 'carried' AND key = ?)"""


def enter_configuration(
    connection: sqlite3.Connection, journal: JournalWriter, entry: ConfigurationEntry, run: int
) -> None:
    """Enter what is otherwise than the journal says. To be called in a transaction.

    Raises:
        sqlite3.Error: as it comes.
    """
    journal.flush(connection)  # what the same transaction entered before counts
    before = in_force(connection)
    gone = {key for key in before if _is_covered(key, entry.complete) and key not in entry.settings}
    for key in (*entry.settings, *sorted(gone)):
        after = entry.settings.get(key)
        if before.get(key) != after:
            said = {"before": before.get(key), "after": after, "why": entry.why, **entry.source}
            journal.append(Kind.CONFIGURATION, key, said, run)


def _is_covered(key: str, complete: str | None) -> bool:
    return complete is not None and key.startswith(complete)


def in_force(connection: Records) -> dict[str, object]:
    """Return what the journal says is configured, by its key.

    Raises:
        sqlite3.Error: as it comes.
    """
    found = {key: _after(key, body) for key, body in connection.execute(_SAID)}
    return {key: after for key, after in found.items() if after is not None}


def in_force_of(connection: Records, key: str) -> object | None:
    """Return the same of one key, None where nothing is configured.

    Raises:
        sqlite3.Error: as it comes.
    """
    found = connection.execute(_SAID_OF, (key, f"configuration/{key}")).fetchall()
    _, body = max(found, key=lambda row: int(row[0]), default=(0, None))
    return None if body is None else _after(key, body)


def _after(key: str, body: str) -> object | None:
    try:
        return cast("object", json.loads(body)["after"])
    except (ValueError, KeyError, TypeError):  # somebody changed it, which is no reason not to inspect
        logger.error("the journal's configuration of %s cannot be read; vision-line verify says more", key)
        return None
