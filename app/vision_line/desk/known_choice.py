# SPDX-License-Identifier: AGPL-3.0-or-later
"""A choice among a few: what is none of them is refused. Left out, it would find more than was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from vision_line.errors import ConfigError


def known_choice(name: str, found: str, known: Iterable[str]) -> str:
    """Return what was found in the field `name`, "" where it is empty.

    Raises:
        ConfigError: it is none of those that are known.
    """
    choices = list(map(str, known))
    if found and found not in choices:
        raise ConfigError(f"{name}: found {found!r}, expected {' or '.join(choices)}")
    return found
