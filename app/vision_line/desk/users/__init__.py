# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may use the desk: users, passwords, sessions, signing in."""
