# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signing in against somebody who tries: guesses, planted sessions, other pages, and what answers give away."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.desk import CHEAP, ORIGIN, DeskUnderTest, desk_over

from vision_line.desk.body_limit import LARGEST_BODY
from vision_line.desk.services import RENEWAL
from vision_line.desk.users.sessions import IDLE_S, LIFETIME_S, Role
from vision_line.desk.users.sign_in import own_path
from vision_line.reviews.passwords import PasswordHasher
from vision_line.reviews.sign_in_delays import FORGIVEN_AFTER_S, MOST_KNOWN, SignInDelays

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
WRONG = "wrong horse battery"


@pytest.fixture
def desk(records: Path) -> Iterator[DeskUnderTest]:
    """Yield a desk with a user of each role; nobody is signed in."""
    with desk_over(records) as found:
        for name, role in (("vera", Role.READER), ("rita", Role.REVIEWER), ("anna", Role.QUALITY)):
            found.accounts.add(name, role, PASSWORD, by="test")
        yield found


def test_name_and_password_open_the_page_that_was_asked_for(desk: DeskUnderTest) -> None:
    asked = desk.client.get("/events", params={"camera": "a&b"})
    assert asked.status_code == 401
    assert 'name="back" value="/events?camera=a%26b"' in asked.text
    answer = desk.sign_in_as("Vera ", PASSWORD, back="/events?camera=a%26b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/events?camera=a%26b")
    assert desk.client.get("/").status_code == 200
    assert "viewer" in desk.client.get("/account").text


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example/"),
        *("javascript:alert(1)", "evil.example", "/\t/evil.example", "/\n/evil.example", "", "/leave", "/enter?x=1"),
    ],
)
def test_signing_in_leads_nowhere_else(desk: DeskUnderTest, elsewhere: str) -> None:
    """No open redirect."""
    assert own_path(elsewhere) == "/"
    assert desk.sign_in_as("vera", PASSWORD, back=elsewhere).headers["location"] == "/"


def test_a_page_that_renews_itself_is_signed_out_as_others(desk: DeskUnderTest) -> None:
    """It asks again each minute on a screen that nobody sits at; whoever touches it uses it."""
    desk.sign_in_as("vera", PASSWORD)
    for headers, status in (({}, 200), ({RENEWAL: "1"}, 200), ({RENEWAL: "1"}, 401)):
        desk.clock[0] += IDLE_S * 0.6
        assert desk.client.get("/account", headers=headers).status_code == status


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(desk: DeskUnderTest) -> None:
    """Who guesses does not learn who has an account."""
    known, unknown = desk.sign_in_as("vera", WRONG), desk.sign_in_as("nobody", WRONG)
    assert known.status_code == unknown.status_code == 401
    assert known.text == unknown.text
    assert "name or password is wrong" in known.text
    assert "set-cookie" not in known.headers


def test_an_unknown_user_costs_the_same_work(desk: DeskUnderTest) -> None:
    """Also one who comes through a proxy only: one hash each, of the same cost."""
    costs: list[dict[str, Any]] = []

    def counted(secret: bytes, *, salt: bytes, **cost: Any) -> bytes:
        costs.append(cost)
        return hashlib.scrypt(secret, salt=salt, **cost)

    desk.accounts.add("petra", Role.READER, None, by="test")
    desk.accounts.hasher = PasswordHasher(CHEAP, counted)
    for name in ("vera", "nobody", "petra", ""):
        assert desk.sign_in_as(name, WRONG).status_code == 401
    assert len(costs) == 4
    assert all(cost == costs[0] for cost in costs)


def test_no_password_lets_in_who_has_none(desk: DeskUnderTest) -> None:
    desk.accounts.add("petra", Role.QUALITY, None, by="test")
    assert [desk.sign_in_as("petra", password).status_code for password in ("", "None", PASSWORD)] == [401] * 3


def test_guessing_takes_longer_each_time(desk: DeskUnderTest) -> None:
    """After five tries 1 s, then 2 s, 4 s: the right password has to wait as well."""
    for _ in range(5):
        assert desk.sign_in_as("vera", WRONG).status_code == 401
    waits = []
    for _ in range(8):
        refused = desk.sign_in_as("vera", PASSWORD)
        assert refused.status_code == 429
        waits.append(int(refused.headers["retry-after"]))
        desk.clock[0] += waits[-1]
        assert desk.sign_in_as("vera", WRONG).status_code == 401
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    desk.clock[0] += 60
    assert desk.sign_in_as("vera", PASSWORD).status_code == 303
    assert desk.sign_in_as("vera", WRONG).status_code == 401  # and not 429: all is as at first


def test_unknown_users_wait_as_known_ones_do(desk: DeskUnderTest) -> None:
    assert [desk.sign_in_as("nobody", WRONG).status_code for _ in range(6)] == [401] * 5 + [429]


