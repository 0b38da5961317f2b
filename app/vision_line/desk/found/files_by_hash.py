# SPDX-License-Identifier: AGPL-3.0-or-later
"""A box's images and clips for the desk of all boxes: by their SHA-256, for who knows the plant's token.

What is asked for is a hash and never a path; it is served as long as a row of these records has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from io import BufferedReader

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from vision_line.desk.found.file_source import FileGoneError, RecordedFile
from vision_line.desk.services import Services
from vision_line.records.file_tables import AUDITS, CLIPS, EVIDENCE, NEAR_MISSES
from vision_line.records.records import Records

router = APIRouter(include_in_schema=False)

#: Where a box's desk serves them.
FILES_PATH = "/fleet/files"

_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 18
_PLACES = (
    (EVIDENCE.folder, "evidence", "path", "sha256"),
    (EVIDENCE.folder, "evidence", "overlay_path", "overlay_sha256"),
    (EVIDENCE.folder, "evidence", "crop_path", "crop_sha256"),
    (CLIPS.folder, "clips", "path", "sha256"),
    (NEAR_MISSES.folder, "near_misses", "path", "sha256"),
    (AUDITS.folder, "audits", "path", "sha256"),
)


@router.get(FILES_PATH + "/{digest}")
def file_by_hash(services: Services, request: Request, digest: str) -> Response:
    """Serve the image or clip that has this SHA-256, if it is the one that was recorded."""
    if services.fleet_door is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    services.fleet_door.check(request.headers.get("authorization", ""), request.client.host if request.client else "")
    if not _HASH.fullmatch(digest):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a SHA-256 in hex")
    with services.reader.open() as connection:
        wanted = _found(connection, digest)
    if wanted is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no file of these records has this hash")
    try:
        file = services.files.open(wanted)
    except FileGoneError as exc:
        raise HTTPException(HTTPStatus.GONE, str(exc)) from exc
    size = file.seek(0, 2)
    file.seek(0)
    headers = {"Content-Length": str(size), "Cache-Control": "no-store"}
    return StreamingResponse(_chunks(file), headers=headers, media_type="application/octet-stream")


def _found(connection: Records, digest: str) -> RecordedFile | None:
    """Return where the file with this hash is; None: no row that is kept has it."""
    for folder, table, path, column in _PLACES:
        sql = f"SELECT {path} FROM {table} WHERE {column} = ? AND deleted_utc IS NULL AND {path} IS NOT NULL LIMIT 1"  # noqa: S608  names, of this file
        if (row := connection.execute(sql, (digest,)).fetchone()) is not None:
            return RecordedFile(0, folder, row[0], digest, "a file")
    return None


def _chunks(file: BufferedReader) -> Iterator[bytes]:
    with file:
        while data := file.read(_CHUNK):
            yield data
