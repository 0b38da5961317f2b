# SPDX-License-Identifier: AGPL-3.0-or-later
"""An HTTP server that messages are posted to. A status of 2xx is the acknowledgement; its body is not waited for."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from vision_line import __version__
from vision_line.config.output_settings import WebhookOutput
from vision_line.outputs.cloud_events import BATCHED, STRUCTURED, body_of, request_id, signed_headers
from vision_line.outputs.message_sink import LONG_TURN_S, TURN_S, ShownState, SinkError, SinkTrouble
from vision_line.outputs.notification import Notification
from vision_line.outputs.tls import verified_context

#: Of an answer's body so much is read, so that its connection can serve again, and so long, in seconds.
_MOST_BODY = 65_536
_BODY_S = 1.0
_AUTHENTICATION = frozenset({401, 403, 407})
_BUSY = frozenset({429, 503})
#: The only words about a wrong answer that quote nothing of it: it may be an echo of the request, with its token.
_HUNG_UP = "Server disconnected without sending a response."
#: They log each request with its URL, which may hold a token, and at a line's rate that is all a log would have.
_LOGGERS_OF_REQUESTS = ("httpx", "httpcore")


class WebhookSink:
    """A client of one server; asks it nothing before there is a message."""

    connects = False

    def __init__(self, settings: WebhookOutput) -> None:
        self._settings = settings
        self.window = settings.batch
        self.turn_s = LONG_TURN_S if settings.batch > 1 else TURN_S  # requests are what costs: the fuller, the fewer
        self._client: httpx.AsyncClient | None = None

    async def connect(self) -> None:
        """Make the client.

        Raises:
            SinkError: its CAs cannot be used.
        """
        for name in _LOGGERS_OF_REQUESTS:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            verify=verified_context(self._settings.ca),
            follow_redirects=False,
            trust_env=False,  # where messages go is said by the configuration alone
            timeout=self._settings.timeout_s,
            headers={"user-agent": f"vision-line/{__version__}"},
        )

    async def send(self, messages: Sequence[Notification]) -> None:
        """Post `messages` in one request.

        Raises:
            SinkError: the server did not take them.
        """
        if self._client is None:
            raise SinkError(SinkTrouble.LOST, "not connected")
        sent_utc = time.time()
        batched = self._settings.batch > 1
        body = body_of(messages, self._settings.source, sent_utc, batched=batched)
        secret = None if self._settings.secret is None else self._settings.secret.get_secret_value()
        headers = {
            "content-type": BATCHED if batched else STRUCTURED,
            **signed_headers(request_id(messages), int(sent_utc), body, secret),
        }
        try:
            status, retry_after = await self._posted(self._client, body, headers)
        except TimeoutError as exc:
            raise SinkError(SinkTrouble.TIMEOUT, f"no answer within {self._settings.timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise _trouble_of(exc) from exc
        if not 200 <= status < 300:
            raise refusal(status, retry_after, sent_utc)

    async def _posted(self, client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        """Return the answer's status and what it says of trying again."""
        url = self._settings.url.get_secret_value()
        async with (
            asyncio.timeout(self._settings.timeout_s) as limit,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            limit.reschedule(None)  # it is for the status: a slow body makes no failure of it
            with suppress(httpx.HTTPError, TimeoutError):  # the status was the answer, whatever becomes of the rest
                async with asyncio.timeout(_BODY_S):
                    await _read_some(response)
            return response.status_code, response.headers.get("retry-after")

    async def show(self, state: ShownState) -> None:
        """Do nothing: the server is told what happens, and keeps no state of ours."""

    def check(self) -> None:
        """Do nothing: there is no connection between two requests."""

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def _read_some(response: httpx.Response) -> None:
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _MOST_BODY:
            return


def refusal(status: int, retry_after: str | None, now_utc: float) -> SinkError:
    """Return what an answer means that is no 2xx. Pure."""
    try:
        words = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        words = str(status)
    if status == HTTPStatus.GONE:
        return SinkError(SinkTrouble.GONE, f"the server wants no more messages: {words}")
    if 300 <= status < 400:
        return SinkError(SinkTrouble.REFUSED, f"the server answers {words}: redirects are not followed")
    trouble = SinkTrouble.REFUSED
    if status in _AUTHENTICATION:
        trouble = SinkTrouble.AUTH_FAILED
    elif status in _BUSY:
        trouble = SinkTrouble.BUSY
    return SinkError(trouble, f"the server answers {words}", retry_after_s=_asked_s(retry_after, now_utc))


def _asked_s(retry_after: str | None, now_utc: float) -> float | None:
    """Return how long `Retry-After` asks to wait, in seconds; None: nothing that can be understood."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():  # `isdigit` is true of a superscript too, which is no number
        return float(retry_after.strip()[:9])
    with suppress(ValueError, TypeError, OverflowError):  # the last one of a year that no clock has
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now_utc)
    return None


def _trouble_of(error: httpx.HTTPError | httpx.InvalidURL) -> SinkError:
    """Return what a failed request means, by the exception that began it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLError):
            return SinkError(SinkTrouble.TLS_FAILED, str(found))
        if isinstance(found, socket.gaierror):
            return SinkError(SinkTrouble.NAME_UNKNOWN, str(found))
        found = found.__cause__ or found.__context__
    if isinstance(error, httpx.TimeoutException):
        return SinkError(SinkTrouble.TIMEOUT, "no answer in time")
    if isinstance(error, httpx.ProtocolError) and str(error) != _HUNG_UP:
        return SinkError(SinkTrouble.LOST, "what came is no answer of a web server")
    trouble = SinkTrouble.UNREACHABLE if isinstance(error, httpx.ConnectError) else SinkTrouble.LOST
    return SinkError(trouble, str(error) or type(error).__name__)
