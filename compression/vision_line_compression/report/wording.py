# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures as a reader wants them."""

from __future__ import annotations

#: What a figure that is not known is shown as.
NONE = "–"


def percent(share: float | None, digits: int) -> str:
    """Return a share in percent."""
    return NONE if share is None else f"{100 * share:.{digits}f} %"


def signed(value: float, digits: int = 2) -> str:
    """Return a change with its sign, a true minus; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def sentence(text: str) -> str:
    """Return words with a capital at the beginning and a full stop at the end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def times(value: float | None) -> str:
    """Return a multiple."""
    return NONE if value is None else f"{value:.2f}×"
