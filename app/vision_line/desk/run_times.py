# SPDX-License-Identifier: AGPL-3.0-or-later
"""From when to when a run lies on the wall clock, as SQL over a row `r` of `runs`, and the newest moment there is.

A run that began while its clock was ahead, which was set back then, would end before it began and lie in no time: its
beginning is taken to have been where the clock's steps put it.
"""

from __future__ import annotations

import time

from vision_line.records.records import Records, either, greatest, least

#: Until when a run's rows account for its cameras.
KNOWN = "coalesce(r.ended_utc, r.alive_utc, r.started_utc)"
_STEPPED_S = "coalesce((SELECT sum(k.to_utc - k.from_utc) FROM clock_steps k WHERE k.run = r.run), 0.0)"

#: Clocks of two machines may differ so much, in seconds, without a word.
_TOLERANCE_S = 60.0


def in_its_run(moment: str) -> str:
    """Return SQL of a column's moment, put back by the clock's steps where it lies behind the end of its run."""
    return either(f"{moment} > {KNOWN}", least(KNOWN, f"({moment} + {_STEPPED_S})"), moment)


#: When a run began.
BEGAN = in_its_run("r.started_utc")

_LATEST = greatest(KNOWN, "r.started_utc")
_NEWEST = f"SELECT coalesce(max({KNOWN}), 0.0), coalesce(max({_LATEST}), 0.0) FROM runs r"  # noqa: S608  names, of this file
_NEWEST_BEFORE = f"SELECT max({KNOWN}) FROM runs r WHERE {BEGAN} <= ?"  # noqa: S608  the same


def newest_utc(connection: Records) -> float:
    """Return up to when there are records, but no later than now where a run's clock was ahead; 0: there are none.

    Where all of them are from the future, the newest of these: there is nothing else to show.

    Raises:
        Error: the database's, as it comes.
    """
    known_utc = float(connection.execute(_NEWEST).fetchone()[0])
    now_utc = time.time()
    if known_utc <= now_utc + _TOLERANCE_S:
        return known_utc
    before_utc = connection.execute(_NEWEST_BEFORE, (now_utc,)).fetchone()[0]
    return known_utc if before_utc is None else min(float(before_utc), now_utc)


def ahead_utc(connection: Records) -> float | None:
    """Return up to when there are records where that is later than this machine's clock shows, else None.

    Raises:
        Error: the database's, as it comes.
    """
    latest_utc = float(connection.execute(_NEWEST).fetchone()[1])
    return latest_utc if latest_utc > time.time() + _TOLERANCE_S else None
