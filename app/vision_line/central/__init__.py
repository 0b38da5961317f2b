# SPDX-License-Identifier: AGPL-3.0-or-later
"""The records of many boxes in one PostgreSQL database: its tables, how it is reached, and what ships records there."""
