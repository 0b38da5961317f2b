# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps each camera's results in the order its frames were submitted, whatever order an engine finishes in."""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.frames import Frame, Inspection


@dataclass(slots=True, eq=False)
class Ticket:
    """A submitted frame's place in its camera's line; holds the inspection once there is one."""

    frame: Frame
    submitted_s: float
    inspection: Inspection | None = None


class CameraOrder:
    """The submitted frames of all cameras; one thread only."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Ticket]] = {}  # seldom of more than two, which a list takes more cheaply
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def enter(self, frame: Frame, submitted_s: float) -> Ticket:
        """Put `frame` at the end of its camera's line."""
        ticket = Ticket(frame, submitted_s)
        self._lines.setdefault(frame.camera, []).append(ticket)
        self._waiting += 1
        return ticket

    def finish(self, ticket: Ticket, inspection: Inspection) -> list[Inspection]:
        """Note the result of `ticket`; return what its camera's line releases now, oldest first."""
        ticket.inspection = inspection
        camera = ticket.frame.camera
        line = self._lines[camera]
        if len(line) == 1:  # nearly always
            del self._lines[camera]
            self._waiting -= 1
            return [inspection]
        released: list[Inspection] = []
        while line and line[0].inspection is not None:
            released.append(line[0].inspection)
            del line[0]
        if not line:  # cameras come and go; an empty line is not kept for one that left
            del self._lines[camera]
        self._waiting -= len(released)
        return released

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._waiting = 0
