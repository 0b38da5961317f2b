# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the events behind a point or a signal are: addresses of the gallery."""

from __future__ import annotations

from urllib.parse import urlencode

from vision_line.desk.boxes import present_boxes
from vision_line.desk.charts.rate_chart import RateChart
from vision_line.desk.found.found_events import ChallengeChoice
from vision_line.desk.local_time import local
from vision_line.frames import Verdict
from vision_line.reviews.baseline_entries import ChartScope

#: What the gallery does not know.
_OF_CHARTS = frozenset({"period", "together"})


def point_links(scope: ChartScope, chart: RateChart) -> dict[float, str]:
    """Return the address of each point's events, by when its period begins."""
    return {one.since_utc: events_address(scope, one.since_utc, one.until_utc) for one in chart.points}


def signal_links(scope: ChartScope, chart: RateChart) -> list[str]:
    """Return the address of each signal's events."""
    return [events_address(scope, one.since_utc, one.until_utc) for one in chart.signals]


def events_address(scope: ChartScope, since_utc: float, until_utc: float) -> str:
    """Return where the events are that a chart of `scope` counts in a time."""
    times = {"since": local(since_utc).isoformat(), "until": local(until_utc).isoformat()}
    asked = {name: value for name, value in scope.asked.items() if name not in _OF_CHARTS}
    verdicts = [("verdict", str(verdict)) for verdict in (Verdict.REJECT, Verdict.WARN)]
    more = [("challenges", str(ChallengeChoice.WITHOUT)), *present_boxes().asked.items()]
    return f"/events?{urlencode([*asked.items(), *times.items(), *verdicts, *more])}"
