# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every page works with, and who may see it: dependencies that the routes name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from vision_line.desk.access import Access
from vision_line.desk.cases.record_check import RecordCheck
from vision_line.desk.fleet_door import FleetDoor
from vision_line.desk.found.file_source import FileSource
from vision_line.desk.live.live_hub import LiveHub
from vision_line.desk.record_reader import DeskSource
from vision_line.desk.reviewing.leases import ReviewLeases
from vision_line.desk.reviewing.queue_cache import QueueCache
from vision_line.desk.users.accounts import Account
from vision_line.desk.users.sessions import DeskSession, Role, Sessions
from vision_line.desk.users.sign_in_check import SignInCheck
from vision_line.parts.line_commands import LineCommands

#: What a page sends that asks for itself again, without anybody having touched it since.
RENEWAL = "X-Desk-Renewal"


@dataclass(frozen=True, slots=True)
class DeskServices:
    """The parts of one desk. `say_link` shows a link's secret to who started it."""

    reader: DeskSource
    sessions: Sessions
    sign_in: SignInCheck
    access: Access
    say_link: Callable[[str], None]
    files: FileSource
    record_check: RecordCheck
    live: LiveHub
    commands: LineCommands
    leases: ReviewLeases = field(default_factory=ReviewLeases)
    queues: QueueCache = field(default_factory=QueueCache)
    fleet_door: FleetDoor | None = None

    def by_link(self) -> bool:
        """Whether a link from the terminal opens the desk: on this machine alone, and until there are users."""
        return self.access.allows_links and not self.sign_in.accounts.exist()


class NotSignedInError(Exception):
    """No session goes with the request."""

    def __str__(self) -> str:
        return "not signed in"


class NotAllowedError(Exception):
    """The session's role may not do this; the message says which may."""


def services_of(connection: HTTPConnection) -> DeskServices:
    """Return the parts of the desk that answers."""
    return cast("DeskServices", connection.app.state.services)


def session_of(connection: HTTPConnection, *, is_used: bool = True) -> DeskSession:
    """Return who asks, with the role that they have now, also for a WebSocket. Not `is_used`: it may go idle meanwhile.

    Raises:
        NotSignedInError: nobody known, or no longer a user.
        NotAllowedError: the proxy says somebody who is no user.
    """
    services = services_of(connection)
    if services.access.proxy is not None:
        return _session_by_proxy(services, services.access.proxy.user(connection))
    session = services.sessions.find(connection.cookies.get(services.access.cookie, ""), is_used=is_used)
    if session is None:
        raise NotSignedInError
    if session.credential is None and services.by_link():
        return session
    account = services.sign_in.accounts.find(session.user)
    if account is None or account.credential != session.credential:
        raise NotSignedInError
    return replace(session, role=account.role)


def _session_by_proxy(services: DeskServices, user: str | None) -> DeskSession:
    if not user:
        raise NotSignedInError
    account: Account | None = services.sign_in.accounts.find(user)
    if account is None:
        raise NotAllowedError("you are not yet a user of this desk: who runs it can add you")
    return DeskSession(account.name, account.role, 0.0, 0.0, account.credential)


@dataclass(frozen=True)
class Requirement:
    """A dependency that lets only sessions of this role in, and hands the session to the route."""

    role: Role

    def __call__(self, connection: HTTPConnection) -> DeskSession:
        """Return who asks. A page that renews itself does not count as use: else it would never be signed out.

        Raises:
            NotSignedInError: answered with 401.
            NotAllowedError: answered with 403.
        """
        return self._allowed(session_of(connection, is_used=RENEWAL not in connection.headers))

    def still_met(self, connection: HTTPConnection) -> DeskSession:
        """Return who listens at a WebSocket, asked again and again: a role may be taken while it is open.

        It does not count as use: what nobody touches for the idle time ends. Raises as a call does.
        """
        return self._allowed(session_of(connection, is_used=False))

    def _allowed(self, session: DeskSession) -> DeskSession:
        if not session.role.includes(self.role):
            raise NotAllowedError(f"this needs the role {self.role}")
        return session


def require(role: Role) -> Requirement:
    """Return what a route depends on to be for sessions of this role, and of those that include it."""
    return Requirement(role)


Services = Annotated[DeskServices, Depends(services_of)]
