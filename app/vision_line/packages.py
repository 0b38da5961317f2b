# SPDX-License-Identifier: AGPL-3.0-or-later
"""How to install what an optional feature needs. No package index has vision-line: it is installed from its clone."""

from __future__ import annotations


def install_extra(extra: str) -> str:
    """Return what to do to get the optional dependencies `extra` of pyproject.toml. Pure."""
    return f"run pip install '.[{extra}]' in the clone of vision-line"


def fit_cuda(cuda: int) -> str:
    """Return what to do to get the packages that fit a driver of CUDA version `cuda`, 13000 for 13.0. Pure."""
    if cuda >= 13000:
        return install_extra("cuda")
    newer = "update the driver to 580 or later"
    return f"{newer}, or in a new environment {install_extra('cuda12')}" if cuda >= 12000 else newer
