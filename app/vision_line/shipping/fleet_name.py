# SPDX-License-Identifier: AGPL-3.0-or-later
"""A box of a fleet has one name: what the fleet calls it is its `node` in the database. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def other_name(run: Mapping[str, object], node: str) -> str | None:
    """Return what is wrong where a run, a row of `runs`, was recorded under another name than `node`."""
    name = run.get("node")
    if name in {None, "", node}:
        return None
    return f"central.node: expected {name!r}, as this box is called in its fleet, found {node!r}"
