# SPDX-License-Identifier: AGPL-3.0-or-later
"""What another model would find in what was recorded: clips and images go through the line's own program again."""
