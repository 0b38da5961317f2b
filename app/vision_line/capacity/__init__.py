# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras a GPU takes, calculated from published constants: a model, not a measurement. Pure."""
