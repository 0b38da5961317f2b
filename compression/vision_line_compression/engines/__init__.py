# SPDX-License-Identifier: AGPL-3.0-or-later
"""TensorRT engines of a bundle, and which precision ships."""
