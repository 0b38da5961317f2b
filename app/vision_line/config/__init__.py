# SPDX-License-Identifier: AGPL-3.0-or-later
"""`streams.toml`: its models, and reading it with every problem reported at once."""
