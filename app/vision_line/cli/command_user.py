# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who runs a command, for the journal."""

from __future__ import annotations

import os
import pwd


def command_user() -> str:
    """Return who runs this."""
    user = os.geteuid()
    try:
        return f"{pwd.getpwuid(user).pw_name} on the command line"
    except KeyError:  # a container's user need not have a name
        return f"user {user} on the command line"
