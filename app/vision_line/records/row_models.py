# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which model a row is of: the run's own, or the one that its recipe names.

A row bears the recipe that was in force. Within a run each recipe keeps its model at each camera, and no camera's own
label is called as a recipe with a model: so any row of `cameras` with its run, camera and recipe names its model.
"""

from __future__ import annotations


def model_of_row(column: str, row: str = "t", run: str = "r") -> str:
    """Return SQL for `model_name` or `model_sha256` of a row with run, camera and recipe, `run` being its run."""
    return (
        f"coalesce((SELECT c.{column} FROM cameras c WHERE c.run = {row}.run AND c.name = {row}.camera"  # noqa: S608  names, of this package
        f" AND c.recipe = {row}.recipe AND c.{column} <> '' LIMIT 1), {run}.{column})"
    )
