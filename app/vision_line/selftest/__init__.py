# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line selftest`: checks and measures inspection on this machine; the report can be shared."""
