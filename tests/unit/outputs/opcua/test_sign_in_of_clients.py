# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names and passwords of the desk's users; guessing gets slower."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.desk import CHEAP

from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.outputs.opcua.sign_in_of_clients import ClientSignIn, SignInRefusedError
from vision_line.reviews.passwords import PasswordHasher
from vision_line.reviews.sign_in_delays import SignInDelays

RIGHT = "a long password"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    made = Accounts(tmp_path, PasswordHasher(CHEAP))
    made.add("scada", Role.READER, RIGHT, by="test")
    return made


def refused(sign_in: ClientSignIn, name: str, password: str) -> bool:
    try:
        sign_in.check(name, password, "10.0.0.1")
    except SignInRefusedError:
        return True
    return False


def test_only_the_right_password_comes_in(accounts: Accounts, tmp_path: Path) -> None:
    """Another one ends being recognised, as does another user's name."""
    sign_in = ClientSignIn(tmp_path, PasswordHasher(CHEAP))
    came = [refused(sign_in, *one) for one in (("Scada ", RIGHT), ("scada", "wrong"), ("nobody", RIGHT), ("", ""))]
    accounts.set_password("scada", "another password", by="test")

    assert came == [False, True, True, True]
    assert refused(sign_in, "scada", RIGHT)
    assert not refused(sign_in, "scada", "another password")


def test_guessing_has_to_wait_and_who_is_known_does_not(accounts: Accounts, tmp_path: Path) -> None:
    """A client that reconnects is not kept out by somebody who guesses, and costs no hash."""
    clock = [0.0]
    hashed: list[int] = []

    class Counting(PasswordHasher):
        def matches(self, password: str, kept: str | None) -> bool:
            hashed.append(1)
            return super().matches(password, kept)

    sign_in = ClientSignIn(tmp_path, Counting(CHEAP), SignInDelays(lambda: clock[0]))
    assert not refused(sign_in, "scada", RIGHT)
    for _ in range(50):
        assert refused(sign_in, "scada", "wrong")
    guesses = len(hashed) - 1

    assert guesses == 5
    assert not refused(sign_in, "scada", RIGHT)
    assert len(hashed) == guesses + 1
    assert refused(ClientSignIn(tmp_path, Counting(CHEAP), sign_in._delays), "scada", RIGHT)


def test_nobody_is_there(tmp_path: Path) -> None:
    """Without users nobody comes in."""
    sign_in = ClientSignIn(tmp_path, PasswordHasher(CHEAP))

    assert not sign_in.exist()
    assert refused(sign_in, "scada", RIGHT)
