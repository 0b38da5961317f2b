# SPDX-License-Identifier: AGPL-3.0-or-later
"""How to install what an optional feature needs. No package index has vision-line: it is installed from its clone."""

from __future__ import annotations


def install_extra(extra: str) -> str:
    """Return what to do to get the optional dependencies `extra` of pyproject.toml. Pure."""
    return f"run pip install '.[{extra}]' in the clone of vision-line"
