# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report as one HTML file: styles and images are in it, and it asks for nothing."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vision_line import __version__
from vision_line.challenges.showing import share
from vision_line.desk.charts.chart_geometry import chart_geometry, chart_marks
from vision_line.desk.inspected.coverage_bar import axis
from vision_line.desk.local_time import plant_clock, shown_by
from vision_line.desk.part_charts.part_geometry import lane_drawing
from vision_line.desk.plain_words import cause_words, duration, part_cause_words, percent, rounded_percent
from vision_line.desk.report.head_code import head_code
from vision_line.desk.report.passed_parts import MOST_ESCAPES
from vision_line.desk.report.shift_report import ShiftReport
from vision_line.desk.time_filters import time_filters


def document(report: ShiftReport, *, in_desk: bool = False) -> str:
    """Return the file's text. `in_desk`: figures lead to the pages of the desk that shows it."""
    with shown_by(report.period.clock):
        return _rendered(report, in_desk=in_desk)


def _rendered(report: ShiftReport, *, in_desk: bool) -> str:
    environment = Environment(
        loader=PackageLoader("vision_line.desk", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        **time_filters(),
        "duration": duration,
        "percent": percent,
        "rounded_percent": rounded_percent,
        "cause_words": cause_words,
        "part_cause_words": part_cause_words,
        "css_text": css_text,
        "share": share,
    }
    time = report.period.time
    return environment.get_template("report.html").render(
        report=report,
        time=time,
        span=plant_clock().span(time),
        marks=axis(time),
        drawing=chart_geometry(report.usual.chart, time) if report.usual.chart.points else None,
        lanes=[(one, lane_drawing(one.series, one.chart, one.yields, time)) for one in report.lanes],
        lane_marks=chart_marks(time),
        version=__version__,
        in_desk=in_desk,
        most_escapes=MOST_ESCAPES,
        asked={"since": plant_clock().iso(time.since_utc), "until": plant_clock().iso(time.until_utc)},
        head_code=head_code(report.journal.head_digest),
    )


def css_text(text: str) -> Markup:
    """Return `text` as a string of CSS holds it: all but letters, digits and spaces is written as its code."""
    plain = re.sub(r"[^A-Za-z0-9 ]", lambda found: f"\\{ord(found[0]):x} ", text)
    return Markup(plain)  # noqa: S704  nothing is left in it that HTML or CSS knows
