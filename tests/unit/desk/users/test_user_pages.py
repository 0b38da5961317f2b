# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users changed in the browser: by whom, after which password, and what cannot be done there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.desk import ADDRESS, ORIGIN, DeskUnderTest, desk_over

from vision_line.desk.access import SECRET_HEADER, USER_HEADER, Access, TrustedProxy
from vision_line.desk.users.sessions import Role

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
OTHER = "another long password"


@pytest.fixture
def desk(records: Path) -> Iterator[DeskUnderTest]:
    """Yield a desk with a user of two roles; anna, of quality, is signed in."""
    with desk_over(records) as found:
        found.accounts.add("anna", Role.QUALITY, PASSWORD, by="test")
        found.accounts.add("vera", Role.READER, PASSWORD, by="test")
        found.sign_in_as("anna", PASSWORD)
        yield found


def change(desk: DeskUnderTest, do: str, name: str, password: str = PASSWORD, **more: str) -> Any:
    """Send what a form of the page sends."""
    fields = {"do": do, "name": name, "password": password, **more}
    return desk.client.post("/accounts", data=fields, headers=ORIGIN, follow_redirects=False)


def roles(desk: DeskUnderTest) -> dict[str, str]:
    return {account.name: account.role.value for account in desk.accounts.page().accounts}


def test_users_are_added_changed_and_removed(desk: DeskUnderTest) -> None:
    """Each change is an entry as one of the command is, with who made it."""
    assert change(desk, "add", "Rita", role="viewer", new=OTHER, again=OTHER).headers["location"] == "/accounts"
    assert change(desk, "role", "rita", role="reviewer").status_code == 303
    assert roles(desk) == {"anna": "quality", "rita": "reviewer", "vera": "viewer"}
    assert change(desk, "password", "vera", new=OTHER, again=OTHER).status_code == 303
    assert change(desk, "remove", "rita").status_code == 303
    entries = desk.accounts.page().entries[:4]
    assert [(entry.kind, entry.key, entry.body["by"]) for entry in reversed(entries)] == [
        ("added", "rita", "anna"),
        ("role", "rita", "anna"),
        ("password", "vera", "anna"),
        ("removed", "rita", "anna"),
    ]
    assert desk.accounts.page().problem == ""
    desk.client.cookies.clear()
    assert [desk.sign_in_as("vera", password).status_code for password in (PASSWORD, OTHER)] == [401, 303]


@pytest.mark.parametrize("do", ["add", "role", "password", "remove"])
def test_every_change_asks_for_ones_own_password(desk: DeskUnderTest, do: str) -> None:
    """Not for the other user's, and guessing waits as it does at the door."""
    before = desk.accounts.page().entries
    for _ in range(5):
        refused = change(desk, do, "vera", "wrong horse battery", role="quality", new=OTHER, again=OTHER)
        assert refused.status_code == 403
    assert "your own password was not accepted" in refused.text
    waits = change(desk, do, "vera", role="quality", new=OTHER, again=OTHER)
    assert waits.status_code == 403
    assert "wait" in waits.text
    assert [entry.kind for entry in desk.accounts.page().entries if entry not in before] == ["failures"]
    assert roles(desk) == {"anna": "quality", "vera": "viewer"}


@pytest.mark.parametrize(("do", "more"), [("remove", {}), ("role", {"role": "reviewer"})])
def test_the_last_of_quality_stays(desk: DeskUnderTest, do: str, more: dict[str, str]) -> None:
    """The page says why; one who comes through a proxy alone, and so has no password to change users, is no other."""
    desk.accounts.add("petra", Role.QUALITY, None, by="test")
    refused = change(desk, do, "anna", **more)
    assert refused.status_code == 400
    assert "anna is the last user with the role quality: nobody could change users at the desk" in refused.text
    assert roles(desk)["anna"] == "quality"
    assert change(desk, "role", "anna", role="quality").status_code == 303  # as it was
    assert change(desk, "role", "petra", role="viewer").status_code == 303  # somebody else
    desk.accounts.add("rosa", Role.QUALITY, PASSWORD, by="test")
    assert change(desk, do, "anna", **more).status_code == 303


