# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users of the store's servers: the key by which they know a box or the operator, and what it may write there.

A key is an nkey of NATS: an Ed25519 pair whose seed is a file on its box, and whose public half the servers have.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from vision_line.errors import ConfigError
from vision_line.fleet.coordination import CONFIG, DRAIN_PREFIX, LEADER, NODE_PREFIX, PLAN
from vision_line.packages import install_extra

BUCKET = "fleet"

_STREAM = f"KV_{BUCKET}"
#: To find the bucket, make it where the servers have lost it, read it and watch it.
_READING = (
    f"$JS.API.STREAM.INFO.{_STREAM}",
    f"$JS.API.STREAM.CREATE.{_STREAM}",
    f"$JS.API.STREAM.MSG.GET.{_STREAM}",
    f"$JS.API.CONSUMER.CREATE.{_STREAM}",
    f"$JS.API.CONSUMER.CREATE.{_STREAM}.>",
    f"$JS.API.CONSUMER.INFO.{_STREAM}.>",
    f"$JS.API.CONSUMER.DELETE.{_STREAM}.>",
    f"$JS.FC.{_STREAM}.>",
)


def may_publish(node: str | None) -> tuple[str, ...]:
    """Return the names to which a box may send; None: the operator, who writes what boxes may not."""
    keys = (CONFIG, f"{DRAIN_PREFIX}>") if node is None else (f"{NODE_PREFIX}{node}", LEADER, PLAN)
    return (*_READING, *(f"$KV.{BUCKET}.{key}" for key in keys))


def user_entry(public_key: str, node: str | None) -> str:
    """Return a user as it stands in `authorization { users: [...] }` of a server's configuration."""
    names = ", ".join(f'"{name}"' for name in may_publish(node))
    rights = f'{{ publish: [{names}], subscribe: ["_INBOX.>"] }}'
    return f"{{ nkey: {public_key}, permissions: {rights} }}"


def make_seed(path: Path) -> None:
    """Write a new seed into a file that nobody else can read.

    Raises:
        ConfigError: nkeys is not installed, or the file cannot be written.
    """
    _check_installed()
    import nkeys

    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(seed + b"\n")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written: {exc.strerror}") from exc


def public_key_of(path: Path) -> str:
    """Return the public half of the seed in a file.

    Raises:
        ConfigError: nkeys is not installed, the file cannot be read, or holds no seed of a user.
    """
    _check_installed()
    import nkeys

    try:
        key = str(nkeys.from_seed(bytearray(path.read_bytes().strip())).public_key.decode())
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (nkeys.NkeysError, ValueError):
        key = ""
    if not key.startswith("U"):
        raise ConfigError(f"{path}: expected an nkey seed of a user, which begins with SU")
    return key


def _check_installed() -> None:
    if find_spec("nkeys") is None:
        raise ConfigError(f"keys of the store's users need nkeys: {install_extra('fleet')}")
