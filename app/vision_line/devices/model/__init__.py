# SPDX-License-Identifier: AGPL-3.0-or-later
"""A model as its file or bundle describes it."""
