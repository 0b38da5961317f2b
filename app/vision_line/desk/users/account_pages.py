# SPDX-License-Identifier: AGPL-3.0-or-later
"""One's own account, with another password."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import Fields, SentFields
from vision_line.desk.services import DeskServices, NotAllowedError, Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.desk.users.sign_in import begun
from vision_line.desk.users.sign_in_check import WaitError, WrongPasswordError
from vision_line.errors import ConfigError
from vision_line.reviews.passwords import SHORTEST

router = APIRouter(include_in_schema=False)

Reader = Annotated[DeskSession, Depends(require(Role.READER))]


@router.get("/account")
def account(services: Services, session: Reader) -> HTMLResponse:
    """Show who is signed in, and ask for another password."""
    return _account_page(services, session)


@router.post("/account")
def change_password(request: Request, services: Services, session: Reader, fields: SentFields) -> Response:
    """Change one's own password: all sessions of the user end, and a new one begins here."""
    if not has_password(services, session):
        raise NotAllowedError("there is no password of yours here to change")
    accounts = services.sign_in.accounts
    try:
        confirm(request, services, session, fields)
        accounts.set_password(session.user, typed_twice(fields), by=session.user)
    except (WrongPasswordError, WaitError) as exc:
        return _account_page(services, session, f"the old password was not accepted: {exc}", HTTPStatus.FORBIDDEN)
    except ConfigError as exc:
        return _account_page(services, session, str(exc), HTTPStatus.BAD_REQUEST)
    changed = accounts.find(session.user)
    if changed is None:
        raise NotAllowedError("this user was removed")
    return begun(services, changed, "/account")


def confirm(request: Request, services: DeskServices, session: DeskSession, fields: Fields) -> None:
    """Check that who asks knows their own password, which is in the field `password`: a browser may be left open.

    Raises:
        WaitError: they, or this address, have tried too often.
        WrongPasswordError: it is another one.
    """
    address = request.client.host if request.client else ""
    services.sign_in.account(session.user, fields.get("password", ""), address)


def typed_twice(fields: Fields) -> str:
    """Return a new password, which is in two fields.

    Raises:
        ConfigError: they differ.
    """
    new = fields.get("new", "")
    if new != fields.get("again", ""):
        raise ConfigError("the new password was typed in two ways")
    return new


def has_password(services: DeskServices, session: DeskSession) -> bool:
    """Whether who asks has a password at this desk: not who came by a link, nor through a proxy."""
    found = services.sign_in.accounts.find(session.user) if session.credential is not None else None
    return found is not None and found.password is not None and services.access.proxy is None


def _account_page(
    services: Services, session: DeskSession, said: str = "", status: int = HTTPStatus.OK
) -> HTMLResponse:
    return page(
        "account.html",
        status,
        session=session,
        has_password=has_password(services, session),
        shortest=SHORTEST,
        said=said,
        sees_accounts=session.role.includes(Role.QUALITY),
    )
