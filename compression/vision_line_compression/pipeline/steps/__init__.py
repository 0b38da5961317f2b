# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stages of a recipe, a file each: what a stage depends on (its key), what it does, and what it leaves.

`pipeline.graph` is the list that puts them together. To add a stage, write its file and add it there.
"""
