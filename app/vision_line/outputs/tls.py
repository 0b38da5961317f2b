# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whom an output trusts: the system's CAs or one's own; names are always verified."""

from __future__ import annotations

import ssl

from vision_line.outputs.message_sink import SinkError, SinkTrouble


def verified_context(ca: str | None) -> ssl.SSLContext:
    """Return a context that accepts certificates of the CAs in the PEM file `ca` alone; None: of the system's.

    Raises:
        SinkError: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as exc:
        raise SinkError(SinkTrouble.TLS_FAILED, f"ca {ca}: cannot be used: {exc}") from exc
