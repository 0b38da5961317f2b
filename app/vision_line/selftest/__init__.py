# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line selftest`: whether this machine inspects as it should, and how fast, in a form that can be sent."""
