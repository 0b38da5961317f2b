# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line doctor`: what this machine offers, what that means for inspection, and what to install."""