def test_who_removes_themselves_is_signed_out(desk: DeskUnderTest) -> None:
    desk.accounts.add("rosa", Role.QUALITY, PASSWORD, by="test")
    assert change(desk, "remove", "anna").headers["location"] == "/enter"
    assert desk.client.get("/account").status_code == 401


def test_who_gives_up_the_role_lands_at_their_account(desk: DeskUnderTest) -> None:
    desk.accounts.add("rosa", Role.QUALITY, PASSWORD, by="test")
    assert change(desk, "role", "anna", role="viewer").headers["location"] == "/account"
    assert desk.client.get("/accounts").status_code == 403


def test_ones_own_password_goes_on_under_a_new_session(desk: DeskUnderTest) -> None:
    before = desk.client.cookies["vision_line_desk_8080"]
    assert change(desk, "password", "anna", new=OTHER, again=OTHER).status_code == 303
    assert desk.client.get("/accounts").status_code == 200
    assert desk.client.cookies["vision_line_desk_8080"] != before
    desk.client.cookies.clear()
    desk.client.cookies.set("vision_line_desk_8080", before)
    assert desk.client.get("/accounts").status_code == 401


@pytest.mark.parametrize(
    ("do", "name", "more", "says"),
    [
        ("add", "vera", {"role": "viewer", "new": OTHER, "again": OTHER}, "there is a user vera already"),
        ("add", "../x", {"role": "viewer", "new": OTHER, "again": OTHER}, "a user&#39;s name"),
        ("add", "rita", {"role": "viewer", "new": OTHER, "again": "x"}, "typed in two ways"),
        ("add", "rita", {"role": "viewer", "new": "short", "again": "short"}, "12 to 256 characters"),
        ("add", "rita", {"role": "viewer", "new": "", "again": ""}, "12 to 256 characters"),
        ("add", "rita", {"role": "owner", "new": OTHER, "again": OTHER}, "one of the roles viewer, reviewer, quality"),
        ("role", "nobody", {"role": "viewer"}, "there is no user nobody"),
        ("password", "vera", {"new": OTHER, "again": "x"}, "typed in two ways"),
        ("remove", "nobody", {}, "there is no user nobody"),
        ("explode", "vera", {}, "expected a user to be added"),
    ],
)
def test_what_cannot_be_leaves_no_entry(
    desk: DeskUnderTest, do: str, name: str, more: dict[str, str], says: str
) -> None:
    answer = change(desk, do, name, **more)
    assert answer.status_code == 400
    assert says in answer.text
    assert len(desk.accounts.page().entries) == 2
    assert OTHER not in answer.text


def test_others_change_nobody(desk: DeskUnderTest) -> None:
    """Not a viewer, not another page, not by a link."""
    fields = {"do": "remove", "name": "vera", "password": PASSWORD}
    evil = desk.client.post("/accounts", data=fields, headers={"Origin": "http://evil.example"})
    assert evil.status_code == 403
    desk.client.cookies.clear()
    desk.sign_in_as("vera", PASSWORD)
    assert change(desk, "remove", "anna").status_code == 403
    assert roles(desk) == {"anna": "quality", "vera": "viewer"}


def test_who_came_by_a_link_adds_nobody_here(records: Path) -> None:
    """There is no password to ask for: the terminal is where the link came from."""
    with desk_over(records) as desk:
        desk.sign_in()
        assert "vision-line desk user" in desk.client.get("/accounts").text
        refused = change(desk, "add", "rita", role="quality", new=OTHER, again=OTHER)
        assert refused.status_code == 403
        assert "vision-line desk user" in refused.text
        assert not desk.accounts.exist()


def test_behind_a_proxy_passwords_mean_nothing(records: Path) -> None:
    """Also that of a user who had one before."""
    secret = "0" * 32
    proxy = TrustedProxy((ip_network("192.0.2.0/24"),), secret.encode())
    with desk_over(records, access=Access(ADDRESS, proxy=proxy)) as desk:
        desk.accounts.add("anna", Role.QUALITY, PASSWORD, by="test")
        desk.client.headers.update({USER_HEADER: "anna", SECRET_HEADER: secret})
        assert desk.client.get("/accounts").status_code == 200
        assert change(desk, "remove", "anna").status_code == 403
