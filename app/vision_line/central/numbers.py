# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers of many boxes side by side: a box's own number plus its node's times 2^40. Pure."""

from __future__ import annotations

_NODE = 2**40


def offset_of(node: int) -> int:
    """Return what is added to the numbers of a node's box."""
    return node * _NODE
