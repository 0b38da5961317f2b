# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many inspected frames could not have been audited, because `[review]` was off: nothing is known of their misses.

Audits of one camera or day say nothing about others. The journal says from when on each camera's frames were drawn;
where it has no such entry (any more), a camera with audits counts as audited all along.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from math import inf

from vision_line.records.records import Records
from vision_line.records.review.review_recorder import AUDIT_KEY
from vision_line.records.row_models import model_of_row

_MINUTE_S = 60.0
_CARRIED = "configuration/"
_RATES = f"""SELECT run, kind = 'carried' AS is_carried, key, at_utc, body FROM journal
    WHERE kind = 'configuration' AND key >= '{AUDIT_KEY}' AND key < 'audit0'
    OR kind = 'carried' AND key >= '{_CARRIED}{AUDIT_KEY}' AND key < '{_CARRIED}audit0' ORDER BY number"""  # noqa: S608  names
_AUDITED = "SELECT DISTINCT run, camera FROM audits"
_MINUTES = f"""SELECT t.run, {model_of_row("model_sha256")}, t.camera, t.minute_utc, t.inspected
    FROM coverage t JOIN runs r ON r.run = t.run
    WHERE t.minute_utc >= ? AND t.minute_utc < ? AND t.inspected > 0"""  # noqa: S608  the same

#: From when on how many frames an hour were drawn, in that order.
Rates = list[tuple[float, float]]


def unaudited_frames(connection: Records, since_utc: float, until_utc: float) -> Mapping[tuple[str, float], int]:
    """Return the inspected frames of [since, until) of which none was drawn, by model and minute.

    Raises:
        sqlite3.Error, ValueError: as they come.
    """
    rates = _rates(connection)
    found: Counter[tuple[str, float]] = Counter()
    for run, model, camera, minute_utc, inspected in connection.execute(_MINUTES, (since_utc, until_utc)):
        if not _is_on(rates.get((run, camera), []), minute_utc + _MINUTE_S):
            found[model, float(minute_utc)] += inspected
    return found


def _rates(connection: Records) -> dict[tuple[int, str], Rates]:
    rates = defaultdict[tuple[int, str], Rates](list)
    for run, is_carried, key, at_utc, body in connection.execute(_RATES):
        said = json.loads(body)["after"]
        if said is not None:  # an entry that was carried over was in force before
            camera = key.removeprefix(_CARRIED).removeprefix(AUDIT_KEY)
            rates[run, camera].append((-inf if is_carried else at_utc, said["per_hour"]))
    for run, camera in connection.execute(_AUDITED):
        if (run, camera) not in rates:
            rates[run, camera].append((-inf, 1.0))
    return rates


def _is_on(rates: Rates, before_utc: float) -> bool:
    """Whether frames were drawn by the newest entry before a moment."""
    place = bisect_left(rates, before_utc, key=lambda rate: rate[0]) - 1
    return place >= 0 and rates[place][1] > 0
