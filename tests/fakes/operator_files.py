# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator has on the disk: a key, its public half, a plant."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def written_key(folder: Path, name: str = "operator") -> Path:
    """Write a new key, with its public half beside it as `NAME.pub`, and return its file."""
    key, path = Ed25519PrivateKey.generate(), folder / f"{name}.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def written_plant(folder: Path, *cameras: str, more: str = "") -> Path:
    """Write a plant whose cameras have these names, each with the further keys in `more`, and return its file."""
    path = folder / "plant.toml"
    tables = "".join(f'[[stream]]\nname = "{name}"\nurl = "rtsp://127.0.0.1:1/{name}"\n{more}' for name in cameras)
    path.write_text(f"config_version = 1\n{tables}", encoding="utf-8")
    return path
