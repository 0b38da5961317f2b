# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plant counts only as the operator signed it, and what a node keeps of it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vision_line.errors import ConfigError
from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.kept_fleet import KeptFleet
from vision_line.fleet.signed_plant import SignedPlant, checked_signature, signed_plant

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def plant(text: str = "config_version = 1\n") -> SignedPlant:
    """Return one that is signed."""
    return signed_plant(KEY, 3, "0" * 16, "anna", 1000.5, text)


def test_what_the_operator_signed_is_taken() -> None:
    """As it was written."""
    assert checked_signature(plant().to_bytes(), PUBLIC) == plant()


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 4},
        {"text": "config_version = 2\n"},
        {"author": "eve"},
        {"applied_utc": 1.0},
        {"fleet": "f" * 16},
        {"signature": ""},
    ],
)
def test_whatever_is_changed_is_refused(change: dict[str, object]) -> None:
    """The number too: an older plant cannot be played again as a newer one."""
    with pytest.raises(ConfigError, match="is not signed by the operator's key"):
        checked_signature(plant().model_copy(update=change).to_bytes(), PUBLIC)


def test_another_key_is_refused() -> None:
    """Whoever has a box has no say."""
    other = signed_plant(Ed25519PrivateKey.generate(), 3, "0" * 16, "anna", 1000.5, "")

    with pytest.raises(ConfigError, match="is not signed"):
        checked_signature(other.to_bytes(), PUBLIC)


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b'{"serial": 0}'])
def test_what_cannot_be_read_is_refused(value: bytes) -> None:
    """It is no plant."""
    with pytest.raises(ConfigError, match="cannot be read"):
        checked_signature(value, PUBLIC)


def test_what_a_node_keeps_comes_back(tmp_path: Path) -> None:
    """The plant byte by byte, and the plan."""
    kept = KeptFleet(tmp_path / "fleet.json")
    plan = FleetPlan(epoch=7, cameras={"cam.1": Assignment(node="a", epoch=3, heir="b", heir_epoch=7)})
    assert kept.read() is None
    kept.write(b"\x00plant", plan)

    assert kept.read() == (b"\x00plant", plan)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A node does not begin with half of what it knew."""
    kept = KeptFleet(tmp_path / "fleet.json")
    kept.path.write_text("{", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"fleet\.json: cannot be read"):
        kept.read()
