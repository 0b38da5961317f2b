# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several boxes that share cameras: who lives, who leads, which box inspects which camera."""
