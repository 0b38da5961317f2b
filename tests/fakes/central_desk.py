# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk of all boxes, asked within the test's own process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient
from tests.fakes.desk import ADDRESS, HERE

from vision_line.central.database_url import parsed
from vision_line.desk.application import make_central_application
from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.central.central_source import CentralSource
from vision_line.desk.central.fetched_files import FetchedFiles
from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Sessions
from vision_line.desk.users.sign_in_check import SignInCheck


@contextmanager
def central_desk(
    url: str, directory: Path, boxes: Mapping[str, BoxAddress] | None = None, token: str = ""
) -> Iterator[TestClient]:
    """Yield a client of the desk over a database, which is signed in."""
    sessions, addresses = Sessions(), boxes or {}
    application = make_central_application(
        CentralSource(parsed(url), directory, 40.0),
        FetchedFiles(directory, addresses, token),
        addresses,
        HERE,
        lambda _: None,
        sessions,
        SignInCheck(Accounts(directory)),
    )
    with TestClient(application, f"http://{ADDRESS}", raise_server_exceptions=False) as client:
        client.get("/enter", params={"token": sessions.new_link()})
        yield client
