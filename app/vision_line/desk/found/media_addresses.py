# SPDX-License-Identifier: AGPL-3.0-or-later
"""Addresses of images and clips: with the hash of their row, since a row's number may be another file's tomorrow."""

from __future__ import annotations

from urllib.parse import urlencode

#: Where they are, and what of an address says which file is meant.
MEDIA, SHA256 = "/media", "sha256"


def media_address(path: str, sha256: str | None) -> str:
    """Return where the file with this hash is, by its path below `MEDIA`; None: no hash was recorded.

    Numbers begin at 1 in other records, and again in a table of which all rows were removed.
    """
    return f"{MEDIA}/{path}" + (f"?{urlencode({SHA256: sha256})}" if sha256 else "")
