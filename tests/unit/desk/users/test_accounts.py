# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk's users: what is kept of them, what was changed about them, and who notices that somebody else did."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.desk import CHEAP

from vision_line.desk.users.accounts import Accounts, user_name
from vision_line.desk.users.sessions import Role
from vision_line.errors import ConfigError, RunError
from vision_line.reviews.passwords import Cost, PasswordHasher, TooBusyError
from vision_line.reviews.reviews_file import APPLICATION_ID, FILE_NAME, SCHEMA_VERSION

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    """Return the users of a directory: none."""
    return Accounts(tmp_path, PasswordHasher(CHEAP))


def changed(directory: Path, *statements: str) -> None:
    """Change the file behind the program's back."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_the_real_cost_works_and_is_what_is_promised() -> None:
    """128 MiB a guess; OpenSSL takes no less than what is asked for here, and refuses one byte less."""
    kept = PasswordHasher().hash(PASSWORD)
    assert kept.startswith("scrypt$131072$8$1$")
    assert PasswordHasher().matches(PASSWORD, kept)
    assert Cost().memory >= 128 * 2**20


@pytest.mark.parametrize("cost", [CHEAP, Cost(2**8, 8, 3), Cost(2**4, 1, 1)])
def test_the_memory_that_is_allowed_is_enough(cost: Cost) -> None:
    """For any cost that a file may name."""
    hasher = PasswordHasher(cost)
    assert hasher.matches(PASSWORD, hasher.hash(PASSWORD))


def test_each_hash_has_a_salt_of_its_own() -> None:
    hasher = PasswordHasher(CHEAP)
    assert hasher.hash(PASSWORD) != hasher.hash(PASSWORD)


def test_one_password_in_two_ways_of_writing_it() -> None:
    """A Mac types `ä` as two signs."""
    hasher = PasswordHasher(CHEAP)
    assert hasher.matches("gr\u00e4tenfisch wei\u00df", hasher.hash("gra\u0308tenfisch wei\u00df"))
    assert not hasher.matches("\udc80" * 12, hasher.hash(PASSWORD))


def test_a_flood_of_passwords_is_refused_and_not_queued() -> None:
    """Each would take 128 MiB beside the line."""
    started, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: object, **__: object) -> bytes:
        started.release()
        assert go_on.wait(60)
        return bytes(32)

    hasher = PasswordHasher(CHEAP, slow)
    waiting = [threading.Thread(target=hasher.hash, args=(PASSWORD,)) for _ in range(4)]
    for thread in waiting:
        thread.start()
    assert started.acquire(timeout=60)
    while sum(thread.is_alive() for thread in waiting) < 4 or hasher._places._value:
        pass
    with pytest.raises(TooBusyError):
        hasher.hash(PASSWORD)
    assert not started.acquire(blocking=False)  # one at a time
    go_on.set()
    for thread in waiting:
        thread.join(30)
    assert hasher.hash(PASSWORD)


def test_the_file_is_for_its_owner_and_says_what_it_is(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add("anna", Role.READER, PASSWORD, by="test")
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert PASSWORD.encode() not in (tmp_path / FILE_NAME).read_bytes()


def test_hashes_are_in_no_repr(accounts: Accounts) -> None:
    accounts.add("anna", Role.READER, PASSWORD, by="test")
    account = accounts.find("anna")
    assert account is not None
    assert "scrypt" not in repr(account)


def test_without_users_nothing_is_made(accounts: Accounts, tmp_path: Path) -> None:
    """A desk over a copy that it cannot write."""
    assert not accounts.exist()
    assert accounts.find("anna") is None
    assert accounts.page().accounts == []
    assert list(tmp_path.iterdir()) == []


def test_every_change_is_an_entry(accounts: Accounts) -> None:
    """Who, what, before, after; and never a password."""
    accounts.add("Anna", Role.READER, PASSWORD, by="root")
    accounts.set_role("anna", Role.QUALITY, by="root")
    accounts.set_password("anna", "another long password", by="anna")
    accounts.note_failures("anna", "192.0.2.7", 5)
    accounts.note_failures("my secret typed as a name", "192.0.2.7", 5)
    accounts.remove("anna", by="root")
    page = accounts.page()
    assert [(entry.kind, entry.key) for entry in reversed(page.entries)] == [
        ("added", "anna"),
        ("role", "anna"),
        ("password", "anna"),
        ("failures", "anna"),
        ("failures", ""),
        ("removed", "anna"),
    ]
    role = page.entries[-2].body
    assert (role["by"], role["before"], role["after"]) == ("root", "viewer", "quality")
    assert page.problem == ""
    assert len(page.head) == 64


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["UPDATE users SET role = 'quality'"], "the user anna is not as the entries say"),
        (["UPDATE users SET password = 'scrypt$1$1$1$00$00'"], "the user anna is not as the entries say"),
        (["DELETE FROM users"], "the user anna is not as the entries say"),
        (["DROP TRIGGER journal_no_update", "UPDATE journal SET body = '{}' WHERE number = 1"], "entry 1 is not"),
        (["DROP TRIGGER journal_no_delete", "DELETE FROM journal WHERE number = 1"], "entry 1 is not"),
    ],
)
def test_a_change_by_somebody_else_is_named(
    accounts: Accounts, tmp_path: Path, statements: list[str], says: str
) -> None:
    accounts.add("anna", Role.READER, PASSWORD, by="test")
    accounts.set_password("anna", PASSWORD, by="anna")
    changed(tmp_path, *statements)
    assert says in accounts.page().problem


@pytest.mark.parametrize("statement", ["UPDATE journal SET body = '{}'", "DELETE FROM journal"])
def test_entries_are_only_appended(accounts: Accounts, tmp_path: Path, statement: str) -> None:
    accounts.add("anna", Role.READER, PASSWORD, by="test")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        changed(tmp_path, statement)


@pytest.mark.parametrize("name", ["", "anna b", "../x", "a" * 65, "-anna", "ännä", "anna\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a user's name"):
        user_name(name if name != "anna\n" else "an\nna")


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 257])
def test_what_is_no_password(accounts: Accounts, password: str) -> None:
    """The sentence does not quote it."""
    with pytest.raises(ConfigError, match="12 to 256 characters") as raised:
        accounts.add("anna", Role.READER, password, by="test")
    assert not password or password not in str(raised.value)
    assert not accounts.exist()


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.remove("nobody", by="test"),
        lambda accounts: accounts.set_role("nobody", Role.READER, by="test"),
        lambda accounts: accounts.set_password("nobody", PASSWORD, by="test"),
        lambda accounts: accounts.add("ANNA", Role.READER, PASSWORD, by="test"),
    ],
)
def test_a_change_that_cannot_be_leaves_no_entry(accounts: Accounts, change: Callable[[Accounts], None]) -> None:
    accounts.add("anna", Role.READER, PASSWORD, by="test")
    with pytest.raises(ConfigError, match=r"there is (no|a) user"):
        change(accounts)
    assert len(accounts.page().entries) == 1


def test_another_file_is_not_touched(accounts: Accounts, tmp_path: Path) -> None:
    changed(tmp_path, "CREATE TABLE mine (a)")
    before = (tmp_path / FILE_NAME).read_bytes()
    for call in (accounts.exist, lambda: accounts.add("anna", Role.READER, None, by="test")):
        with pytest.raises(RunError, match="another program's"):
            call()
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_newer_file_is_refused(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add("anna", Role.READER, None, by="test")
    changed(tmp_path, f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(RunError, match="a newer vision-line"):
        accounts.exist()


def test_a_name_that_is_a_link_is_not_followed(accounts: Accounts, tmp_path: Path) -> None:
    """Hashes go nowhere else."""
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot be written"):
        accounts.add("anna", Role.READER, None, by="test")
    assert not (tmp_path / "elsewhere").exists()
