# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images and clips, by the number of their row: what is served lies in the record directory and has the row's hash.

Numbers are not for ever: they begin at 1 in other records, which the same address may serve. So only an address that
names the hash may be kept without asking again, and one that names another hash than the row's is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from enum import StrEnum
from html import escape
from http import HTTPStatus
from io import BufferedReader
from textwrap import wrap
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from vision_line.desk.found.file_source import FileGoneError, RecordedFile, UnreachableBoxError
from vision_line.desk.found.media_addresses import SHA256
from vision_line.desk.services import Services
from vision_line.errors import RunError
from vision_line.records.file_tables import AUDITS, CLIPS, EVIDENCE, NEAR_MISSES

router = APIRouter(include_in_schema=False)

#: Of an address with the hash, and of one without; in this browser alone.
_FOR_EVER, _ASK_AGAIN = "private, max-age=31536000, immutable", "private, no-cache"
_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


Hash = Annotated[str, Query(alias=SHA256, max_length=64)]


class ImageKind(StrEnum):
    """Which image of an event."""

    IMAGE = "image"
    OVERLAY = "overlay"
    CROP = "crop"


_COLUMNS = {
    ImageKind.IMAGE: ("path", "sha256"),
    ImageKind.OVERLAY: ("overlay_path", "overlay_sha256"),
    ImageKind.CROP: ("crop_path", "crop_sha256"),
}

_WORDS = {
    ImageKind.IMAGE: "the untouched frame",
    ImageKind.OVERLAY: "the frame with its boxes",
    ImageKind.CROP: "the enlarged defect",
}


@router.get("/media/events/{event}/{kind}")
def event_image(services: Services, request: Request, event: int, kind: ImageKind, named: Hash = "") -> Response:
    """Serve an image of an event."""
    path, sha256 = _COLUMNS[kind]
    sql = f"""SELECT t.run, e.{path}, e.{sha256}, e.deleted_utc FROM events t JOIN evidence e
        ON e.run = t.run AND e.event_id = t.event_id WHERE t.event = ?"""  # noqa: S608  names, of this file
    return _image(services, request, _wanted(services, sql, event, EVIDENCE.folder, _WORDS[kind]), named)


@router.get("/media/near_misses/{number}")
def near_miss_image(services: Services, request: Request, number: int, named: Hash = "") -> Response:
    """Serve the image of a near miss."""
    sql = "SELECT run, path, sha256, deleted_utc FROM near_misses WHERE near_miss = ?"
    wanted = _wanted(services, sql, number, NEAR_MISSES.folder, "the image of a near miss")
    return _image(services, request, wanted, named)


@router.get("/media/audits/{number}")
def audit_image(services: Services, request: Request, number: int, named: Hash = "") -> Response:
    """Serve the image of an audited frame."""
    sql = "SELECT run, path, sha256, deleted_utc FROM audits WHERE audit = ?"
    return _image(services, request, _wanted(services, sql, number, AUDITS.folder, "an audited frame"), named)


def _image(services: Services, request: Request, wanted: RecordedFile, named: str) -> Response:
    """Serve the image that a row names, if it is the one that was recorded."""
    headers = _headers(wanted, named)
    try:
        with services.files.open(wanted) as file:
            data = file.read()
    except FileGoneError as exc:
        raise HTTPException(HTTPStatus.GONE, str(exc)) from exc
    except UnreachableBoxError as exc:
        return Response(instead(str(exc)), HTTPStatus.SERVICE_UNAVAILABLE, media_type="image/svg+xml")
    if wanted.sha256 is not None and hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise RunError(
            "this is not the image that was recorded: its SHA-256 differs; vision-line verify --pictures says more"
        )
    if request.headers.get("if-none-match", "") == headers.get("ETag"):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


@router.get("/media/clips/{clip}")
def clip_video(services: Services, clip: int, request: Request, named: Hash = "") -> Response:
    """Serve a clip, or the part of it that a browser asks for."""
    sql = "SELECT run, path, sha256, deleted_utc FROM clips WHERE clip = ?"
    wanted = _wanted(services, sql, clip, CLIPS.folder, "a clip")
    headers = _headers(wanted, named)
    try:
        file = services.files.open(wanted)
    except FileGoneError as exc:
        raise HTTPException(HTTPStatus.GONE, str(exc)) from exc
    try:
        if hashlib.file_digest(file, "sha256").hexdigest() != wanted.sha256:
            raise RunError("this is not the clip that was recorded: its SHA-256 differs")
        size = file.tell()
        is_same = request.headers.get("if-range", headers.get("ETag")) == headers.get("ETag")
        first, last, is_part = _part(request.headers.get("range") if is_same else None, size)
    except BaseException:
        file.close()
        raise
    headers |= {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
    if is_part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK
    return StreamingResponse(_chunks(file, first, last), status, headers, media_type="video/mp4")


def _wanted(services: Services, sql: str, number: int, folder: str, what: str) -> RecordedFile:
    """Return the file that a row names."""
    with services.reader.open() as connection:
        row = connection.execute(sql, (number,)).fetchone() if 0 <= number < 2**63 else None
    if row is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such file in these records")
    run, path, sha256, deleted_utc = row
    if path is None or deleted_utc is not None:
        raise HTTPException(HTTPStatus.GONE, "the file was removed, or there never was one")
    return RecordedFile(run, folder, path, sha256, what)


def _headers(wanted: RecordedFile, named: str) -> dict[str, str]:
    """Return how long a browser may keep a file, by the hash that the address names; "": it names none."""
    if named and named != wanted.sha256:
        raise HTTPException(
            HTTPStatus.GONE, "this number is another file's now: its SHA-256 is not the one of the address"
        )
    headers = {"Cache-Control": _FOR_EVER if named else _ASK_AGAIN}
    return headers if wanted.sha256 is None else {**headers, "ETag": f'"{wanted.sha256}"'}


def instead(sentence: str) -> str:
    """Return a sentence as an image, to stand where another one cannot be shown."""
    lines = wrap(sentence, 34)
    rows = "".join(f'<text x="16" y="{40 + 22 * n}">{escape(line)}</text>' for n, line in enumerate(lines))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240" width="320" height="240">'
        '<rect width="320" height="240" fill="#e8e8e8"/>'
        f'<g font-family="sans-serif" font-size="16" fill="#444">{rows}</g></svg>'
    )


def _part(asked: str | None, size: int) -> tuple[int, int, bool]:
    """Return the first and last byte to send, and whether that is a part; several parts at once are not served."""
    found = _RANGE.fullmatch(asked or "")
    if found is None or not (found[1] or found[2]):
        return 0, size - 1, False
    if found[1]:
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    else:
        first, last = max(0, size - int(found[2])), size - 1
    if first > last:
        raise HTTPException(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers={"Content-Range": f"bytes */{size}"})
    return first, last, True


def _chunks(file: BufferedReader, first: int, last: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (data := file.read(min(_CHUNK, left))):
            left -= len(data)
            yield data