def test_one_address_cannot_try_many_names(desk: DeskUnderTest) -> None:
    answers = [desk.sign_in_as(f"user{number}", WRONG).status_code for number in range(21)]
    assert answers == [401] * 20 + [429]
    assert desk.sign_in_as("vera", PASSWORD).status_code == 429


def test_ones_own_account_does_not_help_to_guess_others(desk: DeskUnderTest) -> None:
    """Signing in with it does not begin the address anew."""
    answers = []
    for number in range(30):
        answers.append(desk.sign_in_as(f"user{number}", WRONG).status_code)
        desk.sign_in_as("vera", PASSWORD)
    assert answers.count(401) == 20


@pytest.mark.parametrize(
    ("address", "same"), [("2001:db8::1", "2001:db8::ffff:1"), ("192.0.2.1", "::ffff:192.0.2.1"), ("", "nonsense")]
)
def test_ways_to_write_an_address_are_one(address: str, same: str) -> None:
    """A machine has a whole /64 of IPv6."""
    delays = SignInDelays(lambda: 0.0)
    for number in range(10):
        for one in (address, same):
            assert delays.begin(f"{number} {one}", one).wait_s == 0
    assert delays.begin("another", address).wait_s > 0
    assert delays.begin("another", "198.51.100.1").wait_s == 0


def test_delays_are_bounded_in_memory() -> None:
    """Whatever is typed; who has to wait is not driven out by names that do not."""
    clock = [0.0]
    delays = SignInDelays(lambda: clock[0])
    for _ in range(6):
        delays.begin("vera", "192.0.2.1")
    clock[0] += 0.5
    assert delays.begin("vera", "192.0.2.1").wait_s > 0
    for number in range(MOST_KNOWN):
        delays.begin("x" * number, f"2001:db8:{number:x}::1")
    assert len(delays) == MOST_KNOWN
    assert delays.begin("vera", "192.0.2.1").wait_s > 0


def test_an_hour_without_a_try_forgives() -> None:
    clock = [0.0]
    delays = SignInDelays(lambda: clock[0])
    while delays.begin("vera", "192.0.2.1").wait_s == 0:
        pass
    clock[0] += FORGIVEN_AFTER_S + 61
    assert [delays.begin("vera", "192.0.2.1").wait_s > 0 for _ in range(6)] == [False] * 5 + [True]


