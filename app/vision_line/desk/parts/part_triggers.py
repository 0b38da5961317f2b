# SPDX-License-Identifier: AGPL-3.0-or-later
"""To say that a part begins to pass a lane, for programs of slow lines: the network's time moves the part's window."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException

from vision_line.desk.services import Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.parts.line_commands import PartCommand
from vision_line.parts.orders import Asked

router = APIRouter()

Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]

DOOR = "desk"


@dataclass(frozen=True, slots=True)
class TakenPart:
    """A part that is on its way now; `sequence` counts the lane's. Its verdict is not known yet."""

    lane: str
    part_id: str
    sequence: int


@router.post("/api/v1/parts", status_code=HTTPStatus.ACCEPTED)
def begin_part(services: Services, session: Quality, part: PartCommand) -> TakenPart:
    """Say that a part begins to pass a lane now; with the same `request` it is the same part.

    409: the lanes refuse it. 503: no `vision-line lanes` runs, or it does not answer.
    """
    at_s = time.monotonic()
    try:
        answer = services.commands.carry_out(part, Asked(session.user, DOOR), at_s)
    except ConfigError as exc:
        raise HTTPException(HTTPStatus.CONFLICT, str(exc)) from exc
    return TakenPart(part.lane, part.part_id, cast("int", answer["sequence"]))
