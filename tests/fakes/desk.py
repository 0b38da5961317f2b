# SPDX-License-Identifier: AGPL-3.0-or-later
"""A desk that is asked within the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from vision_line.cli.part_sender import part_sender
from vision_line.config.listen import ListenAddress
from vision_line.desk.access import Access
from vision_line.desk.application import make_application
from vision_line.desk.guard import Guard
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Sessions
from vision_line.desk.users.sign_in_check import SignInCheck
from vision_line.reviews.passwords import Cost, PasswordHasher
from vision_line.reviews.sign_in_delays import SignInDelays

ADDRESS = ListenAddress("127.0.0.1", 8080)
#: Of a password's hash: a millisecond instead of a third of a second.
CHEAP = Cost(n=2**8)
HERE = Access(ADDRESS)
ORIGIN = {"Origin": f"http://{ADDRESS}"}


@dataclass
class DeskUnderTest:
    """The application, its sessions with a clock that stands still, and a client."""

    application: Guard
    sessions: Sessions
    client: TestClient
    clock: list[float]
    accounts: Accounts
    links: list[str] = field(default_factory=list)  # as they would be printed

    def sign_in(self) -> None:
        """Open a new link with the client."""
        answer = self.client.get("/enter", params={"token": self.sessions.new_link()}, follow_redirects=False)
        assert answer.status_code == 303

    def sign_in_as(self, name: str, password: str, **more: str) -> Any:
        """Send name and password as the page does."""
        fields = {"name": name, "password": password, **more}
        headers = {"Origin": str(self.client.base_url)}
        return self.client.post("/enter", data=fields, headers=headers, follow_redirects=False)


@contextmanager
def desk_over(records: Path, limit_s: float = 5.0, access: Access = HERE) -> Iterator[DeskUnderTest]:
    """Yield a desk over `records`; nobody is signed in."""
    clock = [0.0]
    sessions = Sessions(lambda: clock[0])
    links: list[str] = []
    accounts = Accounts(records, PasswordHasher(CHEAP))
    check = SignInCheck(accounts, SignInDelays(lambda: clock[0]))
    application = make_application(
        RecordReader(records, limit_s), access, links.append, sessions, check, part_sender(records)
    )
    at = f"{access.scheme}://{ADDRESS}"
    with TestClient(application, at, raise_server_exceptions=False, client=("192.0.2.7", 50_000)) as client:
        yield DeskUnderTest(application, sessions, client, clock, accounts, links)
