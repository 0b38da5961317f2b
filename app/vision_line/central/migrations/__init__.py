# SPDX-License-Identifier: AGPL-3.0-or-later
"""The statements that make the database and bring it up to date, a numbered file for each version."""
