# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plant's configuration as it stands in the store: its text, its number, and the operator's signature of both."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from vision_line.errors import ConfigError
from vision_line.fleet.fleet_plan import Stored
from vision_line.packages import install_extra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What the store takes in one value is 1 MB.
LONGEST_TEXT = 700_000


class SignedPlant(Stored):
    """The value of `config`. Secrets are `{NAME}`s in its text."""

    serial: Annotated[int, Field(ge=1)]
    """Counts up with every `fleet apply`: a node takes no lower one than it has."""
    fleet: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Names the fleet, by chance with its first `fleet apply`: no two fleets of a plant are taken for one."""
    author: str
    """Who applied it, and where."""
    applied_utc: float
    """When, by that machine's clock."""
    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    """`plant.toml` as it was written."""
    signature: str = ""
    """Ed25519, in hex."""


def new_fleet() -> str:
    """Return the name of a fleet that has its first plant."""
    return secrets.token_hex(8)


def signed_plant(
    key: Ed25519PrivateKey, serial: int, fleet: str, author: str, applied_utc: float, text: str
) -> SignedPlant:
    """Return a configuration with its signature."""
    plant = SignedPlant(serial=serial, fleet=fleet, author=author, applied_utc=applied_utc, text=text)
    return plant.model_copy(update={"signature": key.sign(_signed_text(plant)).hex()})


def checked_signature(value: bytes, public_key: str) -> SignedPlant:
    """Return the configuration in `value`, if the operator with `public_key` (hex) signed it.

    Raises:
        ConfigError: it cannot be read, somebody else signed it, or a package is missing.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as exc:
        raise ConfigError(f"a fleet needs cryptography: {install_extra('fleet')}") from exc
    try:
        plant = SignedPlant.model_validate_json(value)
    except ValidationError as exc:
        raise ConfigError("the plant's configuration in the store cannot be read") from exc
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(plant.signature), _signed_text(plant))
    except (InvalidSignature, ValueError) as exc:
        raise ConfigError(
            f"plant {plant.serial}, applied by {plant.author}, is not signed by the operator's key, of which"
            " --key is the public half"
        ) from exc
    return plant


def _signed_text(plant: SignedPlant) -> bytes:
    digest = hashlib.sha256(plant.text.encode()).hexdigest()
    return f"vision-line plant 1 {plant.serial} {plant.fleet} {plant.applied_utc!r} {digest} {plant.author}".encode()
