# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal's head as a QR code: who has a phone and the paper keeps it elsewhere without typing 64 digits."""

from __future__ import annotations

import segno
from markupsafe import Markup


def head_code(head: str) -> Markup:
    """Return the code of a head, as `vision-line verify --head` takes it, as SVG for a page; "" without one."""
    if not head:
        return Markup("")
    code = segno.make_qr(head, error="m")
    svg = code.svg_inline(border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None, omitsize=True)
    return Markup(svg)  # noqa: S704  made of squares alone
