# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is kept for good: the detection log, its evidence images, and what is exported from both."""
