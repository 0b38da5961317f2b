# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a database gets nothing."""

from __future__ import annotations

import pytest

from vision_line.outputs.message_sink import SinkTrouble
from vision_line.shipping.database_trouble import trouble_of


@pytest.mark.parametrize(
    ("code", "text", "trouble"),
    [
        ("53100", "could not extend file: No space left on device", SinkTrouble.BUSY),
        ("57P01", "terminating connection due to administrator command", SinkTrouble.LOST),
        ("42501", "permission denied for table runs", SinkTrouble.REFUSED),
        ("25006", "cannot execute INSERT in a read-only transaction", SinkTrouble.REFUSED),
        (None, 'FATAL: password authentication failed for user "box"', SinkTrouble.AUTH_FAILED),
        (None, "connection to server failed: Connection refused", SinkTrouble.UNREACHABLE),
        (None, "SSL error: certificate verify failed", SinkTrouble.TLS_FAILED),
        (None, "[Errno -2] Name or service not known", SinkTrouble.NAME_UNKNOWN),
        (None, "server closed the connection unexpectedly", SinkTrouble.LOST),
    ],
)
def test_trouble(code: str | None, text: str, trouble: SinkTrouble) -> None:
    """By its code, and by words where there is none."""
    assert trouble_of(code, text) is trouble
