# SPDX-License-Identifier: AGPL-3.0-or-later
"""Seals of the journal: now and then an entry says how far it is, how sure the clock is, and may be signed."""

from __future__ import annotations

import ctypes
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

from vision_line.errors import BrokenRecordError, ConfigError, RunError
from vision_line.packages import install_extra
from vision_line.records.journal import JournalEntry, Kind, name_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from vision_line.records.journal_writer import JournalHead, JournalWriter

#: How often a run seals the journal, and at its end.
SEAL_S = 600.0

#: `struct timex` of Linux with 64-bit longs: where `maxerror` and `status` are, and how long it is at most.
_MAX_ERROR_AT = 24
_STATUS_AT = 40
_TIMEX_BYTES = 512
_STA_UNSYNC = 0x0040


@dataclass(frozen=True, slots=True)
class ClockTrust:
    """Whether the kernel says that the wall clock follows a time server, and how far off it may be, in seconds.

    None: it does not say.
    """

    synchronised: bool | None = None
    max_error_s: float | None = None


def clock_trust() -> ClockTrust:
    """Ask the kernel (`adjtimex`, which changes nothing here); the answer is what `timedatectl` shows as well."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only read
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (AttributeError, OSError):
        return ClockTrust()
    if state < 0 or ctypes.sizeof(ctypes.c_long) != 8:
        return ClockTrust()
    status = ctypes.c_int.from_buffer(timex, _STATUS_AT).value
    max_error_s = ctypes.c_long.from_buffer(timex, _MAX_ERROR_AT).value / 1e6
    return ClockTrust(not status & _STA_UNSYNC, max_error_s)


class Sealer:
    """Makes seals; with a key it signs them."""

    def __init__(self, key: Ed25519PrivateKey | None = None) -> None:
        """Sign with `key`, if there is one."""
        self._key = key

    @property
    def public_key(self) -> str | None:
        """Return by whose key the seals can be checked, in hex; None: they are not signed."""
        return None if self._key is None else _hex_of(self._key.public_key())

    def seal(self, journal: JournalWriter, run: int) -> None:
        """Have a seal written with the transaction; `run` is 0 where none is under way."""
        trust = clock_trust()
        clock = {"synchronised": trust.synchronised, "max_error_s": trust.max_error_s}
        journal.append(Kind.SEAL, "", lambda head: {"clock": clock, **self._sealed(head)}, run)

    def _sealed(self, head: JournalHead) -> dict[str, object]:
        said: dict[str, object] = {"entries": head.number, "head": head.digest.hex()}
        if self._key is None:
            return said
        signature = self._key.sign(signed_text(head.number, head.digest.hex()))
        return {**said, "public_key": self.public_key, "signature": signature.hex()}


_LAST_SEAL = "SELECT number, body FROM journal WHERE kind = 'seal' ORDER BY number DESC LIMIT 1"
_BEHIND_IT = """SELECT 1 FROM journal WHERE number > ? AND NOT EXISTS (SELECT 1 FROM runs WHERE ended_utc IS NULL)"""


@dataclass(frozen=True, slots=True)
class SealedEnd:
    """By which public key the journal's last seal is signed, in hex; None: there is none, or it is not.

    `is_open`: entries are behind it, though every run has ended: nobody leaves it so.
    """

    signer: str | None = None
    is_open: bool = False


def sealed_end(connection: sqlite3.Connection) -> SealedEnd:
    """Return how the journal ends.

    Raises:
        RunError: the last seal is none that was ever written.
        sqlite3.Error: as it comes.
    """
    row = connection.execute(_LAST_SEAL).fetchone()
    if row is None:
        return SealedEnd()
    try:
        body: SealBody = json.loads(row[1])
        signer = body.get("public_key")
    except (ValueError, AttributeError) as exc:
        raise RunError(f"the journal's last seal cannot be read; vision-line verify says more: {exc}") from exc
    return SealedEnd(signer, connection.execute(_BEHIND_IT, (row[0],)).fetchone() is not None)


def signed_text(entries: int, head: str) -> bytes:
    """Return what a seal's signature is of."""
    return f"vision-line seal 1 {entries} {head}".encode()


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in the PEM file `path`.

    Raises:
        ConfigError: there is none, or the package for it is missing.
    """
    ed25519, serialization = _cryptography("signing_key")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as exc:
        raise ConfigError(f"signing_key: {path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"signing_key: {path}: expected a private key as PEM without a password") from exc
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"signing_key: {path}: expected an Ed25519 key, found another kind")
    found: Ed25519PrivateKey = key
    return found


def load_public_key(path: Path) -> str:
    """Return the public key in the PEM file `path`, in hex.

    Raises:
        ConfigError: there is none, or the package for it is missing.
    """
    ed25519, serialization = _cryptography("--key")
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"--key {path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"--key {path}: expected a public key as PEM") from exc
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ConfigError(f"--key {path}: expected an Ed25519 key, found another kind")
    return _hex_of(key)


def _hex_of(key: Ed25519PublicKey) -> str:
    found: bytes = key.public_bytes_raw()
    return found.hex()


def _cryptography(wanted: str) -> tuple[ModuleType, ModuleType]:
    """Return the modules `ed25519` and `serialization` of the package `cryptography`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as exc:
        raise ConfigError(f"{wanted} needs cryptography: {install_extra('signing')}") from exc
    return ed25519, serialization


class SealBody(TypedDict, total=False):
    """What a seal says; the last two where it is signed."""

    entries: int
    head: str
    clock: dict[str, bool | float | None]
    public_key: str
    signature: str


@dataclass(slots=True)
class CheckedSeals:
    """How many seals there are, how many of them are signed by which public keys (hex), and the last one's clock.

    `behind` counts the entries behind the last one, which no seal covers yet.
    """

    count: int = 0
    signed: Counter[str] = field(default_factory=Counter)
    last_utc: float = 0.0
    unsynchronised: int = 0
    behind: int = 0


def check_seals(seals: Sequence[tuple[JournalEntry, JournalHead]], public_key: str | None) -> CheckedSeals:
    """Check that each seal (with the entry before it) says what it stands on, and its signature.

    With `public_key` the last one must be signed, and every signature be of that key.

    Raises:
        BrokenRecordError: one does not hold.
        ConfigError: a signature cannot be checked, because a package is missing.
    """
    found = CheckedSeals()
    body: SealBody = {}
    for entry, before in seals:
        body = json.loads(entry.body)
        if (body.get("entries"), body.get("head")) != (before.number, before.digest.hex()):
            raise BrokenRecordError(f"{name_of(entry)}: it seals another journal")
        if signer := body.get("public_key"):
            _check_signature(entry, body, public_key)
            found.signed[signer] += 1
        found.count, found.last_utc = found.count + 1, entry.at_utc
        found.unsynchronised += body.get("clock", {}).get("synchronised") is False
    if public_key is not None and body.get("public_key") != public_key:
        raise BrokenRecordError("the journal's last seal is not signed by the key of --key")
    return found


def _check_signature(entry: JournalEntry, body: SealBody, public_key: str | None) -> None:
    ed25519, _ = _cryptography("checking the signatures of seals")
    from cryptography.exceptions import InvalidSignature

    if public_key not in {None, body["public_key"]}:
        raise BrokenRecordError(f"{name_of(entry)}: it is signed by another key, {body['public_key']}")
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(body["public_key"]))
    try:
        key.verify(bytes.fromhex(body["signature"]), signed_text(body["entries"], body["head"]))
    except (InvalidSignature, KeyError, ValueError) as exc:
        raise BrokenRecordError(f"{name_of(entry)}: its signature does not fit") from exc
