# SPDX-License-Identifier: AGPL-3.0-or-later
"""TensorRT engines: targets, builds, manifests and the choice of precision. No GPU is needed to read it."""
