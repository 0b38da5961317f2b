# SPDX-License-Identifier: AGPL-3.0-or-later
"""The folder that `vision-line --model` takes: written, and given its proof."""
