# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stages, a module each; its `run` gets the findings."""
