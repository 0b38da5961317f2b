# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk's statements as PostgreSQL is to be asked them: what SQLite alone knows is said otherwise. Pure.

A camera is `box:camera` among all boxes, and a lane `box:lane`, which no index knows. So where rows are asked for by
these, they are by their box and the box's own name too: that says nothing more, and both are columns of the tables
behind a view. What is asked about challenges is said as the question that it is, for the same reason.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count

from vision_line.challenges.challenge_windows import ABOUT_S

#: Text in quotes, a hint for SQLite's planner, a condition on a row's camera or lane, a question about challenges, a
#: parameter, a percent sign.
_WORDS = re.compile(
    r"(?P<text>'(?:[^']|'')*')|(?P<hint> INDEXED BY \w+)"
    r"|\b(?P<row>\w+)\.(?P<what>camera|name|lane) (?:= (?P<other>\w+)\.(?:camera|name)\b|= \?|IN \(\?(?:, \?)*\))"
    r"|\b(?P<asks>any_challenge|is_challenge|challenge_at)\((?:(?P<of>\w+\.\w+), (?P<at>\w+\.\w+))?\)"
    r"|\?|%"
)
_OWN = {"camera": "own_camera", "name": "own_camera", "lane": "own_lane"}
_TIMES = "challenge.from_utc <= {at} AND challenge.to_utc > {at}"
_ABOUT = f"challenge.from_utc <= {{at}} + {ABOUT_S} AND challenge.to_utc > {{at}} - {ABOUT_S}"
_CHALLENGES = {
    "any_challenge": "",
    "is_challenge": f" WHERE challenge.camera = {{of}} AND {_TIMES}",
    "challenge_at": f" WHERE split_part(challenge.camera, ':', 1) = split_part({{of}}, ':', 1) AND {_ABOUT}",
}


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """Return a statement as psycopg takes it, with its parameters as `p0`, `p1` ..."""
    numbers = count()

    def word(found: re.Match[str]) -> str:
        said = found[0]
        if found["text"] or said == "%":
            return said.replace("%", "%%")
        if found["row"]:
            return _of_camera(found, [f"%(p{next(numbers)})s" for _ in range(said.count("?"))])
        if found["asks"]:
            of = _CHALLENGES[found["asks"]].format(of=found["of"], at=found["at"])
            return f"EXISTS (SELECT 1 FROM desk.challenge_windows challenge{of})"  # noqa: S608  ours
        return "" if found["hint"] else f"%(p{next(numbers)})s"

    return _WORDS.sub(word, sql)


def _of_camera(found: re.Match[str], wanted: list[str]) -> str:
    """Return a condition on a row's camera or lane with what it means; `wanted` are the parameters in it."""
    row, own, other = found["row"], _OWN[found["what"]], found["other"]
    if other:
        return f"({found[0]} AND {row}.{own} = {other}.{own} AND {row}.box = {other}.box)"
    boxes, names = (", ".join(f"split_part({one}, ':', {place})" for one in wanted) for place in (1, 2))
    return f"({row}.{found['what']} IN ({', '.join(wanted)}) AND {row}.{own} IN ({names}) AND {row}.box IN ({boxes}))"
