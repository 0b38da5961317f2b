# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sessions of the desk: how they begin, how they end, and what is kept of their secrets."""

from __future__ import annotations

import pytest

from vision_line.desk.users.sessions import IDLE_S, LIFETIME_S, MOST_SESSIONS, Role, Sessions


class Clock:
    """Says what it is set to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


def test_a_link_opens_one_session(sessions: Sessions) -> None:
    """Who finds it later in a terminal or a browser's history gets nothing."""
    link = sessions.new_link()
    secret = sessions.redeem(link, "owner", Role.QUALITY)
    assert secret is not None
    assert (session := sessions.find(secret)) is not None
    assert (session.user, session.role) == ("owner", Role.QUALITY)
    assert sessions.redeem(link, "owner", Role.QUALITY) is None


def test_a_new_link_ends_the_one_before(sessions: Sessions) -> None:
    old = sessions.new_link()
    sessions.new_link()
    assert sessions.redeem(old, "owner", Role.QUALITY) is None


@pytest.mark.parametrize("guess", ["", "guess", "\udc80"])
def test_no_other_secret_opens_anything(sessions: Sessions, guess: str) -> None:
    sessions.new_link()
    assert sessions.redeem(guess, "owner", Role.QUALITY) is None
    assert sessions.find(guess) is None


def test_a_session_ends_when_nobody_uses_it(sessions: Sessions, clock: Clock) -> None:
    secret = sessions.begin("anna", Role.READER)
    clock.now_s = IDLE_S - 1
    assert sessions.find(secret)
    clock.now_s += IDLE_S
    assert sessions.find(secret) is None


def test_a_session_ends_also_when_it_is_used_all_the_time(sessions: Sessions, clock: Clock) -> None:
    secret = sessions.begin("anna", Role.READER)
    while clock.now_s < LIFETIME_S - IDLE_S:
        clock.now_s += IDLE_S - 1
        assert sessions.find(secret)
    clock.now_s = LIFETIME_S
    assert sessions.find(secret) is None


def test_signing_out_ends_it(sessions: Sessions) -> None:
    secret = sessions.begin("anna", Role.READER)
    sessions.end(secret)
    assert sessions.find(secret) is None


def test_secrets_have_256_bits_and_are_not_kept(sessions: Sessions) -> None:
    """43 characters of base64."""
    link, secret = sessions.new_link(), sessions.begin("anna", Role.READER)
    assert len(link) == len(secret) == 43
    kept = repr(vars(sessions))
    assert link not in kept
    assert secret not in kept


def test_sessions_are_bounded(sessions: Sessions, clock: Clock) -> None:
    """The one that was idle longest goes."""
    first, second = sessions.begin("first", Role.READER), sessions.begin("second", Role.READER)
    clock.now_s = 1.0
    assert sessions.find(first)
    for _ in range(MOST_SESSIONS - 1):
        sessions.begin("more", Role.READER)
    assert sessions.find(first)
    assert sessions.find(second) is None


def test_a_role_includes_those_before_it() -> None:
    assert Role.QUALITY.includes(Role.READER)
    assert Role.REVIEWER.includes(Role.REVIEWER)
    assert not Role.READER.includes(Role.REVIEWER)
