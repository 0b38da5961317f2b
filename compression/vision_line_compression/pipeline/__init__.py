# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe as a graph of stages, and the commands on it."""
