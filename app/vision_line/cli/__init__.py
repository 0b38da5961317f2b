# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `vision-line` command. Heavy libraries are imported by the command that needs them, so that help is instant."""

from vision_line.cli.command import main

__all__ = ["main"]
