# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for every request before any page sees it: which host was asked, from where, and the answer's headers."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vision_line.config.listen import ListenAddress

#: Clips are played from their own address, live video from memory (`blob:`).
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: What a page may say otherwise: one that holds its own style names it by its hash.
_OWN = frozenset({"Content-Security-Policy"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_ALLOWED = 1008  # what closes a WebSocket that breaks the rules


def allowed_hosts(address: ListenAddress) -> frozenset[str]:
    """Return what a browser of this machine may call the address in `Host`: its numbers, and `localhost`.

    Any other name that leads here was made to: a page from elsewhere could read the desk by it (DNS rebinding).
    """
    names = {str(address), f"localhost:{address.port}"}
    if address.port == 80:
        names |= {name.removesuffix(":80") for name in names}
    return frozenset(names)


class Guard:
    """Refuses other hosts, and changes and WebSockets from other origins; sets the security headers of every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], schemes: Collection[str] = ("http", "https")) -> None:
        self.app = app
        self._schemes = schemes
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal:
                await send({"type": "websocket.close", "code": _NOT_ALLOWED, "reason": refusal})
            else:
                await self.app(scope, receive, send)
            return
        answer = PlainTextResponse(f"{refusal}\n", HTTPStatus.FORBIDDEN) if refusal else self.app
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> str:
        """Return why a request is refused, "" where it is not."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "this address has another name: open the one that vision-line desk printed"
        is_safe = scope["type"] == "http" and scope["method"] in _SAFE
        return "" if is_safe or self._is_of_ours(headers, hosts[0].lower()) else "the request comes from another page"

    def _is_of_ours(self, headers: Headers, host: str) -> bool:
        """Whether a page of this very host asks.

        With `Referrer-Policy: no-referrer` browsers send `Origin: null` with a form; then they say in another header,
        which no script can set, where it comes from.
        """
        origins = headers.getlist("origin")
        if origins == ["null"]:
            return headers.getlist("sec-fetch-site") == ["same-origin"]
        return origins in [[f"{scheme}://{host}"] for scheme in self._schemes]


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                if name not in _OWN or name not in headers:
                    headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
