# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much anybody may send: pages send a few fields, and nothing of it is read before its length is known."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: In bytes.
LARGEST_BODY = 64 * 1024


class BodyLimit:
    """Refuses requests with a large body, and those that do not say how large it is; the server holds them to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        status = _refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        answer = PlainTextResponse(f"{status.phrase}\n", status) if status else self._app
        await answer(scope, receive, send)


def _refusal(headers: Headers) -> HTTPStatus | None:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers:
        return HTTPStatus.LENGTH_REQUIRED
    return None if length.isdecimal() and int(length[:12]) <= LARGEST_BODY else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
