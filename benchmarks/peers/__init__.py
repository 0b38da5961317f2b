# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `benchmarks.multi_camera` compares: a program for each contender, and what all of them share."""
