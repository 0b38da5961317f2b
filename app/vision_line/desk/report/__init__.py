# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line report`: a shift as one file. It lies in the desk because both show the same bars of the same rows."""
