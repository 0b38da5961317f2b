# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signing in and out: with name and password, or, until there are users, by a link that the terminal shows."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import DeskServices, Services
from vision_line.desk.users.accounts import Account
from vision_line.desk.users.sessions import LIFETIME_S, Role
from vision_line.desk.users.sign_in_check import WaitError, WrongPasswordError

router = APIRouter(include_in_schema=False)

#: Who sits at the machine that holds the records may see and do everything until there are users.
_OWNER = "owner"


def way_in(services: DeskServices, status: int, back: str = "/", said: str = "", *, used: bool = False) -> Response:
    """Return the page that says how to sign in, or asks for name and password; `back` is where it goes on then."""
    way = "proxy" if services.access.proxy else "link" if services.by_link() else "password"
    return page("sign_in.html", status, way=way, back=own_path(back), said=said, used=used)


@router.get("/enter")
def enter(services: Services, token: str = "") -> Response:
    """Open a session for a link that nobody used, or ask for name and password."""
    if not services.by_link():
        return way_in(services, HTTPStatus.UNAUTHORIZED)
    secret = services.sessions.redeem(token, _OWNER, Role.QUALITY)
    if secret is None:
        return way_in(services, HTTPStatus.UNAUTHORIZED, used=bool(token))
    services.say_link(services.sessions.new_link())
    return _signed_in(services, secret, "/")


@router.post("/enter")
def sign_in(request: Request, services: Services, fields: SentFields) -> Response:
    """Begin a session for name and password; the one before it ends, so that nobody can have planted it."""
    back = own_path(fields.get("back", ""))
    if services.access.proxy or services.by_link():
        return way_in(services, HTTPStatus.UNAUTHORIZED, back)
    address = request.client.host if request.client else ""
    try:
        account = services.sign_in.account(fields.get("name", ""), fields.get("password", ""), address)
    except WrongPasswordError as exc:
        return way_in(services, HTTPStatus.UNAUTHORIZED, back, str(exc))
    except WaitError as exc:
        answer = way_in(services, HTTPStatus.TOO_MANY_REQUESTS, back, str(exc))
        answer.headers["Retry-After"] = str(exc.wait_s)
        return answer
    services.sessions.end(request.cookies.get(services.access.cookie, ""))
    return begun(services, account, back)


@router.post("/leave")
def leave(request: Request, services: Services) -> Response:
    """End the session."""
    services.sessions.end(request.cookies.get(services.access.cookie, ""))
    answer = RedirectResponse("/enter", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(services.access.cookie, secure=services.access.is_tls, httponly=True, samesite="strict")
    return answer


def begun(services: DeskServices, account: Account, back: str) -> Response:
    """Begin a session of the user, and go on to a path of ours."""
    return _signed_in(services, services.sessions.begin(account.name, account.role, account.credential), back)


def _signed_in(services: DeskServices, secret: str, back: str) -> Response:
    answer = RedirectResponse(back, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        services.access.cookie,
        secret,
        max_age=int(LIFETIME_S),
        secure=services.access.is_tls,
        httponly=True,
        samesite="strict",
    )
    return answer


def own_path(text: str) -> str:
    """Return a path of the desk itself, `/` where `text` leads elsewhere: browsers take `//x` for a host."""
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    if not (is_plain and text.startswith("/") and not text.startswith("//")):
        return "/"
    return "/" if urlsplit(text).path in {"/enter", "/leave"} else text