def test_too_many_failures_are_entered_without_what_was_typed(
    desk: DeskUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody types the password into the field of the name."""
    with caplog.at_level(logging.DEBUG):
        for name in ("vera", PASSWORD):
            for _ in range(6):
                desk.sign_in_as(name, WRONG)
            desk.clock[0] += 60
    entries = [entry for entry in desk.accounts.page().entries if entry.kind == "failures"]
    assert [(entry.key, entry.body["by"], entry.body["failures"]) for entry in reversed(entries)] == [
        ("vera", "192.0.2.7", 5),
        ("", "192.0.2.7", 10),
    ]
    assert PASSWORD not in caplog.text + str(entries)
    assert WRONG not in caplog.text + str(entries)
    assert "signing in failed 5 times; the last time from 192.0.2.7" in caplog.text


def test_a_session_that_somebody_planted_is_not_taken(desk: DeskUnderTest) -> None:
    """Session fixation: the secret is another one after signing in, and the one before it ends."""
    name = "vision_line_desk_8080"
    secrets = [desk.sessions.begin("somebody", Role.READER)]
    for user in ("vera", "anna"):
        desk.client.cookies.clear()
        desk.client.cookies.set(name, secrets[-1])
        secrets.append(desk.sign_in_as(user, PASSWORD).cookies[name])
    assert len(set(secrets)) == 3
    assert [desk.sessions.find(secret) is not None for secret in secrets] == [False, False, True]


@pytest.mark.parametrize("path", ["/enter", "/leave", "/account"])
def test_other_pages_cannot_send_ours(desk: DeskUnderTest, path: str) -> None:
    """CSRF, also for signing in."""
    desk.sign_in_as("vera", PASSWORD)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        sent = desk.client.post(path, data={"name": "anna", "password": PASSWORD}, headers={"Origin": origin})
        assert sent.status_code == 403
    assert "vera" in desk.client.get("/account").text


def test_answers_are_in_no_cache_and_in_no_frame(desk: DeskUnderTest) -> None:
    for answer in (desk.client.get("/enter"), desk.sign_in_as("vera", WRONG), desk.sign_in_as("vera", PASSWORD)):
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_another_host_gets_no_sign_in(desk: DeskUnderTest) -> None:
    answer = desk.client.post("/enter", headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert answer.status_code == 403


def test_a_session_ends(desk: DeskUnderTest) -> None:
    """By not being used, by age, by signing out."""
    desk.sign_in_as("vera", PASSWORD)
    desk.clock[0] += IDLE_S
    assert desk.client.get("/account").status_code == 401
    desk.sign_in_as("vera", PASSWORD)
    for _ in range(int(LIFETIME_S / (IDLE_S - 1)) + 1):
        desk.clock[0] += IDLE_S - 1
        answer = desk.client.get("/account")
    assert answer.status_code == 401
    desk.sign_in_as("vera", PASSWORD)
    assert desk.client.post("/leave", headers=ORIGIN, follow_redirects=False).status_code == 303
    assert desk.client.get("/account").status_code == 401


def test_roles_count_at_once(desk: DeskUnderTest) -> None:
    """Also those of people who are signed in."""
    desk.sign_in_as("anna", PASSWORD)
    assert desk.client.get("/accounts").status_code == 200
    desk.accounts.set_role("anna", Role.REVIEWER, by="test")
    refused = desk.client.get("/accounts")
    assert refused.status_code == 403
    assert "this needs the role quality" in refused.text
    desk.accounts.remove("anna", by="test")
    assert desk.client.get("/account").status_code == 401
    desk.accounts.add("anna", Role.QUALITY, PASSWORD, by="test")
    assert desk.client.get("/account").status_code == 401  # it is another anna


def test_ones_own_password(desk: DeskUnderTest) -> None:
    """A new one ends the other sessions; the one that changed it goes on under another secret."""
    elsewhere = desk.sign_in_as("vera", PASSWORD).cookies["vision_line_desk_8080"]
    desk.client.cookies.clear()
    desk.sign_in_as("vera", PASSWORD)
    fields = {"password": PASSWORD, "new": "another long password", "again": "another long password"}
    assert desk.client.post("/account", data={**fields, "password": WRONG}, headers=ORIGIN).status_code == 403
    assert desk.client.post("/account", data={**fields, "again": "x"}, headers=ORIGIN).status_code == 400
    short = desk.client.post("/account", data={**fields, "new": "short", "again": "short"}, headers=ORIGIN)
    assert short.status_code == 400
    assert "12 to 256" in short.text
    assert desk.client.post("/account", data=fields, headers=ORIGIN).status_code == 200
    desk.client.cookies.clear()
    desk.client.cookies.set("vision_line_desk_8080", elsewhere)
    assert desk.client.get("/account").status_code == 401
    desk.client.cookies.clear()
    assert desk.sign_in_as("vera", PASSWORD).status_code == 401
    assert desk.sign_in_as("vera", "another long password").status_code == 303


def test_guessing_at_the_page_of_the_own_password_waits_too(desk: DeskUnderTest) -> None:
    """A browser that was left open gives nobody the password."""
    desk.sign_in_as("vera", PASSWORD)
    fields = {"password": WRONG, "new": "another long password", "again": "another long password"}
    for _ in range(6):
        answer = desk.client.post("/account", data=fields, headers=ORIGIN)
    assert "wait 1 s" in answer.text


def test_the_first_user_ends_links(records: Path) -> None:
    """Links, and the sessions that they opened."""
    with desk_over(records) as desk:
        desk.sign_in()
        assert "owner" in desk.client.get("/account").text
        assert desk.client.post("/account", data={"password": ""}, headers=ORIGIN).status_code == 403
        desk.accounts.add("vera", Role.READER, PASSWORD, by="test")
        assert desk.client.get("/account").status_code == 401
        link = desk.sessions.new_link()
        assert desk.client.get("/enter", params={"token": link}).status_code == 401


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"name=vera&password=x", "text/plain", 415),
        (b"{}", "application/json", 415),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=b"] * 999), "application/x-www-form-urlencoded", 400),
        (b"name=" + b"x" * LARGEST_BODY, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_no_page_of_ours_sends(desk: DeskUnderTest, content: bytes, kind: str, status: int) -> None:
    answer = desk.client.post("/enter", content=content, headers={**ORIGIN, "Content-Type": kind})
    assert answer.status_code == status


def test_a_body_without_a_length_is_not_read(desk: DeskUnderTest) -> None:
    """It could go on for ever."""
    answer = desk.client.post("/enter", content=iter([b"name=", b"vera"]), headers=ORIGIN)
    assert answer.status_code == 411


@pytest.mark.parametrize("name", ["..%2f..%2freviews.sqlite", "%2e%2e/reviews.sqlite", "1;ATTACH", "-1", "1e9"])
def test_no_path_comes_from_a_request(desk: DeskUnderTest, name: str) -> None:
    """Least of all to the file of the users."""
    desk.sign_in_as("anna", PASSWORD)
    for path in (f"/media/events/{name}/image", f"/media/clips/{name}", f"/static/{name}", f"/events/{name}"):
        answer = desk.client.get(path)
        assert answer.status_code in {400, 404}, path
        assert b"SQLite format" not in answer.content


def test_the_page_of_users_shows_every_change_and_whether_all_is_whole(desk: DeskUnderTest) -> None:
    desk.sign_in_as("anna", PASSWORD)
    shown = desk.client.get("/accounts").text
    assert "viewer" in shown
    assert "all fit" in shown
    assert desk.accounts.page().head in shown
    assert "scrypt" not in shown
    desk.accounts.remove("vera", by="test")
    assert "removed: viewer" in desk.client.get("/accounts").text
