# SPDX-License-Identifier: AGPL-3.0-or-later
"""A model that did not pass the gates of its compression inspects only where that was asked for."""

from __future__ import annotations

from vision_line.devices.model.model import Model
from vision_line.errors import ModelError

ALLOW = "--allow-failed-gates"

#: What stands in `failed_gates` of a bundle until its report is made: nobody knows yet whether it may inspect.
NOT_CHECKED = "not checked yet"


def gates_warning(model: Model) -> str:
    """Say which gates `model` did not pass, or that they were not checked; "" where it passed or has none."""
    failed = () if model.bundle is None else model.bundle.failed_gates
    if not failed:
        return ""
    if NOT_CHECKED in failed:
        return (
            f"{model.path.parent}: whether the model passes the gates of its recipe was not checked yet: "
            "`vision-line-compress report` checks it"
        )
    return f"{model.path.parent}: the model did not pass {len(failed)} gates of its recipe: {', '.join(failed)}"


def gates_problem(model: Model, *, allowed: bool) -> str:
    """Return why `model` may not inspect; "" where it may."""
    warning = gates_warning(model)
    return f"{warning}; {ALLOW} inspects with it all the same" if warning and not allowed else ""


def check_gates_passed(model: Model, *, allowed: bool) -> None:
    """Let a model pass that may inspect.

    Raises:
        ModelError: it did not pass its gates, and that was not allowed.
    """
    if problem := gates_problem(model, allowed=allowed):
        raise ModelError(problem)
