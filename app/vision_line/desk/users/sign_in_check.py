# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether name and password are a user's: the same answer and the same work whether there is such a user or not."""

from __future__ import annotations

import logging
from math import ceil

from vision_line.desk.users.accounts import Account, Accounts
from vision_line.errors import VisionLineError
from vision_line.reviews.passwords import LONGEST, TooBusyError
from vision_line.reviews.sign_in_delays import SignInDelays

logger = logging.getLogger(__name__)


class WrongPasswordError(VisionLineError):
    """No user has this name and this password."""

    def __init__(self) -> None:
        super().__init__("name or password is wrong")


class WaitError(VisionLineError):
    """Too many wrong passwords came."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = ceil(wait_s)
        super().__init__(f"too many tries: wait {self.wait_s} s")


class SignInCheck:
    """Checks names and passwords that come from anybody."""

    def __init__(self, accounts: Accounts, delays: SignInDelays | None = None) -> None:
        self.accounts = accounts
        self._delays = SignInDelays() if delays is None else delays

    def account(self, name: str, password: str, address: str) -> Account:
        """Return the user who has this name and this password.

        Raises:
            WaitError: they, or this address, have tried too often.
            WrongPasswordError: there is none.
            TooBusyError: too many sign in at once.
            RunError: `reviews.sqlite` cannot be read, or written.
        """
        name = name.strip().lower()
        tried = self._delays.begin(name, address)
        if tried.wait_s > 0:
            raise WaitError(tried.wait_s)
        account = self.accounts.find(name)
        kept = account.password if account and len(password) <= LONGEST else None
        try:
            is_right = self.accounts.hasher.matches(password, kept)
        except TooBusyError:
            self._delays.take_back(name, address)
            raise
        if account is None or not is_right:
            if tried.notable:
                logger.warning("signing in failed %d times; the last time from %s", tried.failures, address)
                self.accounts.note_failures(name, address, tried.failures)
            raise WrongPasswordError
        self._delays.succeeded(name, address)
        return account
