# SPDX-License-Identifier: AGPL-3.0-or-later
"""What proves a report: its entries in the journal, the seals over them, and the wall clock that dated them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.errors import RunError
from vision_line.records.records import Records
from vision_line.records.seal import SealBody

_HEAD = "SELECT number, digest FROM journal ORDER BY number DESC LIMIT 1"
#: Seals are few and found by an index: what lies between the one before a time and the one after it is looked through.
_SEAL = "journal WHERE kind = 'seal' AND key = ''"
_BEFORE = f"""SELECT coalesce(max(number), 0) FROM {_SEAL}
    AND number < (SELECT coalesce(min(number), 9e15) FROM {_SEAL} AND at_utc >= ?)"""  # noqa: S608  names, of this file
_AFTER = f"""SELECT coalesce(min(number), 9e15) FROM {_SEAL}
    AND number > (SELECT coalesce(max(number), 0) FROM {_SEAL} AND at_utc < ?)"""  # noqa: S608  the same
_RANGE = """SELECT min(number), max(number) FROM journal
    WHERE number >= ? AND number <= ? AND at_utc >= ? AND at_utc < ?"""
_DIGEST = "SELECT digest FROM journal WHERE number = ?"
#: The one that covers the last entry of the time counts too.
_SEALS = f"""SELECT body FROM {_SEAL} AND number >= ?
    AND number <= (SELECT coalesce(min(number), 9e15) FROM {_SEAL} AND number >= ?) ORDER BY number"""  # noqa: S608  the same
_STEPS = "SELECT from_utc, to_utc FROM clock_steps WHERE to_utc >= ? AND to_utc < ? AND clock > 0 ORDER BY to_utc"


@dataclass(frozen=True, slots=True)
class JournalProof:
    """The entries of a time, first to last, and the journal's head when the report was made; digests in hex.

    `first` is None where the time has no entry. `signed` counts seals by the public key that signs them.
    """

    first: int | None
    last: int | None
    last_digest: str
    head: int
    head_digest: str
    seals: int
    signed: Mapping[str, int]
    covered_to: int  # the newest entry that a seal covers
    synchronised: int  # seals that say that the clock followed a time server
    unsynchronised: int
    max_error_s: float | None  # of the synchronised ones: without a time server the kernel knows no bound
    clock_steps: tuple[tuple[float, float], ...]  # from and to


@dataclass(frozen=True, slots=True)
class JournalCheck:
    """What came out of a check of the whole journal. `holds` is None: it was tried, and could not be made."""

    holds: bool | None
    said: str


def read_journal_proof(connection: Records, time: ChosenTime) -> JournalProof:
    """Return what the journal says of a time.

    Raises:
        RunError: a seal is none that was ever written.
        Error: the database's, as it comes.
    """
    head, digest = connection.execute(_HEAD).fetchone() or (0, b"")
    first, last = _entries(connection, time)
    seals = [] if last is None else connection.execute(_SEALS, (first, last)).fetchall()
    bodies = [_body(row["body"]) for row in seals]
    clocks = [body.get("clock", {}) for body in bodies]
    followed = [clock for clock in clocks if clock.get("synchronised") is True]
    errors = [error for clock in followed if (error := clock.get("max_error_s")) is not None]
    steps = connection.execute(_STEPS, (time.since_utc, time.until_utc)).fetchall()
    return JournalProof(
        first=first,
        last=last,
        last_digest="" if last is None else connection.execute(_DIGEST, (last,)).fetchone()[0].hex(),
        head=head,
        head_digest=digest.hex(),
        seals=len(seals),
        signed=Counter(key for body in bodies if (key := body.get("public_key"))),
        covered_to=max((body["entries"] for body in bodies), default=0),
        synchronised=len(followed),
        unsynchronised=sum(clock.get("synchronised") is False for clock in clocks),
        max_error_s=max(errors, default=None),
        clock_steps=tuple((from_utc, to_utc) for from_utc, to_utc in steps),
    )


def _entries(connection: Records, time: ChosenTime) -> tuple[int | None, int | None]:
    """Return the numbers of the first and last entry of a time, also where the clock was set meanwhile."""
    (before,) = connection.execute(_BEFORE, (time.since_utc,)).fetchone()
    (after,) = connection.execute(_AFTER, (time.until_utc,)).fetchone()
    first, last = connection.execute(_RANGE, (before, after, time.since_utc, time.until_utc)).fetchone()
    return first, last


def _body(text: str) -> SealBody:
    try:
        body: SealBody = json.loads(text)
        int(body["entries"])
    except (ValueError, TypeError, KeyError) as exc:
        raise RunError("a seal of the journal cannot be read; vision-line verify says more") from exc
    return body
