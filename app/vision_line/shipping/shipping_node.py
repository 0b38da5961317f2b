# SPDX-License-Identifier: AGPL-3.0-or-later
"""A box as the database knows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShippingNode:
    """Its name, and the number that the database gave it."""

    name: str
    number: int
