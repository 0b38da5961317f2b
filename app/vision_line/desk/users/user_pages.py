# SPDX-License-Identifier: AGPL-3.0-or-later
"""All users of the desk and what was changed about them; who has the role quality adds, changes and removes them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import Fields, SentFields
from vision_line.desk.services import DeskServices, NotAllowedError, Services, require
from vision_line.desk.users.account_pages import confirm, has_password, typed_twice
from vision_line.desk.users.accounts import Account, Accounts
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.desk.users.sign_in import begun
from vision_line.desk.users.sign_in_check import WaitError, WrongPasswordError
from vision_line.errors import ConfigError
from vision_line.reviews.passwords import SHORTEST

router = APIRouter(include_in_schema=False)

Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]


@router.get("/accounts")
def users(services: Services, session: Quality) -> HTMLResponse:
    """Show all users, and every change."""
    return _users_page(services, session)


@router.post("/accounts")
def change(request: Request, services: Services, session: Quality, fields: SentFields) -> Response:
    """Do what a form asks for, after one's own password."""
    if not has_password(services, session):
        raise NotAllowedError("changes need your own password, and you have none here: use vision-line desk user")
    try:
        confirm(request, services, session, fields)
        _change(services.sign_in.accounts, fields, by=session.user)
    except (WrongPasswordError, WaitError) as exc:
        said = f"your own password was not accepted, and nothing was changed: {exc}"
        return _users_page(services, session, said, HTTPStatus.FORBIDDEN)
    except ConfigError as exc:
        return _users_page(services, session, f"nothing was changed: {exc}", HTTPStatus.BAD_REQUEST)
    return _after_change(services, session, services.sign_in.accounts.find(session.user))


def _change(accounts: Accounts, fields: Fields, by: str) -> None:
    """Change one user.

    Raises:
        ConfigError: it cannot be done.
    """
    name = fields.get("name", "")
    match fields.get("do"):
        case "add":
            accounts.add(name, _role(fields), typed_twice(fields), by=by)
        case "role":
            accounts.set_role(name, _role(fields), by=by, keeps_quality=True)
        case "password":
            accounts.set_password(name, typed_twice(fields), by=by)
        case "remove":
            accounts.remove(name, by=by, keeps_quality=True)
        case _:
            raise ConfigError("expected a user to be added, changed or removed")


def _role(fields: Fields) -> Role:
    try:
        return Role(fields.get("role", ""))
    except ValueError as exc:
        raise ConfigError(f"expected one of the roles {', '.join(Role)}") from exc


def _after_change(services: DeskServices, session: DeskSession, own: Account | None) -> Response:
    """Go on: who removed themselves signs in as somebody else, and an own new password goes on under a new session."""
    if own is None:
        return RedirectResponse("/enter", HTTPStatus.SEE_OTHER)
    back = "/accounts" if own.role.includes(Role.QUALITY) else "/account"
    if own.credential != session.credential:
        return begun(services, own, back)
    return RedirectResponse(back, HTTPStatus.SEE_OTHER)


def _users_page(
    services: DeskServices, session: DeskSession, said: str = "", status: int = HTTPStatus.OK
) -> HTMLResponse:
    return page(
        "accounts.html",
        status,
        shown=services.sign_in.accounts.page(),
        may_change=has_password(services, session),
        roles=list(Role),
        shortest=SHORTEST,
        own=session.user,
        said=said,
    )
