# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a part that some door brings gets to the process that decides."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vision_line.lanes.lanes_client import LanesClient
from vision_line.parts.line_commands import PartAsked, SendPart


def part_sender(directory: Path) -> SendPart:
    """Return what tells the `vision-line lanes` of a record directory of a part; each part is a connection."""
    return partial(_send_part, directory)


def _send_part(directory: Path, part: PartAsked) -> int:
    """Tell `vision-line lanes` of a part; return its number at its lane.

    Raises:
        ConfigError: it refuses.
        RunError: it is not there, or does not answer.
    """
    with LanesClient(directory) as lanes:
        return lanes.part(
            part.lane, part_id=part.part_id, number=part.number, at_s=part.at_s, lot=part.lot, recipe=part.recipe
        )
