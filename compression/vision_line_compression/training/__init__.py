# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fine-tuning and distillation inside Ultralytics' trainer."""
