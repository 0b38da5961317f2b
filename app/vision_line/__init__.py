# SPDX-License-Identifier: AGPL-3.0-or-later
"""vision-line: many RTSP cameras over factory lines, inspected in real time on one edge box."""

__version__ = "0.1.0"
