# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every request to the desk of all boxes is about all of them, or about the one in its address (`?box=hall-1`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from vision_line.central.database_connection import connected
from vision_line.central.database_url import DatabaseUrl
from vision_line.desk.boxes import PresentBoxes, shown_of
from vision_line.desk.rendering import page
from vision_line.errors import VisionLineError

#: So long the names that were read are taken to hold, in seconds: a new box is seen after this.
_HOLDS_S = 10.0


class KnownBoxes:
    """The names of the boxes by their numbers, read again now and then; from any thread."""

    def __init__(self, url: DatabaseUrl, now_s: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._now_s = now_s
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._until_s = float("-inf")

    def read(self) -> dict[int, str]:
        """Return them.

        Raises:
            RunError: the database cannot be asked.
        """
        with self._lock:
            if self._now_s() >= self._until_s:
                with connected(self._url) as connection:
                    self._names = dict(connection.execute("SELECT number, node FROM plant.nodes").fetchall())
                self._until_s = self._now_s() + _HOLDS_S
            return self._names


class InBoxes:
    """Has each request answered of the box that it names."""

    def __init__(self, app: ASGIApp, known: KnownBoxes) -> None:
        self.app = app
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self.app(scope, receive, send)
            return
        box = parse_qs(scope["query_string"].decode("latin-1")).get("box", [""])[-1]
        try:
            names = await run_in_threadpool(self._known.read)
        except VisionLineError as exc:
            with shown_of(PresentBoxes({})):
                await _refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(exc))(scope, receive, send)
            return
        is_known = box in {"", *names.values()}
        with shown_of(PresentBoxes(names, box if is_known else "")):
            answer = self.app if is_known else _refusal(HTTPStatus.NOT_FOUND, f"this database has no box {box!r}")
            await answer(scope, receive, send)


def _refusal(status: int, sentence: str) -> Response:
    return page("error.html", status, sentence=sentence, waits=False)
