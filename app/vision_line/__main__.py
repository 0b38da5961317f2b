# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m vision_line` is the `vision-line` command."""

from vision_line.cli import main

if __name__ == "__main__":
    main()
