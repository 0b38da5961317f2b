# SPDX-License-Identifier: AGPL-3.0-or-later
"""Challenge parts: what `challenge.toml` asks for, the windows of parts that were passed, and what they show."""
