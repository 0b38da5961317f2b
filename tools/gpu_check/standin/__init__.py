# SPDX-License-Identifier: AGPL-3.0-or-later
"""What takes TensorRT's place where there is none; this folder is put on the path then."""
