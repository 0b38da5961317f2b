# SPDX-License-Identifier: AGPL-3.0-or-later
"""The feed: what a run says to other programs on the same machine while it lasts; docs/feed.md has the protocol."""
