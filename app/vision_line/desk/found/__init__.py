# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was found: the gallery, an event's page, images and clips."""
